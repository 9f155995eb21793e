"""Foreign answers: what is read, and what is refused with a clear message."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients import dlrn_answers
from rdo_promoter.errors import AnswerError
from rdo_promoter.model.build import AggregateHash, DlrnHash
from rdo_promoter.model.handoff import Package
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.votes import Vote

WHERE = "DLRN GET http://dlrn/api/x"
COMMIT, DISTRO = "1" * 40, "2" * 40
# Rows as dlrn 0.26.1 sends them.
PROMOTION: dict[str, Any] = {
    "aggregate_hash": None,
    "commit_hash": COMMIT,
    "component": None,
    "distro_hash": DISTRO,
    "extended_hash": None,
    "promote_name": "current-tripleo",
    "repo_hash": f"{COMMIT}_22222222",
    "repo_url": "http://dlrn/11/11/x",
    "timestamp": 1_700_000_000,
    "user": "promoter",
}
VOTE: dict[str, Any] = {
    "commit_hash": COMMIT,
    "component": None,
    "distro_hash": DISTRO,
    "extended_hash": None,
    "in_progress": False,
    "job_id": "consistent",
    "notes": "",
    "success": True,
    "timestamp": 1_700_000_000,
    "url": "",
    "user": None,
}
BUILD = DlrnHash(COMMIT, DISTRO)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({}, PromotionRow("current-tripleo", DlrnHash(COMMIT, DISTRO), 1_700_000_000, "promoter")),
        (
            {"timestamp": 1_700_000_000.0, "extended_hash": "None", "component": "None", "user": None},
            PromotionRow("current-tripleo", DlrnHash(COMMIT, DISTRO), 1_700_000_000),
        ),
        (
            {"extended_hash": "20180115", "component": "compute", "aggregate_hash": "a" * 32, "new": 1},
            PromotionRow(
                "current-tripleo",
                DlrnHash(COMMIT, DISTRO, "20180115", "compute"),
                1_700_000_000,
                "promoter",
                "a" * 32,
            ),
        ),
    ],
)
def test_promotion(changes: dict[str, Any], row: PromotionRow) -> None:
    assert dlrn_answers.promotion_row(PROMOTION | changes, WHERE) == row
    assert dlrn_answers.promotion_rows([PROMOTION | changes] * 2, WHERE) == [row, row]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ([], "answer"),
        ("<html>", "answer"),
        ({"message": "x"}, "commit_hash"),
        (PROMOTION | {"commit_hash": None}, "commit_hash"),
        (PROMOTION | {"commit_hash": "123"}, "commit_hash"),
        (PROMOTION | {"extended_hash": "a/b"}, "extended_hash"),
        (PROMOTION | {"timestamp": "soon"}, "timestamp"),
        (PROMOTION | {"timestamp": float("nan")}, "timestamp"),
        (PROMOTION | {"promote_name": None}, "promote_name"),
        (PROMOTION | {"aggregate_hash": "a" * 31}, "aggregate_hash"),
        (PROMOTION | {"aggregate_hash": f"{'a' * 32}\n"}, "aggregate_hash"),
    ],
)
def test_no_promotion(data: object, place: str) -> None:
    with pytest.raises(AnswerError, match=place) as caught:
        dlrn_answers.promotion_row(data, WHERE)
    assert str(caught.value).startswith(WHERE)


def test_votes() -> None:
    passed = Vote("consistent", success=True, timestamp=1_700_000_000)
    assert dlrn_answers.votes([VOTE], WHERE, BUILD) == [passed]
    running = VOTE | {"in_progress": True, "success": False, "job_id": "job"}
    [vote] = dlrn_answers.votes([running], WHERE, BUILD)
    assert (vote.in_progress, vote.success) == (True, False)
    assert dlrn_answers.votes([VOTE | {"in_progress": None}], WHERE, BUILD) == [passed]


@pytest.mark.parametrize("key", ["commit_hash", "distro_hash", "extended_hash"])
def test_votes_on_another_build_are_refused(key: str) -> None:
    """A vote for one hash never serves another (invariant 8)."""
    other = VOTE | {key: "3" * 40}
    build = DlrnHash(*(other[name] for name in ("commit_hash", "distro_hash", "extended_hash")))
    assert len(dlrn_answers.votes([other], WHERE, build)) == 1
    for rows, asked in (([VOTE, other], BUILD), ([VOTE], build)):
        with pytest.raises(AnswerError, match="DLRN answers for commit"):
            dlrn_answers.votes(rows, WHERE, asked)
    with pytest.raises(AnswerError, match="DLRN answers for commit"):
        dlrn_answers.vote(VOTE, WHERE, build)


def test_votes_on_an_aggregate_name_no_commit() -> None:
    row = {
        key: VOTE[key] for key in ("job_id", "success", "timestamp", "url", "in_progress", "notes", "user")
    }
    aggregate = AggregateHash("a" * 32)
    assert len(dlrn_answers.votes([row | aggregate.to_json()], WHERE, aggregate)) == 1


@pytest.mark.parametrize(
    ("text", "build"),
    [
        (
            f"commits:\n- {{commit_hash: {COMMIT}, distro_hash: {DISTRO}, extended_hash: None}}\n",
            DlrnHash(COMMIT, DISTRO),
        ),
        # Unquoted, YAML takes both for numbers.
        (
            f"commits:\n- commit_hash: {'1' * 40}\n  distro_hash: {'0' * 38}e1\n",
            DlrnHash("1" * 40, "0" * 38 + "e1"),
        ),
        (
            f"commits:\n- commit_hash: '{COMMIT}'\n  distro_hash: '{DISTRO}'\n  extended_hash: '20180115'\n",
            DlrnHash(COMMIT, DISTRO, "20180115"),
        ),
        (
            f"commits:\n- commit_hash: {COMMIT}\n  distro_hash: {DISTRO}\n  extended_hash:\n",
            DlrnHash(COMMIT, DISTRO),
        ),
    ],
)
def test_commit_yaml(text: str, build: DlrnHash) -> None:
    assert dlrn_answers.commit_yaml(text, WHERE) == build


@pytest.mark.parametrize(
    "text",
    [
        "",
        "commits: []",
        "commits: x",
        "- a",
        "<html></html>",
        "a: [",
        "\x00",
        "commits:\n- commit_hash: abc\n",
        "commits:\n- {commit_hash: abc, distro_hash: abc}",
        "!!python/object/apply:os.getcwd []",
    ],
)
def test_no_commit_yaml(text: str) -> None:
    with pytest.raises(AnswerError, match="http://dlrn"):
        dlrn_answers.commit_yaml(text, WHERE)


@given(JSON)
def test_whatever_comes_is_an_answer_or_an_answer_error(data: object) -> None:
    for read in (
        dlrn_answers.promotion_rows,
        dlrn_answers.promotion_row,
        lambda data, where: dlrn_answers.votes(data, where, BUILD),
        lambda data, where: dlrn_answers.vote(data, where, BUILD),
    ):
        with contextlib.suppress(AnswerError):
            assert read(data, WHERE) == []


@given(st.sampled_from(sorted(PROMOTION)), JSON)
def test_one_key_of_a_promotion_may_be_anything(key: str, value: object) -> None:
    try:
        row = dlrn_answers.promotion_row(PROMOTION | {key: value}, WHERE)
    except AnswerError:
        return
    assert isinstance(row.timestamp, int)
    assert isinstance(row.user, str)
    assert isinstance(row.build, DlrnHash)


@given(st.sampled_from(sorted(VOTE)), JSON)
def test_one_key_of_a_vote_may_be_anything(key: str, value: object) -> None:
    try:
        [vote] = dlrn_answers.votes([VOTE | {key: value}], WHERE, BUILD)
    except AnswerError:
        return
    assert isinstance(vote.success, bool)
    assert isinstance(vote.in_progress, bool)


VERSIONS = (
    "Project,Source Repo,Source Sha,Dist Repo,Dist Sha,Status,Last Success Timestamp,"
    "Component,Extended Sha,Pkg NVR\n"
    'nova,https://nova,1a,"https://nova,distgit",2b,SUCCESS,1552576166,None,None,nova-1-1\n'
)


def test_versions_csv() -> None:
    nova = Package("nova", "https://nova", "1a", "https://nova,distgit", "2b", "nova-1-1", "SUCCESS")
    assert dlrn_answers.versions_csv(VERSIONS, WHERE) == (nova,)
    never = VERSIONS + VERSIONS.splitlines()[1].replace("SUCCESS", "FAILED").replace("nova-1-1", "") + "\n"
    assert [each.nvr for each in dlrn_answers.versions_csv(never, WHERE)] == ["nova-1-1", ""]
    # Older servers know fewer columns.
    older = VERSIONS.replace("Component,Extended Sha,", "").replace("None,None,", "")
    assert dlrn_answers.versions_csv(older.replace("\n", "\r\n"), WHERE) == (nova,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column 'Project'"),
        ("<html></html>", "has no column 'Project'"),
        (VERSIONS.replace("Pkg NVR", "NVR"), "has no column 'Pkg NVR'; is it a DLRN's?"),
        (VERSIONS[:-10], "package 1 lacks a field; its upload may have been cut off"),
        (VERSIONS + 'a,"b', "unexpected end of data"),
    ],
)
def test_no_versions_csv(text: str, said: str) -> None:
    with pytest.raises(AnswerError, match=f"http://dlrn.*{re.escape(said)}"):
        dlrn_answers.versions_csv(text, WHERE)
