from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.decisions import in_force
from rdo_promoter.model.verdict import Criteria, JobState, judge
from rdo_promoter.model.votes import Vote, VotePolicy
from rdo_promoter.model.waivers import Waiver
from tests.unit.strategies import JOBS, votes
from tests.unit.test_decisions import NOW, OTHER, OURS, decisions

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


def waiver(job: str) -> Waiver:
    return Waiver(
        job=job, full_hash=None, reason="bug 7", by="ada", expires=1_552_576_166, origin="waivers.yaml:3"
    )


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "waived"),
        ([failed("scenario001")], "waived"),
        ([passed("scenario001")], "passed"),
        ([passed("scenario001-internal")], "replaced"),
    ],
)
def test_a_waiver_counts_where_no_pass_does(rows: list[Vote], state: str) -> None:
    verdict = judge(CRITERIA, [passed("build-push"), *rows], [waiver("scenario001"), waiver("unknown")])
    assert verdict.met
    assert verdict.results[1].state == state


def test_a_waived_job_is_no_pass_in_what_is_said() -> None:
    verdict = judge(CRITERIA, [failed("scenario001")], [waiver("scenario001")])
    waived = "scenario001: waived by ada until 2019-03-14 15:09:26Z: bug 7"
    assert verdict.summary() == f"0 of 2 jobs passed; {waived}; build-push: missing"
    assert verdict.results[1].vote == failed("scenario001")


@pytest.mark.parametrize(
    ("rows", "doomed"),
    [
        ([], []),
        ([failed("build-push")], ["build-push"]),
        ([failed("scenario001")], []),
        ([failed("scenario001"), failed("scenario001-internal")], []),
        (
            [failed("scenario001"), failed("scenario001-internal"), failed("scenario001-third")],
            ["scenario001"],
        ),
        ([failed("scenario001-internal"), failed("scenario001-third")], []),
    ],
)
def test_what_is_lost_without_a_rerun(rows: list[Vote], doomed: list[str]) -> None:
    assert [result.job for result in judge(CRITERIA, rows).doomed] == doomed
    assert not judge(CRITERIA, rows, [waiver("build-push"), waiver("scenario001")]).doomed


@pytest.mark.parametrize(
    ("rows", "newest", "any_success"),
    [
        ([passed("scenario001", 5), failed("scenario001", 6)], "failed", "passed"),
        ([failed("scenario001", 5), passed("scenario001", 6)], "passed", "passed"),
        ([failed("scenario001", 5), failed("scenario001", 6)], "failed", "failed"),
        ([passed("scenario001-third", 1), failed("scenario001-third", 2)], "missing", "replaced"),
    ],
)
def test_which_vote_counts_is_a_policy(rows: list[Vote], newest: str, any_success: str) -> None:
    for policy, state in ((VotePolicy.NEWEST, newest), (VotePolicy.ANY_SUCCESS, any_success)):
        criteria = Criteria(("scenario001",), CRITERIA.alternatives, policy)
        assert [result.state for result in judge(criteria, rows).results] == [state]


policies = st.sampled_from(VotePolicy)
waivers = st.lists(st.sampled_from(JOBS).map(waiver), max_size=2)
#: A release file that names the builder's own mark is refused; a verdict must not count it all the same.
named = st.sampled_from((*JOBS, CONSISTENT))
alternatives = st.dictionaries(named, st.lists(named, unique=True, max_size=3).map(tuple))
criterias = st.builds(Criteria, st.lists(named, unique=True, min_size=1).map(tuple), alternatives, policies)


@given(criterias, st.lists(votes), waivers, st.randoms())
def test_no_order_of_rows_changes_a_verdict(
    criteria: Criteria, rows: list[Vote], waived: list[Waiver], random: object
) -> None:
    rows = [*rows, *(replace(row, notes="told twice") for row in rows)]  # seldom drawn
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert judge(criteria, shuffled, waived) == judge(criteria, rows, waived)


@given(criterias, st.lists(votes), waivers, st.sampled_from(JOBS))
def test_a_pass_after_all_others_never_harms(
    criteria: Criteria, rows: list[Vote], waived: list[Waiver], job: str
) -> None:
    last = max((row.timestamp for row in rows), default=0) + 1
    before = judge(criteria, rows, waived)
    after = judge(criteria, [*rows, Vote(job, True, last)], waived)
    assert after.met >= before.met
    for one, other in zip(before.results, after.results, strict=True):
        assert other.met >= one.met


@given(criterias, st.lists(votes), st.lists(decisions))
def test_what_is_decided_for_one_build_never_changes_anothers_verdict(
    criteria: Criteria, rows: list[Vote], entries: list[object]
) -> None:
    ours = [entry for entry in entries if getattr(entry, "full_hash", OURS) in (None, OURS)]
    verdicts = [
        judge(criteria, rows, in_force(known).waivers_for(OURS, now=NOW))  # type: ignore[arg-type]
        for known in (entries, ours)
    ]
    assert verdicts[0] == verdicts[1]
    assert OTHER != OURS


@given(criterias, st.lists(st.tuples(st.lists(votes, max_size=6), waivers), max_size=4), st.randoms())
def test_what_stands_in_or_is_waived_on_one_build_changes_no_other(
    criteria: Criteria, candidates: list[tuple[list[Vote], list[Waiver]]], random: object
) -> None:
    """The script before this package kept a substitution for the builds that it judged next."""
    alone = [judge(copy.deepcopy(criteria), rows, waived) for rows, waived in candidates]
    order = list(range(len(candidates)))
    random.shuffle(order)  # type: ignore[attr-defined]
    in_turn = {number: judge(criteria, *candidates[number]) for number in order}
    assert [in_turn[number] for number in sorted(order)] == alone


@given(criterias, st.lists(votes))
def test_rows_in_progress_and_the_builders_own_never_count(criteria: Criteria, rows: list[Vote]) -> None:
    real = [row for row in rows if not row.in_progress and row.job != CONSISTENT]
    verdict = judge(criteria, rows)
    assert verdict == judge(criteria, real)
    assert not any(result.vote and result.vote.job == CONSISTENT for result in verdict.results)
    assert not judge(Criteria((CONSISTENT,)), [Vote(CONSISTENT, True, 1)]).met
