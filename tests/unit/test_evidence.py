"""A buildset in place of votes: which one speaks for a build, and what it says."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.ci import SLACK, Buildset, JobRun, Pipeline, Tenure
from rdo_promoter.model.evidence import Evidence, find_buildset, from_buildset, judge_evidence, whole
from rdo_promoter.model.verdict import Criteria, judge
from rdo_promoter.model.votes import Vote
from tests.unit.strategies import JOBS, votes

T = 100_000
HELD = Tenure(T)
PIPELINE = Pipeline("puppet")
END = whole(PIPELINE)
SET = "a" * 32


def run(job: str, number: int, **facts: Any) -> JobRun:
    fields: dict[str, Any] = {"result": "SUCCESS", "started": T + 60, "ended": T + 600, "pipeline": "puppet"}
    return JobRun(uuid=f"{number:032x}", job=job, buildset=SET, index=number, **(fields | facts))


PROMOTE = run("promote", 1, started=T - 30, ended=T + 30)
GOING: dict[str, Any] = {"result": None, "ended": None}


def states(*runs: JobRun, result: str | None = "SUCCESS", held: Tenure = HELD, **more: Any) -> dict[str, str]:
    """Return each job's state by the evidence of a buildset."""
    found = Buildset(uuid=SET, pipeline="puppet", result=result, runs=runs)
    evidence = from_buildset(found, held, more.pop("pipeline", PIPELINE))
    verdict = judge_evidence(more.pop("criteria", Criteria(())), evidence, **more)
    said = {each.job: str(each.state) for each in verdict.results}
    return said | {"met": str(verdict.met)}


def test_every_voting_job_passed() -> None:
    found = states(PROMOTE, run("a", 2), run("b", 3), run("c", 4, voting=False, result="FAILURE"))
    assert found == {"a": "passed", "b": "passed", END: "passed", "met": "True"}


@pytest.mark.parametrize(
    "word", ["FAILURE", "SKIPPED", "TIMED_OUT", "NODE_FAILURE", "ABORTED", "success", "NEW"]
)
def test_any_other_end_of_a_voting_job_is_a_failure(word: str) -> None:
    for result in ("SUCCESS", "FAILURE"):
        found = states(PROMOTE, run("a", 2), run("b", 3, result=word), result=result)
        assert (found["a"], found["b"], found["met"]) == ("passed", "failed", "False")


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (GOING, "missing"),
        ({"result": None}, "failed"),  # dequeued
        ({"final": False}, None),  # tried once more: what counts is yet to come
        ({"started": None}, "missing"),  # nobody knows when it read the label
        ({"result": "SKIPPED", "started": None}, "failed"),
        ({"started": T + 29}, "missing"),  # it began before the label was moved
        ({"change": "42"}, None),
    ],
)
def test_a_job_that_did_not_certainly_pass_on_the_build(facts: dict[str, Any], state: str | None) -> None:
    found = states(PROMOTE, run("a", 2), run("b", 3, **facts), pipeline=Pipeline("puppet", "promote"))
    assert found.get("b") == state
    assert found["met"] == str(state is None)


@pytest.mark.parametrize("result", [None, "FAILURE", "DEQUEUED", "CONFIG_ERROR", "MERGE_CONFLICT"])
def test_a_buildset_without_a_good_end_is_not_enough(result: str | None) -> None:
    found = states(PROMOTE, run("a", 2), result=result)
    assert (found["a"], found["met"]) == ("passed", "False")
    assert found[END] == ("missing" if result is None else "failed")


@pytest.mark.parametrize("others", [(), (run("a", 2, voting=False),), (run("a", 2, final=False),)])
def test_a_buildset_that_tested_nothing_is_not_enough(others: tuple[JobRun, ...]) -> None:
    assert states(PROMOTE, *others) == {END: "failed", "met": "False"}


@pytest.mark.parametrize(
    "first",
    [
        run("promote", 1, started=T - 30, ended=T + 30, result="FAILURE"),
        run("promote", 1, started=T - 30, ended=T + 30, final=False),
        run("promote", 1, started=T - 30, ended=None, result=None),
        run("promote", 1, started=T - 300, ended=T - SLACK - 1),
        run("promote", 1, started=T + SLACK + 1, ended=T + SLACK + 9),
    ],
)
def test_a_buildset_that_did_not_move_the_label_to_the_build_says_nothing(first: JobRun) -> None:
    late = {"started": T + 700, "ended": T + 900}
    for pipeline in (PIPELINE, Pipeline("puppet", "promote")):
        assert states(first, run("a", 2, **late), pipeline=pipeline) == {END: "missing", "met": "False"}


def test_nothing_is_known_without_a_buildset_or_an_entry() -> None:
    good = Buildset(uuid=SET, pipeline="puppet", result="SUCCESS", runs=(PROMOTE, run("a", 2)))
    for found, held in ((None, HELD), (good, None), (None, None)):
        assert from_buildset(found, held, PIPELINE) == Evidence((), (END,))


def test_a_label_that_moved_meanwhile_leaves_later_jobs_without_a_say() -> None:
    """CI tests what the label names when a job starts."""
    runs = (PROMOTE, run("a", 2, started=T + 60), run("b", 3, started=T + 500, ended=T + 900))
    assert states(*runs, held=Tenure(T, left=T + 500 + SLACK + 1))["met"] == "True"
    found = states(*runs, held=Tenure(T, left=T + 500 + SLACK))
    assert (found["a"], found["b"], found["met"]) == ("passed", "missing", "False")


