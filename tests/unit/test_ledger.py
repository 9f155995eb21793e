"""Facts of the ledger, and which plans are unfinished."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients.ledger_files import parse_entry
from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.build import AggregateHash, Build
from rdo_promoter.model.ledger import BY_HAND, Fact, GivenUp, Planned, Promoted, by_hand, give_up, unfinished
from tests.unit.strategies import build_number, builds

COMMON = {
    "dag_id": "centos7-master",
    "label": "current-tripleo",
    "by": "manual__1",
    "via": "airflow",
    "file": "releases/master.yaml",
    "digest": "d" * 64,
}


def planned(build: int, at: int, **fields: Any) -> Planned:
    values = {**COMMON, "was": None, "summary": "1 tag to move", "wanted": "", **fields}
    return Planned(build=build_number(build), at=at, **values)


def promoted(build: int, at: int, **fields: Any) -> Promoted:
    values = {**COMMON, "previous": None, "timestamp": at, **fields}
    return Promoted(build=build_number(build), at=at, **values)


def given_up(plan: Planned, at: int = 30, by: str = "manual__1") -> GivenUp:
    return give_up(plan, "nothing was changed", at=at, by=by, via="airflow")


any_builds: st.SearchStrategy[Build] = builds | st.just(AggregateHash("a" * 32))
common = {
    "dag_id": st.sampled_from(["centos7-master", "centos9-master-compute"]),
    "label": st.sampled_from(["current-tripleo", "current-podified"]),
    "build": any_builds,
    "at": st.integers(1_000, 1_005),
    "by": st.text(),
    "via": st.sampled_from(["airflow", "command line"]),
    "file": st.text(),
    "digest": st.just("0" * 64),
}
plans = st.builds(
    Planned, **common, was=st.none() | any_builds, summary=st.text(), wanted=st.text(), group=st.text()
)
promotions = st.builds(Promoted, **common, previous=st.none() | any_builds, timestamp=st.integers(0, 5_000))
endings = st.builds(GivenUp, **common, plan=plans.map(lambda plan: plan.suffix), reason=st.text())
facts: st.SearchStrategy[Fact] = plans | promotions | endings


@given(facts)
def test_a_fact_survives_json(fact: Fact) -> None:
    assert parse_entry(json.dumps(fact.to_json()).encode()) == fact


@given(facts, facts)
def test_names_begin_with_the_time_and_are_those_of_one_fact(one: Fact, other: Fact) -> None:
    if one.at < other.at:
        assert one.name < other.name
    same = one.suffix == other.suffix
    assert same == (one.kind == other.kind and one.identity == other.identity)


def test_a_facts_name_is_for_people_too() -> None:
    assert planned(1, 1_700_000_000).name.startswith("20231114T221320Z-planned-")


def test_a_promotion_is_the_same_whoever_verified_it_and_when() -> None:
    assert promoted(1, 10, timestamp=8, by="a").suffix == promoted(1, 20, timestamp=8, by="b").suffix
    assert promoted(1, 10, timestamp=8).suffix != promoted(1, 10, timestamp=9).suffix


@pytest.mark.parametrize(
    ("history", "left"),
    [
        ([], []),
        ([planned(1, 10)], [0]),
        ([promoted(1, 10)], []),
        ([planned(1, 10), promoted(1, 20)], []),
        # Planned again after it was promoted: something had to be mended, and was not.
        ([promoted(1, 10), planned(1, 20)], [1]),
        # Overtaken by a build that was promoted later.
        ([planned(1, 10), promoted(2, 20)], []),
        ([planned(1, 10), planned(2, 20)], [0, 1]),
        ([planned(1, 10), planned(1, 20), promoted(1, 30)], []),
        # DLRN's clock was an hour ahead while the first one was promoted.
        ([promoted(1, 3610), planned(2, 20)], [1]),
        ([planned(1, 3600), promoted(1, 20)], []),
        # Another label, another Dag.
        ([planned(1, 10), promoted(1, 20, label="current-tripleo-rdo")], [0]),
        ([planned(1, 10), promoted(1, 20, dag_id="centos7-pike")], [0]),
        # Given up: this plan alone, also beside one of the same build.
        ([planned(1, 10), given_up(planned(1, 10))], []),
        ([planned(1, 10), planned(1, 10, by="ada@desk"), given_up(planned(1, 10))], [1]),
        ([planned(1, 10), given_up(planned(1, 10)), planned(1, 40)], [2]),
    ],
)
def test_what_is_unfinished(history: list[Fact], left: list[int]) -> None:
    assert unfinished(history) == tuple(history[index] for index in left)


@given(st.lists(facts, max_size=8), promotions)
def test_a_promotion_closes_every_plan_of_its_label_that_was_there_and_no_other(
    history: list[Fact], last: Promoted
) -> None:
    before, after = unfinished(history), unfinished([*history, last])
    assert after == tuple(plan for plan in before if plan.folder != last.folder)


@given(st.lists(plans, max_size=8))
def test_giving_up_ends_one_plan(history: list[Planned]) -> None:
    history = list({plan.suffix: plan for plan in history}.values())
    for plan in history:
        assert set(unfinished([*history, given_up(plan)])) == {*history} - {plan}


@pytest.mark.parametrize(
    ("age", "respected"),
    [(0, True), (BY_HAND - 1, True), (BY_HAND, False), (-BY_HAND, True), (-BY_HAND - 1, False)],
)
def test_how_long_a_promotion_by_hand_is_respected(age: int, respected: bool) -> None:
    """Its time may be in the future: DLRN's clock was ahead when it was planned, and was set back."""
    plans = [planned(2, 100_000), planned(1, 100_000 - age, via="command line")]
    assert by_hand(plans, now=100_000) == (plans[1] if respected else None)


