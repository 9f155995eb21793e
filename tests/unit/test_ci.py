"""What CI knows of jobs that have not voted: found by a vote, or by who moved the candidate label."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.ci import SLACK, CiJob, CiState, JobRun, LiveJob, Sighting, Tenure, tenure
from rdo_promoter.model.inference import LOST_AFTER, infer, names_run
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.votes import Vote
from tests.unit.strategies import build_number

#: When the label was moved to our build; the promote job of buildset A ran around that.
T = 100_000
HELD = Tenure(T)
NOW = T + 5000


def run(job: str, number: int, *, of: str = "a", **facts: Any) -> JobRun:
    fields: dict[str, Any] = {
        "result": "SUCCESS",
        "started": T + 60,
        "ended": T + 600,
        "pipeline": "p",
        "index": number,
    }
    return JobRun(uuid=f"{number:032x}"[::-1], job=job, buildset=of * 32, **(fields | facts))


def going(job: str, number: int, **facts: Any) -> JobRun:
    return run(job, number, **({"result": None, "ended": None} | facts))


PROMOTE = run("promote", 1, started=T - 30, ended=T + 30)


def vote(of: JobRun, *, success: bool = True) -> Vote:
    return Vote(of.job, success, (of.ended or T) + 5, f"https://logs.example.org/12/{of.job}/{of.uuid[:7]}/")


def look(*runs: JobRun, job: str = "test", votes: tuple[Vote, ...] = (), **more: Any) -> CiJob:
    seen = Sighting(runs, tuple(more.pop("live", ())))
    return infer([job], votes, more.pop("held", HELD), seen, now=more.pop("now", NOW), **more)[job]


@pytest.mark.parametrize(
    ("test", "state", "words"),
    [
        (going("test", 2), CiState.RUNNING, "running in CI (inferred)"),
        (run("test", 2), CiState.LOST, "passed in CI, but its vote was lost (inferred)"),
        (
            run("test", 2, ended=NOW - LOST_AFTER),
            CiState.LOST,
            "passed in CI, but its vote was lost (inferred)",
        ),
        (run("test", 2, ended=NOW - LOST_AFTER + 1), CiState.DUE, "passed in CI, its vote is due (inferred)"),
        (run("test", 2, result="SKIPPED", started=None), CiState.SKIPPED, "skipped in CI (inferred)"),
        (
            run("test", 2, result="FAILURE"),
            CiState.FAILED,
            "ended in CI as FAILURE without a vote (inferred)",
        ),
        (
            run("test", 2, result="TIMED_OUT"),
            CiState.FAILED,
            "ended in CI as TIMED_OUT without a vote (inferred)",
        ),
        # Dequeued: it has no result for ever, but an end.
        (run("test", 2, result=None), CiState.FAILED, "ended in CI as DEQUEUED without a vote (inferred)"),
        (
            run("test", 2, result="NEW\nWORD\x1b"),
            CiState.FAILED,
            r"ended in CI as NEW\nWORD\x1b without a vote",
        ),
        (run("test", 2, final=False, result="RETRY"), CiState.MISSING, "CI knows of no run"),
        (run("other", 2), CiState.MISSING, "CI knows of no run"),
        (run("test", 2, of="b"), CiState.MISSING, "CI knows of no run"),
    ],
)
def test_the_buildset_that_moved_the_label_tells(test: JobRun, state: CiState, words: str) -> None:
    found = look(PROMOTE, test)
    assert found.state is state
    assert str(found).startswith(words)
    assert found.inferred == (state is not CiState.MISSING)


@pytest.mark.parametrize("test", [going("test", 2), run("test", 2), run("test", 2, result="FAILURE")])
def test_the_first_vote_confirms_the_buildset(test: JobRun) -> None:
    voted = run("voted", 3)
    inferred = look(PROMOTE, voted, test)
    confirmed = look(PROMOTE, voted, test, votes=(vote(voted),))
    assert (inferred.inferred, confirmed.inferred) == (True, False)
    assert (inferred.state, inferred.since) == (confirmed.state, confirmed.since)
    # A vote is enough: nobody has to know who moved the label.
    assert look(voted, test, votes=(vote(voted, success=False),)) == confirmed
    assert look(voted, test).state is CiState.MISSING


def test_a_vote_tells_more_than_the_clock() -> None:
    """Two buildsets near the label's move: the one that votes on our build is ours."""
    voted, ours, other = run("voted", 3, of="b"), going("test", 4, of="b"), run("test", 5, result="FAILURE")
    assert look(PROMOTE, other, voted, ours).state is CiState.FAILED
    found = look(PROMOTE, other, voted, ours, votes=(vote(voted),))
    assert (found.state, found.inferred) == (CiState.RUNNING, False)


