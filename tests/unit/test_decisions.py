"""What people decided: entries of the ledger, and what of them is in force."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients.ledger_files import parse_entry
from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.decisions import (
    Answer,
    Answered,
    Decision,
    Doomed,
    Held,
    Lifted,
    MarkedBad,
    Waived,
    describe,
    in_force,
)
from rdo_promoter.model.waivers import Waiver
from tests.unit.strategies import JOBS, build_number

OURS, OTHER = (build_number(number).full_hash for number in (1, 2))
NOW = 1_000
COMMON: dict[str, Any] = {
    "dag_id": "centos7-master",
    "at": 900,
    "by": "ada",
    "via": "airflow",
    "reason": "https://bugs.example.org/1",
}


def waived(**fields: Any) -> Waived:
    return Waived(**{**COMMON, "job": "standalone", "full_hash": OURS, "expires": NOW + 1, **fields})


def held(**fields: Any) -> Held:
    return Held(**{**COMMON, "label": "current-tripleo", "full_hash": None, "expires": None, **fields})


def marked_bad(**fields: Any) -> MarkedBad:
    return MarkedBad(**{**COMMON, "full_hash": OURS, **fields})


def lifted(entry: Decision, **fields: Any) -> Lifted:
    return Lifted(**{**COMMON, "at": 950, "lifts": entry.name, **fields})


common: dict[str, st.SearchStrategy[Any]] = {
    "dag_id": st.just("centos7-master"),
    "at": st.integers(0, 2_000),
    "by": st.text(),
    "via": st.sampled_from(["airflow", "command line"]),
    "reason": st.text(min_size=1).filter(str.strip),
}
hashes = st.sampled_from([OURS, OTHER])
expiries = st.integers(0, 2_000)
decisions: st.SearchStrategy[Decision] = st.one_of(
    st.builds(
        Waived,
        **common,
        job=st.sampled_from(JOBS),
        full_hash=st.none() | hashes,
        expires=expiries,
    ),
    st.builds(
        Held, **common, label=st.just("current-tripleo"), full_hash=st.none(), expires=st.none() | expiries
    ),
    st.builds(Held, **common, label=st.none(), full_hash=hashes, expires=st.none() | expiries),
    st.builds(MarkedBad, **common, full_hash=hashes),
    st.builds(Lifted, **common, lifts=st.text()),
    st.builds(
        Answered,
        **common,
        full_hash=hashes,
        run_id=st.text(),
        task_id=st.text(),
        question=st.text(),
        answer=st.sampled_from(Answer),
        until=st.none() | expiries,
    ),
    st.builds(Doomed, **common, full_hash=hashes, task_id=st.text()),
)


@given(decisions)
def test_a_decision_survives_json(entry: Decision) -> None:
    assert parse_entry(json.dumps(entry.to_json()).encode()) == entry


@pytest.mark.parametrize("kind", [Waived, Held, MarkedBad, Lifted, Answered, Doomed])
def test_every_field_is_written(kind: type[Decision]) -> None:
    values = {field.name: None for field in dataclasses.fields(kind)}
    assert set(kind.to_json(type("Any", (), {**values, "kind": kind.kind})())) == {"kind", *values}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: waived(reason="  "), "no reason is given"),
        (lambda: waived(full_hash="abc"), "is no full hash"),
        (lambda: held(full_hash=OURS), "either a label or a build"),
        (lambda: held(label=None), "either a label or a build"),
        (lambda: held(label="../x"), "cannot be promoted to"),
        (lambda: held(label=None, full_hash="x"), "is no full hash"),
        (lambda: MarkedBad(**COMMON, full_hash="consistent"), "is no full hash"),
        (lambda: waived(dag_id="../x"), "cannot name a folder"),
    ],
)
def test_what_nobody_can_decide(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_a_file_with_such_a_decision_is_refused() -> None:
    content = {**held().to_json(), "full_hash": OURS}
    with pytest.raises(AnswerError, match="either a label or a build"):
        parse_entry(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (waived(), None),
        (waived(full_hash=None), None),
        (waived(full_hash=OTHER), f"it is for another build, {OTHER}"),
        (waived(expires=NOW), "it expired at 1970-01-01 00:16:40Z"),
        (waived(job="standalon"), "no stage of the release requires such a job"),
    ],
)
def test_which_waivers_count(entry: Waived, why: str | None) -> None:
    standing = in_force([entry])
    ignored = standing.ignored(OURS, ["standalone"], now=NOW)
    assert [each.why for each in ignored] == ([why] if why else [])
    if why is None:
        (waiver,) = standing.waivers_for(OURS, now=NOW)
        assert (waiver.job, waiver.by, waiver.origin) == ("standalone", "ada", entry.name)
    else:
        assert entry.name in str(ignored[0])
        assert [w.job for w in standing.waivers_for(OURS, now=NOW)] in ([], ["standalon"])


WEEK = 7 * 86400


@pytest.mark.parametrize(
    ("entry", "now", "told"),
    [
        (waived(expires=NOW), NOW + WEEK - 1, True),
        (waived(expires=NOW), NOW + WEEK, False),
        (waived(full_hash=None, expires=NOW), NOW + WEEK - 1, True),
        (waived(full_hash=None, expires=NOW), NOW + WEEK, False),
        (waived(full_hash=OTHER, expires=NOW), NOW - 1, True),
        (waived(full_hash=OTHER, expires=NOW), NOW, False),
        (waived(job="standalon", expires=NOW), NOW - 1, True),
        (waived(job="standalon", expires=NOW), NOW + WEEK, False),
        (waived(job="standalon", full_hash=OTHER, expires=NOW), NOW, False),
    ],
)
@pytest.mark.parametrize("reviewed", [False, True])
def test_how_long_a_waiver_that_does_not_count_is_told_of(
    entry: Waived, now: int, told: bool, reviewed: bool
) -> None:
    standing = in_force([entry])
    if reviewed:
        standing = in_force([], standing.waivers)
    assert bool(standing.ignored(OURS, ["standalone"], now=now)) is told


@given(st.lists(decisions))
def test_what_is_told_of_waivers_comes_to_an_end(entries: list[Decision]) -> None:
    last = max((entry.expires for entry in entries if isinstance(entry, Waived)), default=0)
    assert in_force(entries).ignored(OURS, [], now=last + WEEK) == ()


def test_reviewed_waivers_count_too() -> None:
    reviewed = Waiver(
        job="standalone", full_hash=None, reason="bug", by="bob", expires=NOW + 5, origin="w.yaml:3"
    )
    standing = in_force([], [reviewed])
    assert standing.waivers_for(OURS, now=NOW) == (reviewed,)
    assert standing.waivers_for(OURS, now=NOW + 5) == ()


def test_what_is_lifted_is_no_longer_in_force() -> None:
    waiver, hold, mark = waived(), held(), MarkedBad(**COMMON, full_hash=OURS)
    entries: list[Decision] = [waiver, hold, mark]
    standing = in_force(entries)
    assert standing.waivers_for(OURS, now=NOW)
    assert standing.held(OTHER, "current-tripleo", now=NOW) == (hold,)
    assert standing.held(OTHER, "other", now=NOW) == ()
    assert standing.marked_bad(OURS) == mark
    assert standing.marked_bad(OTHER) is None
    after = in_force([*entries, *(lifted(entry) for entry in entries)])
    assert (after.waivers, after.holds, after.bad) == ((), (), ())


def test_a_hold_ends_by_itself() -> None:
    standing = in_force([held(expires=NOW)])
    assert standing.held(OURS, "current-tripleo", now=NOW - 1)
    assert not standing.held(OURS, "current-tripleo", now=NOW)


def test_what_is_said_of_a_hold() -> None:
    assert describe(held()) == (
        "current-tripleo is held by ada since 1970-01-01 00:15:00Z until it is lifted: "
        "https://bugs.example.org/1"
    )
    assert describe(MarkedBad(**COMMON, full_hash=OURS)).startswith(f"{OURS} is marked bad by ada")


def test_doom_is_one_entry_whenever_it_is_seen() -> None:
    first = Doomed(**COMMON, full_hash=OURS, task_id="upstream.tests.gate")
    again = dataclasses.replace(first, at=990, by="another run")
    assert first.suffix == again.suffix
    assert first.name != again.name


@given(st.lists(decisions), st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_matter(entries: list[Decision], shuffler: random.Random) -> None:
    shuffled = list(entries)
    shuffler.shuffle(shuffled)
    assert in_force(shuffled) == in_force(entries)


@given(st.lists(decisions), decisions)
def test_a_waiver_for_one_build_never_changes_another(entries: list[Decision], more: Decision) -> None:
    if isinstance(more, Waived) and more.full_hash == OTHER:
        before, after = in_force(entries), in_force([*entries, more])
        assert after.waivers_for(OURS, now=NOW) == before.waivers_for(OURS, now=NOW)


def answered(answer: Answer, at: int, **fields: Any) -> Answered:
    values = {"full_hash": OURS, "run_id": "run", "task_id": "gate", "question": "waive?", **fields}
    return Answered(**{**COMMON, "at": at, "answer": answer, **values})


def test_the_last_answer_counts() -> None:
    wait = answered(Answer.WAIT, 910, until=2_000)
    longer = answered(Answer.WAIT, 905, until=3_000)
    reject = answered(Answer.REJECT, 920)
    standing = in_force([reject, wait, longer])
    assert standing.extended(OURS, "gate") == 3_000
    assert standing.rejected(OURS, "gate") == reject
    assert in_force([wait, answered(Answer.REJECT, 900)]).rejected(OURS, "gate") is None
    for other in ((OTHER, "gate"), (OURS, "other")):
        assert standing.extended(*other) is None
        assert standing.rejected(*other) is None
