"""Times: what counts as over, what is from the future, and how far two clocks are apart."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.clock import is_from_the_future, is_over, skew, utc
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.model.order import InCi, Standing, Wait, occupies_ci, refuse_admission
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.triggers.outcome import End, Known, Labels, Outcome, Votes, job_outcome
from tests.unit.strategies import build_number
from tests.unit.terms import terms

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400
NOW = 1_700_000_000
OLD, NEW = build_number(1), build_number(2)
times = st.integers(NOW - 3 * YEAR, NOW + 3 * YEAR)
periods = st.integers(0, 30 * DAY)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_times_are_written_in_utc_wherever_the_machine_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert utc(NOW) == "2023-11-14 22:13:20Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("since", "within", "over"),
    [
        (NOW, HOUR, False),
        (NOW - HOUR + 1, HOUR, False),
        (NOW - HOUR, HOUR, True),
        (NOW, 0, True),
        # An API and its database on two machines.
        (NOW + 1, 0, True),
        (NOW + 30, 10, False),
        # The clock was set back: by less than the period, and by more.
        (NOW + HOUR, HOUR, False),
        (NOW + HOUR + 1, HOUR, True),
        (NOW + YEAR, DAY, True),
        (NOW + 61, 10, True),
    ],
)
def test_a_period_is_over(since: int, within: int, over: bool) -> None:
    assert is_over(since, within, now=NOW) is over


@given(times, periods)
def test_no_period_lasts_longer_than_twice_its_length(since: int, within: int) -> None:
    lasts = 2 * within + 61
    assert is_over(since, within, now=NOW) or is_over(since, within, now=NOW + lasts)


@given(times, periods)
def test_what_is_over_stays_over_once_the_clock_has_passed_its_beginning(since: int, within: int) -> None:
    if since <= NOW and is_over(since, within, now=NOW):
        assert is_over(since, within, now=NOW + 1)


def test_a_second_is_not_the_future() -> None:
    assert not is_from_the_future(NOW + 60, now=NOW)
    assert is_from_the_future(NOW + 61, now=NOW)


@pytest.mark.parametrize(
    ("sent", "received", "ahead"),
    [
        (NOW, NOW, 0.0),
        # The cut second and the way there and back explain these.
        (NOW + 0.9, NOW + 0.99, 0.0),
        (NOW - 5.0, NOW + 20.0, 0.0),
        (NOW + 61.0, NOW + 61.5, 60.0),
        (NOW - 60.0, NOW - 59.0, -59.0),
        (NOW - 120.0, NOW - 60.0, -60.0),
    ],
)
def test_only_what_nothing_else_explains_is_skew(sent: float, received: float, ahead: float) -> None:
    assert skew(NOW, sent=sent, received=received) == pytest.approx(ahead)


@given(
    st.floats(-1e6, 1e6),
    st.floats(0, 600),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1),
)
def test_skew_never_says_more_than_there_is(ahead: float, took: float, cut: float, when: float) -> None:
    """The server wrote its Date at some moment (`when`) of the question, and cut a part of a second off."""
    sent = NOW + cut + ahead - when * took
    told = skew(NOW, sent=sent, received=sent + took)
    assert abs(told) <= abs(ahead) + 1e-5
    assert told == 0 or (told > 0) is (ahead > 0)


def entry(at: int) -> InCi:
    return InCi(PromotionRow("ci-testing", OLD, at), ())


def test_a_row_of_next_year_keeps_nobody_out_of_ci() -> None:
    waits = (Wait(Criteria(("job",)), DAY),)
    assert occupies_ci(entry(NOW), waits, now=NOW)
    assert occupies_ci(entry(NOW + HOUR), waits, now=NOW), "it lasts an hour longer, not for ever"
    assert not occupies_ci(entry(NOW + YEAR), waits, now=NOW)
    options: dict[str, Any] = {"now": NOW, "max_in_ci": 1, "min_gap": HOUR}
    assert refuse_admission(NEW, [entry(NOW + YEAR)], waits, **options) is None


def test_the_gap_is_never_told_as_negative() -> None:
    refused = refuse_admission(NEW, [entry(NOW + 5)], (), now=NOW, max_in_ci=1, min_gap=HOUR)
    assert refused == f"CI got {OLD.full_hash} 0 s ago; the candidate label stands still for 3600 s"
    assert refuse_admission(NEW, [entry(NOW + 1)], (), now=NOW, max_in_ci=1, min_gap=0) is None


def waiting(since: int, votes: Votes, labels: Labels) -> Outcome | None:
    return job_outcome(terms(within=DAY), "job", OLD, since, Known(votes, labels, Decisions.NONE))


def test_waiting_from_next_year_on_ends_and_says_why() -> None:
    ended = waiting(NOW + YEAR, Votes((), NOW), Labels())
    assert ended is not None
    assert ended.end is End.EXPIRED
    assert "entered the candidate label at 2024-11-13 22:13:20Z, which is in the future of" in ended.reason
    assert "DLRN's clock (2023-11-14 22:13:20Z)" in ended.reason
    assert "'Test again' ticked" in ended.reason
    assert waiting(NOW + HOUR, Votes((), NOW), Labels()) is None


def test_a_holder_of_next_year_does_not_supersede() -> None:
    ours, holder = Standing(OLD, NOW), Standing(NEW, NOW + YEAR)
    assert waiting(NOW, Votes((), NOW, ours), Labels(holder=holder)) is None
    ended = waiting(NOW, Votes((), NOW + YEAR, ours), Labels(holder=holder))
    assert ended is not None
    assert ended.end is End.SUPERSEDED