@pytest.mark.parametrize(
    "votes",
    [
        (Vote("voted", True, T, "https://logs/elsewhere/fffffff"),),
        (Vote("other", True, T, f"https://logs/x/{run('voted', 3).uuid[:7]}"),),
        (Vote("voted", True, T, f"https://logs/x/{run('voted', 3).uuid[:7]}", in_progress=True),),
        (Vote("voted", True, T, f"https://logs/x/{run('voted', 3).uuid}"),),
        (Vote("voted", True, T, "https://[::1"),),
        (Vote("voted", True, T, ""),),
    ],
)
def test_what_is_no_vote_of_the_run_confirms_nothing(votes: tuple[Vote, ...]) -> None:
    assert look(run("voted", 3), going("test", 2), votes=votes).state is CiState.MISSING


@pytest.mark.parametrize("ending", ["", "/", "?x=1", "/#console"])
def test_a_votes_address_may_end_as_it_likes(ending: str) -> None:
    of = run("voted", 3)
    assert names_run(Vote("voted", True, T, f"http://any.host/a/b/{of.uuid[:7]}{ending}"), of)


def test_a_job_that_has_voted_is_not_told_of() -> None:
    voted = run("voted", 3, result="FAILURE")
    assert infer(["voted"], [vote(voted, success=False)], HELD, Sighting((PROMOTE, voted)), now=NOW) == {}
    running = Vote("voted", success=False, timestamp=T, in_progress=True)
    assert list(infer(["voted"], [running], HELD, Sighting((PROMOTE, voted)), now=NOW)) == ["voted"]


@pytest.mark.parametrize(
    "first",
    [
        run("promote", 1, started=T - 30, ended=T + 30, result="FAILURE"),
        run("promote", 1, started=T - 30, ended=T + 30, final=False),
        run("promote", 1, started=T + SLACK + 1, ended=T + SLACK + 9),
        run("promote", 1, started=T - 900, ended=T - SLACK - 1),
        # It ran while others did: they did not wait for it, so it is no promote job.
        run("promote", 1, started=T - 30, ended=T + 3000),
        going("promote", 1, started=T - 30),
        # A proposed change is tested: that says nothing of a build in DLRN.
        run("promote", 1, started=T - 30, ended=T + 30, change="42"),
    ],
)
def test_who_did_not_move_the_label_proves_nothing(first: JobRun) -> None:
    assert look(first, going("test", 2, change=first.change)).state is CiState.MISSING


def test_two_that_may_have_moved_the_label_prove_nothing() -> None:
    other = run("promote", 3, of="b", started=T - 10, ended=T + 10)
    assert look(PROMOTE, other, going("test", 2)).state is CiState.MISSING


@pytest.mark.parametrize("held", [Tenure(T, left=T + 20), Tenure(T, before=T - 20)])
def test_a_label_that_moved_twice_while_the_job_ran_proves_nothing(held: Tenure) -> None:
    assert look(PROMOTE, going("test", 2), held=held).state is CiState.MISSING


def test_a_promote_job_that_is_named_need_not_be_waited_for() -> None:
    early = run("early", 3, started=T - 40, ended=T + 900)
    assert look(PROMOTE, early, going("test", 2)).state is CiState.MISSING
    assert look(PROMOTE, early, going("test", 2), promote_job="promote").state is CiState.RUNNING
    assert look(PROMOTE, early, going("test", 2), promote_job="other").state is CiState.MISSING


