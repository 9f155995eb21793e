from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.decisions import Answer, Decision, in_force
from rdo_promoter.model.order import (
    InCi,
    Standing,
    Wait,
    displaced,
    first_entry,
    occupies_ci,
    refuse_admission,
    superseded,
)
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.model.votes import Vote
from tests.unit.strategies import build_number, builds, rows, times, votes
from tests.unit.test_decisions import answered, marked_bad, waived

LABEL = "tripleo-ci-testing"
OLD, NEW, NEWER = (build_number(number) for number in (1, 2, 3))
CRITERIA = Criteria(("build-push", "standalone"))
HOUR = 3600


def row(build: object, at: int) -> PromotionRow:
    return PromotionRow(LABEL, build, at)  # type: ignore[arg-type]


def test_the_first_entry_counts_however_often_a_build_is_tested_again() -> None:
    history = [row(OLD, 300), row(NEW, 200), row(OLD, 100)]
    assert first_entry(history, OLD) == 100
    assert first_entry(history, NEWER) is None


@pytest.mark.parametrize(
    ("ours", "holder", "expected"),
    [
        (Standing(NEW, 200), None, False),
        (Standing(NEW, 200), Standing(NEW, 200), False),
        (Standing(NEW, 200), Standing(OLD, 100), False),
        (Standing(OLD, 100), Standing(NEW, 200), True),
        (Standing(OLD, 100), Standing(NEW, 100), True),
    ],
)
def test_superseded(ours: Standing, holder: Standing | None, expected: bool) -> None:
    assert superseded(ours, holder) is expected


@given(builds, times, builds, times)
def test_two_builds_never_replace_each_other(one: object, at: int, other: object, then: int) -> None:
    left, right = Standing(one, at), Standing(other, then)  # type: ignore[arg-type]
    if left.build != right.build:
        assert superseded(left, right) or superseded(right, left)


@pytest.mark.parametrize(
    ("holder", "jobs", "expected"),
    [
        (None, [], False),
        (row(NEW, 5), [], False),
        (row(NEWER, 5), [], True),
        (row(NEWER, 5), ["consistent"], True),
        (row(NEWER, 5), ["consistent", "build-push"], False),
    ],
)
def test_displaced(holder: PromotionRow | None, jobs: list[str], expected: bool) -> None:
    assert displaced(NEW, holder, [Vote(job, True, 6) for job in jobs], CRITERIA.known_jobs) is expected


BUILDS, TESTS = Wait(Criteria(("build-push",)), 4 * HOUR), Wait(Criteria(("standalone",)), 12 * HOUR)


@pytest.mark.parametrize(
    ("passed", "failed", "hours", "expected"),
    [
        ([], [], 1, True),
        ([], [], 5, False),  # nothing behind the builds will start
        ([], ["build-push"], 1, True),  # it may be rerun yet
        ([], ["build-push"], 5, False),
        (["build-push"], [], 1, True),
        (["build-push"], [], 5, True),
        (["build-push"], [], 13, False),
        (["build-push", "standalone"], [], 1, False),
        (["build-push"], ["standalone"], 1, False),
    ],
)
def test_ci_is_occupied_until_each_job_has_voted_or_cannot_start_any_more(
    passed: list[str], failed: list[str], hours: int, expected: bool
) -> None:
    cast = [Vote(job, True, 5) for job in passed] + [Vote(job, False, 5) for job in failed]
    entry = InCi(row(NEW, 1000), tuple(cast))
    assert occupies_ci(entry, [BUILDS, TESTS], now=1000 + hours * HOUR) is expected


GATE, DUE = "upstream.tests.gate", 1000 + HOUR


