from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import AggregateHash, DlrnHash
from rdo_promoter.model.ci import CiJob, CiState
from rdo_promoter.model.decisions import Answer, Decision, Decisions, in_force
from rdo_promoter.model.order import Standing
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.votes import Vote, VotePolicy
from rdo_promoter.triggers.job import CiTeller, JobTrigger, event
from rdo_promoter.triggers.outcome import End, Known, Labels, Outcome, Votes, dry_outcome, job_outcome
from rdo_promoter.triggers.terms import Terms, Where, read_build, read_since
from tests.unit.terms import JOB, WITHIN, terms
from tests.unit.test_decisions import answered, held, marked_bad, waived

SINCE = 1_700_000_000
EARLY = SINCE + 60
LATE = SINCE + WITHIN

OURS = DlrnHash("a" * 40, "b" * 40)
OTHER = DlrnHash("c" * 40, "d" * 40)

OURS_ENTERED = Standing(OURS, SINCE)


TERMS = terms(
    alternatives={JOB: ("first", "second")}, stage_jobs=frozenset({JOB, "sibling", "first", "second"})
)


def known(
    votes: list[Vote], labels: Labels | None, now: int, decisions: Decisions | None = Decisions.NONE
) -> Known:
    return Known(Votes(tuple(votes), now, OURS_ENTERED, "http://dlrn/votes"), labels, decisions)


def outcome_of(
    votes: list[Vote],
    labels: Labels | None = None,
    now: int = SINCE + 60,
    *entries: Decision,
    job: str = JOB,
    of: Terms = TERMS,
) -> Outcome | None:
    labels = labels or QUIET
    return job_outcome(of, job, OURS, SINCE, known(votes, labels, now, in_force(entries)))


def vote(job: str, success: bool, at: int = EARLY, **more: Any) -> Vote:
    return Vote(job, success, at, url=f"http://logs/{job}/{at}", **more)


def candidate(build: DlrnHash, at: int) -> Labels:
    return Labels(PromotionRow("tripleo-ci-testing", build, at))


TOO_LATE = (
    "within 3600 s after 2023-11-14 22:13:20Z; "
    "rerun the job on this hash, then clear the stage's gate with what follows it"
)

QUIET = candidate(OURS, SINCE)
DISPLACED = candidate(OTHER, SINCE + 1)
SUPERSEDED = Labels(None, Standing(OTHER, SINCE + 1))


@pytest.mark.parametrize(
    ("votes", "labels", "now", "end"),
    [
        pytest.param([], QUIET, EARLY, None, id="nothing yet"),
        pytest.param([vote("consistent", True)], QUIET, EARLY, None, id="only the builder's vote"),
        pytest.param([vote(JOB, True)], QUIET, EARLY, End.PASSED, id="passed"),
        pytest.param([vote(JOB, True)], None, EARLY, End.PASSED, id="passed, labels not known yet"),
        pytest.param([vote(JOB, True)], SUPERSEDED, LATE, End.PASSED, id="a pass is a pass"),
        pytest.param([vote(JOB, False)], QUIET, EARLY, End.FAILED, id="failed"),
        pytest.param([vote(JOB, False)], None, EARLY, None, id="failed, labels not known yet"),
        pytest.param(
            [vote(JOB, False), vote(JOB, True, EARLY + 1)], QUIET, EARLY, End.PASSED, id="rerun passed"
        ),
        pytest.param(
            [vote(JOB, True), vote(JOB, False, EARLY + 1)], QUIET, EARLY, End.FAILED, id="rerun failed"
        ),
        pytest.param([vote(JOB, False, in_progress=True)], QUIET, EARLY, None, id="in progress is no vote"),
        pytest.param([vote("first", True)], QUIET, EARLY, End.REPLACED, id="alternative before the job"),
        pytest.param(
            [vote(JOB, False), vote("second", True)],
            QUIET,
            EARLY,
            End.REPLACED,
            id="alternative after failure",
        ),
        pytest.param([vote("first", False)], QUIET, EARLY, None, id="a failed alternative says nothing"),
        pytest.param([], SUPERSEDED, EARLY, End.SUPERSEDED, id="superseded"),
        pytest.param([vote(JOB, False)], SUPERSEDED, LATE, End.SUPERSEDED, id="superseded before too late"),
        pytest.param(
            [], Labels(None, Standing(OTHER, SINCE)), EARLY, End.SUPERSEDED, id="by one of the same second"
        ),
        pytest.param([], Labels(None, Standing(OTHER, SINCE - 1)), EARLY, None, id="an older one holds it"),
        pytest.param([], Labels(None, Standing(OURS, SINCE + 9)), EARLY, None, id="we hold it"),
        pytest.param([], DISPLACED, EARLY, End.DISPLACED, id="displaced"),
        pytest.param(
            [vote("consistent", True)], DISPLACED, EARLY, End.DISPLACED, id="displaced, builder's vote only"
        ),
        pytest.param([vote("sibling", False)], DISPLACED, EARLY, None, id="replaced after CI began"),
        pytest.param([], candidate(OTHER, SINCE), EARLY, None, id="row from before we got the label"),
        pytest.param([], QUIET, LATE, End.EXPIRED, id="too late"),
        pytest.param([], QUIET, LATE - 1, None, id="one second left"),
        pytest.param([vote(JOB, False)], QUIET, LATE, End.EXPIRED, id="failed and too late"),
    ],
)
def test_how_waiting_ends(votes: list[Vote], labels: Labels | None, now: int, end: End | None) -> None:
    outcome = job_outcome(TERMS, JOB, OURS, SINCE, known(votes, labels, now))
    assert (outcome.end if outcome else None) == end


