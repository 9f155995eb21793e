from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import AggregateHash, DlrnHash
from rdo_promoter.model.order import Standing
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.votes import Vote
from rdo_promoter.triggers.job import JobTrigger, event, read_wait
from rdo_promoter.triggers.outcome import End, Labels, Outcome, Votes, Wait

SINCE = 1_700_000_000
WITHIN = 3600
EARLY = SINCE + 60
LATE = SINCE + WITHIN

OURS = DlrnHash("a" * 40, "b" * 40)
OTHER = DlrnHash("c" * 40, "d" * 40)

JOB = "job"
OURS_ENTERED = Standing(OURS, SINCE)


def wait(**changes: Any) -> Wait:
    fields: dict[str, Any] = {
        "build": OURS,
        "job": JOB,
        "alternatives": ("first", "second"),
        "stage_jobs": frozenset({JOB, "sibling", "first", "second"}),
        "since": SINCE,
        "within": WITHIN,
    }
    return Wait(**{**fields, **changes})


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
    outcome = wait().outcome(Votes(tuple(votes), now, OURS_ENTERED), labels)
    assert (outcome.end if outcome else None) == end


def test_a_build_that_was_never_a_candidate_is_not_superseded() -> None:
    assert wait().outcome(Votes((), EARLY, None), SUPERSEDED) is None


@pytest.mark.parametrize(
    ("votes", "end", "reason"),
    [
        ([], End.DRY_RUN, "dry run: would wait for job: it has not voted yet"),
        ([vote(JOB, False)], End.DRY_RUN, "dry run: would wait for job: its newest vote failed"),
        ([vote(JOB, True)], End.PASSED, "passed"),
        ([vote("second", True)], End.REPLACED, "replaced by second"),
    ],
)
def test_a_dry_run_never_waits(votes: list[Vote], end: End, reason: str) -> None:
    outcome = wait(dry_run=True).outcome(Votes(tuple(votes), LATE, None), None)
    assert outcome is not None
    assert (outcome.end, outcome.reason) == (end, reason)


@pytest.mark.parametrize(
    ("votes", "labels", "now", "reason"),
    [
        (
            [vote(JOB, False)],
            QUIET,
            EARLY,
            "failed; a newer vote may replace this one until 2023-11-14 23:13:20Z",
        ),
        ([], SUPERSEDED, EARLY, f"superseded by {OTHER.full_hash}"),
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
    outcome = wait().outcome(Votes(tuple(votes), now, OURS_ENTERED), labels)
    assert outcome is not None
    assert outcome.reason == reason
    assert outcome.url == (votes[0].url if votes else "")


def test_events() -> None:
    def made(end: End) -> TriggerEvent:
        return event(Outcome(end, JOB, "because", "http://logs/1"))

    content = {"job": JOB, "reason": "because", "url": "http://logs/1"}
    assert made(End.PASSED) == TaskSuccessEvent(xcoms={"return_value": {"state": "passed", **content}})
    assert made(End.FAILED) == TaskFailedEvent(xcoms={"return_value": {"state": "failed", **content}})
    for end in (End.REPLACED, End.SUPERSEDED, End.DISPLACED, End.DRY_RUN):
        xcoms = {"return_value": {"state": str(end), **content}, "reason": "because"}
        assert made(end) == TaskSkippedEvent(xcoms=xcoms)
    for end in (End.EXPIRED, End.REFUSED):  # resumes the task on a worker
        resumed = made(end)
        assert type(resumed) is TriggerEvent
        assert resumed.payload == {"state": str(end), **content}


SETTINGS: dict[str, Any] = {
    "dlrn_conn_id": "dlrn_test",
    "repo_url": "http://repo",
    "build": json.dumps(OURS.to_json()),
    "job": JOB,
    "alternatives": ["first"],
    "stage_jobs": ["first", JOB],
    "candidate_label": "tripleo-ci-testing",
    "promoted_label": None,
    "since": str(SINCE),
    "within": WITHIN,
    "poll": 15,
    "is_dry_run": "False",
}


def test_a_trigger_is_made_again_from_what_it_serializes() -> None:
    path, settings = JobTrigger(**SETTINGS).serialize()
    assert path == f"{JobTrigger.__module__}.{JobTrigger.__qualname__}"
    assert settings == SETTINGS
    assert JobTrigger(**json.loads(json.dumps(settings))).serialize() == (path, SETTINGS)


def read(**changes: Any) -> Wait:
    names = ("build", "job", "alternatives", "stage_jobs", "since", "within", "is_dry_run")
    return read_wait(**{**{name: SETTINGS[name] for name in names}, **changes})


def test_rendered_templates_are_read() -> None:
    assert read() == wait(alternatives=("first",), stage_jobs=frozenset({"first", JOB}))
    assert read(is_dry_run="True").dry_run
    assert read(is_dry_run=True).dry_run
    aggregate = AggregateHash("e" * 32)
    assert read(build=json.dumps(aggregate.to_json())).build == aggregate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"build": "None"}, "job: the run's build is not known"),
        ({"build": "{}"}, "names no build"),
        ({"since": "None"}, f"job: it is not known since when {OURS.full_hash} is a candidate"),
    ],
)
def test_what_another_task_has_not_left_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("'", ".")):
        read(**changes)