@pytest.mark.parametrize("held", [Tenure(T, left=T + 20), Tenure(T, before=T - 10)])
def test_a_label_that_moved_twice_in_a_moment_leaves_no_evidence(held: Tenure) -> None:
    assert states(PROMOTE, run("a", 2), held=held) == {END: "missing", "met": "False"}
    assert find_buildset([PROMOTE, run("a", 2)], held, PIPELINE) is None


def test_a_job_that_runs_for_several_refs_has_to_pass_for_all() -> None:
    runs = [run("a", 2, ended=T + 900), run("a", 3, result="FAILURE", ended=T + 700), run("a", 4, **GOING)]
    assert states(PROMOTE, *runs)["a"] == "failed"
    assert states(PROMOTE, runs[0], runs[2])["a"] == "missing"
    assert states(PROMOTE, runs[0])["a"] == "passed"


def test_listed_jobs_have_to_be_there_besides() -> None:
    criteria = Criteria(("a", "z"), {"z": ("z-internal",)})
    found = states(PROMOTE, run("b", 2), criteria=criteria)
    assert found == {"a": "missing", "z": "missing", "b": "passed", END: "passed", "met": "False"}
    runs = (PROMOTE, run("a", 2, voting=False), run("z-internal", 3, voting=False), run("b", 4))
    assert states(*runs, criteria=criteria)["z"] == "replaced"
    assert states(*runs, criteria=criteria)["met"] == "True"


def test_the_verdict_links_the_log_and_says_that_there_is_no_vote() -> None:
    found = Buildset(
        uuid=SET, pipeline="puppet", result="FAILURE", runs=(PROMOTE, run("a", 2, log_url="https://l/"))
    )
    (vote, end) = from_buildset(found, HELD, PIPELINE).votes
    assert (vote.job, vote.url, vote.notes) == (
        "a",
        "https://l/",
        f"no vote: SUCCESS in Zuul's buildset {SET}",
    )
    assert (end.job, end.success, end.timestamp) == (END, False, T + 600)


def test_one_buildset_alone_moved_the_label() -> None:
    assert find_buildset([PROMOTE, run("a", 2)], HELD, PIPELINE) == SET
    assert find_buildset([PROMOTE, run("a", 2)], None, PIPELINE) is None
    proposed = run("promote", 1, started=T - 30, ended=T + 30, change="42")
    assert find_buildset([proposed], HELD, PIPELINE) is None
    assert find_buildset([run("a", 2, started=T + 700, ended=T + 900)], HELD, PIPELINE) is None


def test_two_buildsets_that_may_have_moved_the_label_are_no_evidence() -> None:
    second = JobRun(uuid="5" * 32, job="promote", buildset="b" * 32, result="SUCCESS", started=T, ended=T + 9)
    assert find_buildset([PROMOTE, second], HELD, PIPELINE) is None


@given(st.lists(votes))
def test_votes_as_evidence_are_judged_as_ever(rows: list[Vote]) -> None:
    criteria = Criteria(JOBS[:3], {"scenario001": ("scenario001-internal",)})
    assert judge_evidence(criteria, Evidence(tuple(rows))) == judge(criteria, rows)


runs = st.lists(
    st.builds(
        JobRun,
        uuid=st.integers(2, 9).map(lambda n: f"{n:032x}"),
        job=st.sampled_from(["a", "b", "promote"]),
        result=st.sampled_from([None, "SUCCESS", "SUCCESS", "FAILURE", "SKIPPED"]),
        started=st.none() | st.integers(T - 90, T + 900),
        ended=st.none() | st.integers(T, T + 2000),
        buildset=st.just(SET),
        voting=st.booleans(),
        final=st.booleans(),
        change=st.sampled_from([None, None, None, "1"]),
    ),
    max_size=5,
    unique_by=lambda run: run.uuid,
)
held_for = st.builds(
    Tenure, st.just(T), st.none() | st.integers(T, T + 2000), st.none() | st.integers(T - 99, T)
)


@given(
    runs,
    held_for,
    st.sampled_from([None, "SUCCESS", "SUCCESS", "FAILURE"]),
    st.sampled_from([PIPELINE, Pipeline("puppet", "promote")]),
    st.randoms(use_true_random=False),
)
def test_met_means_that_all_that_can_fail_passed_on_the_build(
    known: list[JobRun], held: Tenure, result: str | None, pipeline: Pipeline, shuffler: random.Random
) -> None:
    def verdict(order: list[JobRun]) -> Any:
        found = Buildset(uuid=SET, pipeline="puppet", result=result, runs=tuple(order))
        return judge_evidence(Criteria(()), from_buildset(found, held, pipeline))

    judged = verdict([PROMOTE, *known])
    shuffled = [PROMOTE, *known]
    shuffler.shuffle(shuffled)
    assert {each.job: each.state for each in verdict(shuffled).results} == {
        each.job: each.state for each in judged.results
    }
    if not judged.met:
        return
    assert result == "SUCCESS"
    voting = [run for run in known if run.voting and run.final and run.change is None]
    assert voting
    for each in voting:
        assert each.result == "SUCCESS"
        assert each.started is not None
        assert each.started >= T + 30 - SLACK
        assert held.left is None or each.started < held.left


@given(runs, held_for)
def test_a_failure_more_never_makes_a_build_good(known: list[JobRun], held: Tenure) -> None:
    def met(*order: JobRun) -> bool:
        found = Buildset(uuid=SET, pipeline="puppet", result="SUCCESS", runs=order)
        return judge_evidence(Criteria(()), from_buildset(found, held, PIPELINE)).met

    assert not met(PROMOTE, *known, run("late", 99, result="FAILURE"))