def fields(**changes: object) -> bytes:
    return json.dumps({**planned(1, 10).to_json(), **changes}).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Invalid JSON"),
        (fields()[:-20], "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", "kind"),
        (fields(kind="kept"), "'planned', 'promoted', 'given_up', 'waived'"),
        (fields(extra=1), "extra: Extra inputs are not permitted"),
        (fields(at="10"), "at: Input should be a valid integer"),
        (fields(at=-1), "at: Input should be greater than or equal to 0"),
        (fields(at=True), "at: Input should be a valid integer"),
        (fields(via="email"), "via: Input should be 'airflow' or 'command line'"),
        (fields(build=None), "build: Value error, None names no build"),
        (fields(build={"commit_hash": "x", "distro_hash": "y"}), "is not 40 hex digits"),
        (fields(build={**build_number(1).to_json(), "color": "red"}), "has keys that a build has not"),
        (fields(digest="abc"), "digest: String should match"),
        (fields(label="consistent"), "moved by DLRN's builder alone"),
        (fields(label="../x"), "cannot be promoted to"),
        (fields(dag_id="../x"), "cannot name a folder"),
        (fields(summary=None), "summary: Input should be a valid string"),
    ],
)
def test_what_is_no_fact(content: bytes, said: str) -> None:
    with pytest.raises(AnswerError) as raised:
        parse_entry(content)
    assert said in str(raised.value)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Promoted)])
def test_no_field_may_be_missing(field: str) -> None:
    content = {key: value for key, value in promoted(1, 10).to_json().items() if key != field}
    with pytest.raises(AnswerError, match=f"{field}: Field required"):
        parse_entry(json.dumps(content).encode())


@pytest.mark.parametrize("dag_id", ["", ".", "..", ".hidden", "a/b", "a b", "a\n", "x" * 251])
def test_dag_ids_that_name_no_folder(dag_id: str) -> None:
    with pytest.raises(ConfigError, match="Dag id"):
        planned(1, 10, dag_id=dag_id)