@pytest.mark.parametrize(
    ("entries", "busy"),
    [
        ([], True),
        ([waived(full_hash=None, expires=DUE + 1)], False),
        ([waived(full_hash=NEW.full_hash, expires=DUE + 1)], False),
        ([waived(full_hash=None, expires=DUE)], True),
        ([waived(full_hash=OLD.full_hash, expires=DUE + 1)], True),
        ([waived(job="build-push", full_hash=None, expires=DUE + 1)], True),
        ([marked_bad(full_hash=NEW.full_hash)], False),
        ([marked_bad(full_hash=OLD.full_hash)], True),
        ([answered(Answer.REJECT, 1001, full_hash=NEW.full_hash, task_id=GATE)], False),
        ([answered(Answer.REJECT, 999, full_hash=NEW.full_hash, task_id=GATE)], True),  # tested again since
        ([answered(Answer.REJECT, 1001, full_hash=OLD.full_hash, task_id=GATE)], True),
        ([answered(Answer.REJECT, 1001, full_hash=NEW.full_hash, task_id="phase1.tests.gate")], True),
        ([answered(Answer.WAIT, 1001, full_hash=NEW.full_hash, task_id=GATE, until=DUE)], True),
    ],
)
def test_ci_is_not_kept_busy_by_what_nobody_wants_any_more(entries: list[Decision], busy: bool) -> None:
    """A job that runs no more, waived for every build, would keep each of them in CI until its deadline."""
    in_ci = InCi(row(NEW, 1000), (Vote("build-push", True, 1005),))
    decisions = in_force(entries)
    assert occupies_ci(in_ci, [BUILDS, TESTS], now=DUE, decisions=decisions, asks=[GATE]) is busy
    refused = refuse_admission(
        NEWER,
        [in_ci],
        [BUILDS, TESTS],
        now=DUE,
        max_in_ci=1,
        min_gap=0,
        decisions=decisions,
        asks=[GATE],
    )
    assert (refused == f"CI busy with {NEW.full_hash}") is busy


def test_a_waiver_lets_ci_go_on_to_what_comes_behind() -> None:
    """The stage goes on behind a gate that a waiver opened late, so CI still works on the build."""
    in_ci = InCi(row(NEW, 1000), ())
    decisions = in_force([waived(job="build-push", full_hash=None, expires=1000 + 6 * HOUR)])
    assert not occupies_ci(in_ci, [BUILDS, TESTS], now=1000 + 5 * HOUR)
    assert occupies_ci(in_ci, [BUILDS, TESTS], now=1000 + 5 * HOUR, decisions=decisions)


def refusal(*in_ci: InCi, now: int = 2000, max_in_ci: int = 1, min_gap: int = 0) -> str | None:
    return refuse_admission(NEWER, in_ci, [BUILDS, TESTS], now=now, max_in_ci=max_in_ci, min_gap=min_gap)


def test_admission_to_an_idle_ci() -> None:
    assert refusal() is None


def test_admission_says_what_ci_is_busy_with() -> None:
    assert refusal(InCi(row(NEW, 1990), ())) == f"CI busy with {NEW.full_hash}"


def test_as_many_builds_as_allowed_are_in_ci_at_once() -> None:
    begun = (Vote("build-push", True, 1985),)
    busy = (InCi(row(NEW, 1990), begun), InCi(row(OLD, 1980), begun))
    assert refusal(*busy, max_in_ci=2) == f"CI busy with {NEW.full_hash}, {OLD.full_hash}"
    assert refusal(*busy, max_in_ci=3) is None


def test_a_build_that_was_displaced_before_any_vote_keeps_nobody_waiting() -> None:
    done = tuple(Vote(job, True, 1995) for job in CRITERIA.jobs)
    assert refusal(InCi(row(NEW, 1990), done), InCi(row(OLD, 1980), ())) is None


def test_the_label_stands_still_for_the_gap() -> None:
    done = InCi(row(NEW, 1990), tuple(Vote(job, True, 1995) for job in CRITERIA.jobs))
    assert refusal(done, min_gap=60) == (
        f"CI got {NEW.full_hash} 10 s ago; the candidate label stands still for 60 s"
    )
    assert refusal(done, min_gap=10) is None


def test_a_build_does_not_wait_for_itself() -> None:
    assert refusal(InCi(row(NEWER, 1990), ())) is None


entries = st.builds(InCi, row=rows(LABEL), votes=st.lists(votes, max_size=6).map(tuple))


@given(builds, st.lists(entries, unique_by=lambda entry: entry.row.build), st.integers(1, 4))
def test_more_room_never_refuses_more(build: object, in_ci: list[InCi], room: int) -> None:
    def ask(max_in_ci: int) -> str | None:
        return refuse_admission(
            build,  # type: ignore[arg-type]
            in_ci,
            [Wait(CRITERIA, HOUR)],
            now=1_020,
            max_in_ci=max_in_ci,
            min_gap=0,
        )

    if ask(room) is None:
        assert ask(room + 1) is None
    assert ask(len(in_ci) + 1) is None