def test_a_build_that_was_never_a_candidate_is_not_superseded() -> None:
    assert job_outcome(TERMS, JOB, OURS, SINCE, Known(Votes((), EARLY), SUPERSEDED, Decisions.NONE)) is None


@pytest.mark.parametrize(
    ("votes", "end", "reason"),
    [
        ([], End.DRY_RUN, "dry run: would wait for job: it has not voted yet"),
        ([vote(JOB, False)], End.DRY_RUN, "dry run: would wait for job: the vote that counts failed"),
        ([vote(JOB, True)], End.PASSED, "passed"),
        ([vote("second", True)], End.REPLACED, "replaced by second"),
    ],
)
def test_a_dry_run_never_waits(votes: list[Vote], end: End, reason: str) -> None:
    outcome = dry_outcome(TERMS, JOB, OURS, SINCE, known(votes, None, LATE, None))
    assert (outcome.end, outcome.reason, outcome.page) == (end, reason, "http://dlrn/votes")


@pytest.mark.parametrize(
    ("votes", "labels", "now", "reason"),
    [
        (
            [vote(JOB, False)],
            QUIET,
            EARLY,
            "failed; a newer vote may replace this one until 2023-11-14 23:13:20Z",
        ),
        (
            [],
            SUPERSEDED,
            EARLY,
            f"superseded by {OTHER.full_hash}, which holds current-tripleo and is not older",
        ),
        ([], DISPLACED, EARLY, f"not tested: displaced by {OTHER.full_hash}"),
        (
            [],
            QUIET,
            LATE,
            f"job did not vote on {OURS.full_hash} {TOO_LATE}",
        ),
        (
            [vote(JOB, False)],
            QUIET,
            LATE,
            f"job failed on {OURS.full_hash} {TOO_LATE}",
        ),
    ],
)
def test_reasons(votes: list[Vote], labels: Labels, now: int, reason: str) -> None:
    outcome = outcome_of(votes, labels, now)
    assert outcome is not None
    assert outcome.reason == reason
    assert outcome.url == (votes[0].url if votes else "")


BUG = "https://bugs.example.org/1"
FUTURE = {"expires": LATE + 10_000_000, "full_hash": OURS.full_hash, "job": JOB}
GATE = {"full_hash": OURS.full_hash, "task_id": TERMS.gate}