def test_jobs_that_start_when_the_label_has_moved_on_test_another_build() -> None:
    voted = run("voted", 3)
    held = Tenure(T, left=T + 1000)
    before = look(voted, going("test", 2, started=T + 900), votes=(vote(voted),), held=held)
    after = look(voted, going("test", 2, started=T + 1000 + SLACK), votes=(vote(voted),), held=held)
    assert (before.state, after.state) == (CiState.RUNNING, CiState.MISSING)
    queued = (LiveJob(job="voted", item=0, uuid=voted.uuid), LiveJob(job="test", item=0, queued=T))
    assert look(voted, votes=(vote(voted),), live=queued).state is CiState.QUEUED
    assert look(voted, votes=(vote(voted),), live=queued, held=held).state is CiState.MISSING


def test_a_vote_from_an_earlier_time_of_the_build_confirms_nothing_now() -> None:
    """Somebody had the build tested again: the first buildset's votes are not about the second."""
    old = run("voted", 3, of="b", started=T - 9000, ended=T - 8000)
    found = look(old, PROMOTE, going("test", 2), votes=(vote(old),))
    assert (found.state, found.inferred) == (CiState.RUNNING, True)


def test_of_several_runs_the_newest_counts() -> None:
    runs = [run("test", 2, started=T + 60, result="FAILURE"), going("test", 3, started=T + 700)]
    assert look(PROMOTE, *runs).state is CiState.RUNNING
    assert look(PROMOTE, *reversed(runs)).state is CiState.RUNNING


def test_what_is_in_the_pipeline_now_tells_who_waits_and_for_how_long() -> None:
    live = [
        LiveJob(job="promote", item=0, uuid=PROMOTE.uuid, queued=T - 40, started=T - 30, result="SUCCESS"),
        LiveJob(job="test", item=0, queued=T - 40),
        LiveJob(job="begun", item=0, queued=T - 40, uuid="e" * 32, started=T + 50, remaining=120),
        LiveJob(job="elsewhere", item=1, queued=T - 40),
    ]
    waits = look(PROMOTE, live=live)
    assert (waits.state, waits.since, waits.inferred) == (CiState.QUEUED, T - 40, True)
    begun = look(PROMOTE, live=live, job="begun")
    assert (begun.state, begun.since, begun.until) == (CiState.RUNNING, T + 50, NOW + 120)
    assert look(PROMOTE, live=live, job="elsewhere").state is CiState.MISSING
    listed = look(PROMOTE, going("begun", 9), live=live, job="begun")
    assert (listed.state, listed.until) == (CiState.RUNNING, NOW + 120)


def test_without_the_pipelines_word_a_job_takes_as_long_as_it_did() -> None:
    took = [
        run("test", n, of="c", started=T - 90_000, ended=T - 90_000 + s)
        for n, s in ((7, 9), (8, 7000), (9, 8000))
    ]
    failed = run("test", 6, of="d", started=T - 80_000, ended=T - 10_000, result="FAILURE")
    test = going("test", 2)
    assert look(PROMOTE, test, *took, failed).until == T + 60 + 7000
    assert str(look(PROMOTE, test, *took)) == "running in CI, about until 1970-01-02 05:44:20Z (inferred)"
    assert look(PROMOTE, test, failed).until is None
    assert look(PROMOTE, test, *took, now=T + 8000).until is None  # it is late, and nobody knows how late


def test_a_zuul_that_does_not_answer_tells_nothing() -> None:
    assert infer(["test"], [], HELD, Sighting((PROMOTE, going("test", 2)), problem="down"), now=NOW) == {}


def rows(*times: tuple[int, int]) -> list[PromotionRow]:
    return [PromotionRow("ci-testing", build_number(number), time) for number, time in times]


