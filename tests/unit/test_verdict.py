from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.verdict import Criteria, JobState, judge
from rdo_promoter.model.votes import Vote
from tests.unit.strategies import JOBS, votes

CRITERIA = Criteria(
    ("build-push", "scenario001"), {"scenario001": ("scenario001-internal", "scenario001-third")}
)


def passed(job: str, at: int = 10) -> Vote:
    return Vote(job, True, at)


def failed(job: str, at: int = 10) -> Vote:
    return Vote(job, False, at, url=f"https://logs.example.org/{job}")


@pytest.mark.parametrize(
    ("rows", "states"),
    [
        ([], ["missing", "missing"]),
        ([passed("build-push"), passed("scenario001")], ["passed", "passed"]),
        ([passed("build-push"), failed("scenario001")], ["passed", "failed"]),
        ([passed("build-push"), passed("scenario001-internal")], ["passed", "replaced"]),
        ([failed("scenario001", 5), passed("scenario001-third", 1)], ["missing", "replaced"]),
        ([failed("scenario001-internal")], ["missing", "missing"]),
        ([passed("scenario001", 5), failed("scenario001", 6)], ["missing", "failed"]),
        ([failed("scenario001", 5), passed("scenario001", 6)], ["missing", "passed"]),
        ([failed("scenario001", 5), passed("scenario001", 5)], ["missing", "failed"]),
        ([Vote("scenario001", False, 9, in_progress=True), passed("scenario001", 5)], ["missing", "passed"]),
        ([Vote("scenario001", False, 9, in_progress=True)], ["missing", "missing"]),
        ([passed("consistent")], ["missing", "missing"]),
    ],
)
def test_states_of_jobs(rows: list[Vote], states: list[str]) -> None:
    assert [result.state for result in judge(CRITERIA, rows).results] == states


def test_summary_names_what_blocks_with_its_log() -> None:
    verdict = judge(CRITERIA, [failed("scenario001")])
    assert verdict.summary() == (
        "0 of 2 jobs passed; scenario001: failed, https://logs.example.org/scenario001; build-push: missing"
    )


def test_summary_says_what_stood_in() -> None:
    verdict = judge(CRITERIA, [passed("build-push"), passed("scenario001-internal")])
    assert str(verdict.in_state(JobState.REPLACED)[0]) == "scenario001: replaced by scenario001-internal"


def test_no_criteria_are_never_met() -> None:
    assert not judge(Criteria(()), [passed("build-push")]).met


def test_a_substitution_does_not_leak_to_another_build() -> None:
    """Regression 1 of the script that this replaces."""
    judge(CRITERIA, [passed("build-push"), passed("scenario001-internal")])
    assert judge(CRITERIA, [passed("build-push"), passed("scenario001")]).met
    assert not judge(CRITERIA, [passed("build-push")]).met


required = st.lists(st.sampled_from(JOBS), unique=True, min_size=1).map(tuple)


@given(required, st.lists(votes))
def test_met_means_that_each_jobs_newest_result_passed(jobs: tuple[str, ...], rows: list[Vote]) -> None:
    verdict = judge(Criteria(jobs), rows)
    for result in verdict.results:
        results = [row for row in rows if row.job == result.job and not row.in_progress]
        newest = max((row.timestamp for row in results), default=None)
        last = [row.success for row in results if row.timestamp == newest]
        assert (result.state is JobState.PASSED) == (bool(last) and all(last))
        assert (result.state is JobState.MISSING) == (not results)
    assert verdict.met == all(result.state is JobState.PASSED for result in verdict.results)


@given(required, st.lists(votes), st.randoms())
def test_the_order_of_rows_does_not_matter(jobs: tuple[str, ...], rows: list[Vote], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert [r.state for r in judge(Criteria(jobs), rows).results] == [
        r.state for r in judge(Criteria(jobs), shuffled).results
    ]


@given(st.lists(votes))
def test_an_alternative_helps_and_never_harms(rows: list[Vote]) -> None:
    without = judge(Criteria(("scenario001",)), rows)
    with_alternative = judge(Criteria(("scenario001",), {"scenario001": ("scenario001-internal",)}), rows)
    assert with_alternative.met >= without.met