@pytest.mark.parametrize(
    ("votes", "entries", "end"),
    [
        pytest.param([], [waived(**FUTURE)], End.WAIVED, id="waived"),
        pytest.param([vote(JOB, False)], [waived(**FUTURE)], End.WAIVED, id="failed and waived"),
        pytest.param([vote(JOB, True)], [waived(**FUTURE)], End.PASSED, id="a pass needs no waiver"),
        pytest.param([], [waived(**{**FUTURE, "expires": EARLY})], None, id="the waiver has expired"),
        pytest.param([], [waived(**{**FUTURE, "full_hash": OTHER.full_hash})], None, id="another build's"),
        pytest.param([], [waived(**{**FUTURE, "job": "sibling"})], None, id="another job's"),
        pytest.param([], [marked_bad(full_hash=OURS.full_hash)], End.BAD, id="marked bad"),
        pytest.param([], [marked_bad(full_hash=OTHER.full_hash)], None, id="another one is marked bad"),
        pytest.param([], [held()], None, id="a hold does not end waiting"),
        pytest.param([], [answered(Answer.REJECT, 910, **GATE)], End.REJECTED, id="given up"),
        pytest.param([vote(JOB, True)], [answered(Answer.REJECT, 910, **GATE)], End.PASSED, id="and passed"),
    ],
)
def test_what_people_decide_ends_waiting(votes: list[Vote], entries: list[Decision], end: End | None) -> None:
    outcome = outcome_of(votes, QUIET, EARLY, *entries)
    assert (outcome.end if outcome else None) == end
    if outcome is not None and end is not End.PASSED:
        assert BUG in outcome.reason


def test_without_the_ledger_only_a_pass_ends_waiting() -> None:
    assert job_outcome(TERMS, JOB, OURS, SINCE, known([], SUPERSEDED, LATE, None)) is None
    passed = job_outcome(TERMS, JOB, OURS, SINCE, known([vote(JOB, True)], None, LATE, None))
    assert passed is not None
    assert passed.end is End.PASSED


@pytest.mark.parametrize(("run_id", "end"), [("run 1", End.REJECTED), ("run 2", None), (None, End.REJECTED)])
def test_who_gave_the_build_up_in_another_run_decided_nothing(run_id: str | None, end: End | None) -> None:
    decisions = in_force([dataclasses.replace(answered(Answer.REJECT, 910, **GATE), run_id="run 1")])
    found = job_outcome(TERMS, JOB, OURS, SINCE, known([], QUIET, EARLY, decisions), run_id=run_id)
    assert (found.end if found else None) is end


@pytest.mark.parametrize(
    ("votes", "now", "end"),
    [
        ([], LATE, None),
        ([vote(JOB, False)], LATE, End.FAILED),
        ([vote(JOB, True)], LATE, End.PASSED),
        ([], LATE + 599, None),
        ([], LATE + 600, End.EXPIRED),
    ],
)
def test_while_a_person_is_asked_votes_are_read(votes: list[Vote], now: int, end: End | None) -> None:
    asking = terms(ask=True, answer_within=600)
    outcome = outcome_of(votes, QUIET, now, of=asking)
    assert (outcome.end if outcome else None) == end


def test_a_person_can_have_it_wait_longer() -> None:
    longer = answered(Answer.WAIT, 910, until=LATE + 500, **GATE)
    assert outcome_of([], QUIET, LATE + 499, longer) is None
    late = outcome_of([], QUIET, LATE + 500, longer)
    assert late is not None
    assert late.end is End.EXPIRED


@pytest.mark.parametrize(
    ("job", "rows", "end"),
    [
        ("a", [vote("a", False)], End.LOST),
        ("b", [vote("a", False)], End.ENDED),
        ("b", [vote("a", False), vote("b", True)], End.PASSED),
        ("a", [vote("a", False), vote("first", True)], End.REPLACED),
        ("c", [vote("c", False)], End.FAILED),
        ("b", [vote("c", False)], None),
        ("b", [vote("c", False), vote("first", False)], End.ENDED),
    ],
)
def test_fail_fast_ends_what_cannot_be_saved(job: str, rows: list[Vote], end: End | None) -> None:
    fast = terms(jobs=("a", "b", "c"), alternatives={"a": (), "c": ("first",)}, fail_fast=True)
    if end is End.REPLACED:
        fast = terms(jobs=("a", "b", "c"), alternatives={"a": ("first",)}, fail_fast=True)
    outcome = outcome_of(rows, QUIET, EARLY, job=job, of=fast)
    assert (outcome.end if outcome else None) == end