@pytest.mark.parametrize(
    ("history", "held"),
    [
        (rows((1, 50)), Tenure(50)),
        (rows((2, 60), (1, 50), (3, 40)), Tenure(50, left=60, before=40)),
        (rows((3, 70), (2, 60), (1, 50)), Tenure(50, left=60)),
        (rows((1, 55), (1, 50), (2, 40)), Tenure(55, before=40)),
        (rows((1, 70), (2, 60), (1, 50)), Tenure(70, before=60)),
        (rows((2, 60)), None),
        ([], None),
    ],
)
def test_the_time_for_which_a_label_named_a_build(history: list[PromotionRow], held: Tenure | None) -> None:
    assert tenure(history, build_number(1)) == held


# --- whatever CI says -------------------------------------------------------------------------------------

JOBS = ("promote", "test", "other")
times = st.none() | st.integers(T - 200, T + 1200)
runs = st.lists(
    st.builds(
        JobRun,
        uuid=st.integers(1, 6).map(lambda n: f"{n:07x}" + "0" * 25),
        job=st.sampled_from(JOBS),
        result=st.sampled_from([None, "SUCCESS", "FAILURE", "SKIPPED", "RETRY", "ODD"]),
        started=times,
        ended=times,
        buildset=st.sampled_from(["a", "b"]),
        final=st.booleans(),
        change=st.sampled_from([None, None, "1"]),
        index=st.none() | st.integers(1, 9),
    ),
    max_size=7,
    unique_by=lambda run: run.uuid,
)
lives = st.lists(
    st.builds(
        LiveJob,
        job=st.sampled_from(JOBS),
        item=st.integers(0, 1),
        uuid=st.none() | st.integers(1, 6).map(lambda n: f"{n:07x}" + "0" * 25),
        started=times,
        remaining=st.none() | st.integers(0, 900),
        result=st.sampled_from([None, "SUCCESS"]),
    ),
    max_size=4,
)
votes = st.lists(
    st.builds(
        Vote,
        job=st.sampled_from(JOBS),
        success=st.booleans(),
        timestamp=st.integers(T, T + 1200),
        url=st.integers(1, 6).map(lambda n: f"https://logs/{n:07x}"),
        in_progress=st.booleans(),
    ),
    max_size=3,
)
tenures = st.builds(
    Tenure, st.just(T), st.none() | st.integers(T, T + 900), st.none() | st.integers(T - 900, T)
)


@given(runs, lives, votes, tenures, st.integers(T, T + 9000), st.randoms(use_true_random=False))
def test_each_job_without_a_vote_is_told_of_once_whatever_the_order(  # noqa: PLR0917 - one for each strategy
    known: list[JobRun],
    live: list[LiveJob],
    given_votes: list[Vote],
    held: Tenure,
    now: int,
    shuffler: random.Random,
) -> None:
    found = infer(JOBS, given_votes, held, Sighting(tuple(known), tuple(live)), now=now)
    assert set(found) == set(JOBS) - {vote.job for vote in given_votes if not vote.in_progress}
    shuffled = list(known)
    shuffler.shuffle(shuffled)
    again = infer(JOBS, given_votes, held, Sighting(tuple(shuffled), tuple(live)), now=now)
    assert {job: (each.state, each.inferred) for job, each in found.items()} == {
        job: (each.state, each.inferred) for job, each in again.items()
    }
    for each in found.values():
        assert str(each).isprintable()
        if each.state is CiState.LOST:
            # Said only of what certainly passed, long enough ago.
            assert any(
                run.job == each.job and run.passed and (run.ended or 0) <= now - LOST_AFTER for run in known
            )
        if each.state is CiState.MISSING:
            assert not each.inferred


@given(runs, votes, tenures)
def test_what_is_confirmed_was_named_by_a_vote(
    known: list[JobRun], given_votes: list[Vote], held: Tenure
) -> None:
    found = infer(JOBS, given_votes, held, Sighting(tuple(known)), now=NOW)
    told = [each for each in found.values() if each.state is not CiState.MISSING]
    matched = any(
        names_run(vote, run)
        for vote in given_votes
        if not vote.in_progress
        for run in known
        if run.change is None
    )
    assert all(each.inferred for each in told) or matched