RUNNING = CiJob(JOB, CiState.RUNNING, EARLY, url="http://ci/1")
DOWN, DOWN_STILL = ("Zuul answered 503", None), ("Zuul GET\nno answer", None)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([("", None)], []),
        ([("", RUNNING), ("", RUNNING)], ["running in CI http://ci/1"]),
        ([("", RUNNING), ("", replace(RUNNING, until=LATE))], ["running in CI http://ci/1"]),
        (
            [("", RUNNING), DOWN, DOWN_STILL, ("", RUNNING), ("", RUNNING)],
            [
                "running in CI http://ci/1",
                "CI does not answer, so votes alone are read: Zuul answered 503",
                "CI answers again",
                "running in CI http://ci/1",
            ],
        ),
        ([DOWN_STILL], [r"CI does not answer, so votes alone are read: Zuul GET\nno answer"]),
        (
            [DOWN, ("", None), DOWN],
            [
                "CI does not answer, so votes alone are read: Zuul answered 503",
                "CI answers again",
                "CI does not answer, so votes alone are read: Zuul answered 503",
            ],
        ),
    ],
)
def test_a_row_tells_once_that_ci_does_not_answer_and_once_that_it_does(
    seen: list[tuple[str, CiJob | None]], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    teller = CiTeller(logging.getLogger("row"), f"{OURS.short} {JOB}:")
    with caplog.at_level(logging.INFO, logger="row"):
        for problem, found in seen:
            teller.tell(problem, found)
    assert caplog.messages == [f"{OURS.short} {JOB}: {line}" for line in said]


def test_events() -> None:
    def made(end: End) -> TriggerEvent:
        return event(Outcome(end, JOB, "because", "http://logs/1", "http://dlrn/votes"))

    content = {"job": JOB, "reason": "because", "url": "http://logs/1", "page": "http://dlrn/votes"}
    links = {"link_votes": "http://dlrn/votes", "link_log": "http://logs/1"}
    for end in End:
        value = {"state": str(end), **content}
        xcoms = {"return_value": value, "reason": "because", **links}
        match end:
            case End.PASSED:
                assert made(end) == TaskSuccessEvent(xcoms=xcoms)
            case End.FAILED:
                assert made(end) == TaskFailedEvent(xcoms=xcoms)
            case End.EXPIRED | End.REFUSED | End.LOST:  # resumes the task on a worker
                resumed = made(end)
                assert type(resumed) is TriggerEvent
                assert resumed.payload == value
            case _:
                assert made(end) == TaskSkippedEvent(xcoms=xcoms)


@pytest.mark.parametrize("url", ["", "javascript:alert(1)", "data:text/html,x", "https://a b", "http://a\nb"])
def test_what_is_no_address_of_a_page_becomes_no_button(url: str) -> None:
    made = event(Outcome(End.PASSED, JOB, "passed", url, url))
    assert isinstance(made, TaskSuccessEvent)
    assert made.xcoms is not None
    assert set(made.xcoms) == {"return_value", "reason"}


SETTINGS: dict[str, Any] = {
    "terms": TERMS.to_json(),
    "job": JOB,
    "build": json.dumps(OURS.to_json()),
    "since": str(SINCE),
    "is_dry_run": "False",
}


def test_a_trigger_is_made_again_from_what_it_serializes() -> None:
    path, settings = JobTrigger(**SETTINGS).serialize()
    assert path == f"{JobTrigger.__module__}.{JobTrigger.__qualname__}"
    assert settings == SETTINGS
    assert JobTrigger(**json.loads(json.dumps(settings))).serialize() == (path, SETTINGS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"policy": VotePolicy.ANY_SUCCESS, "soak": 60, "fail_fast": True, "ask": True, "answer_within": 90},
        {"waivers_file": "waivers/master.yaml", "where": Where("dlrn", "http://repo", "testing", None)},
    ],
)
def test_terms_survive_json(changes: dict[str, Any]) -> None:
    made = terms(alternatives={JOB: ("first", "second")}, **changes)
    assert Terms.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_rendered_templates_are_read() -> None:
    aggregate = AggregateHash("e" * 32)
    assert read_build(json.dumps(OURS.to_json()), JOB) == OURS
    assert read_build(json.dumps(aggregate.to_json()), JOB) == aggregate
    assert read_since(str(SINCE), JOB) == read_since(SINCE, JOB) == SINCE


@pytest.mark.parametrize("text", ["None", "", None])
def test_what_another_task_has_not_left_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="job: the run's build is not known"):
        read_build(text, JOB)
    with pytest.raises(ConfigError, match="job: it is not known since when the build is a candidate"):
        read_since(text, JOB)
    with pytest.raises(ConfigError, match="names no build"):
        read_build("{}", JOB)
