"""A Jenkins build from its start to DLRN's vote, against a fake Jenkins that answers as documented."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lab.fake_jenkins import FakeJenkins, FakeJob
from rdo_promoter.errors import ServiceError
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.jobs import ID_NAME
from rdo_promoter.operators.jenkins import RunJenkinsOperator
from tests.jobs.desk import Ballot, Desk

pytestmark = pytest.mark.lab

JOB = "rdo/promote-current-tripleo"
NAMES = (ID_NAME, "HASH", "REPO")


@pytest.fixture
def job(jenkins: FakeJenkins) -> FakeJob:
    """A job whose builds end at once."""
    return jenkins.job(JOB, *NAMES, takes=0)


@pytest.fixture
def desk(services: ConnectionServices, jenkins: FakeJenkins, build: DlrnHash) -> Callable[..., Desk]:
    def make(**changes: Any) -> Desk:
        settings: dict[str, Any] = {
            "conn_id": "jenkins_jobs",
            "job": JOB,
            "parameters": {"HASH": "{full_hash}", "REPO": "{repo_url}"},
            "parameter": "HASH",
            "tested_label": "tripleo-ci-testing",
            "within": 3600,
            "poll": 0.1,
            **changes,
        }
        dry_run = bool(settings.pop("dry_run", False))
        return Desk(
            lambda: RunJenkinsOperator(task_id="run", services=services, **settings), build, dry_run=dry_run
        )

    return make


def test_a_build_is_given_the_runs_build_and_its_end_becomes_a_vote(
    desk: Callable[..., Desk], job: FakeJob, ballot: Ballot
) -> None:
    task = desk(report_vote=ballot.job)
    result = task.run()
    (started,) = job.builds
    assert started.parameters == {
        ID_NAME: task.id,
        "HASH": ballot.build.full_hash,
        "REPO": f"{ballot.lab.dlrn.repo_url}/{ballot.build.path}",
    }
    assert result["end"] == "passed"
    (reported,) = ballot.votes()
    assert reported.success
    assert reported.url == result["url"]
    assert reported.url.endswith("/job/rdo/job/promote-current-tripleo/1/")
    assert reported.notes == f"{ID_NAME}={task.id}"


@pytest.mark.parametrize("result", ["FAILURE", "UNSTABLE"])
def test_a_failure_becomes_a_vote_and_fails_the_task(
    desk: Callable[..., Desk], job: FakeJob, ballot: Ballot, result: str
) -> None:
    job.result = result
    with pytest.raises(
        AirflowFailException, match=f"{ballot.build.short} Jenkins build .* failed: .* {result}"
    ):
        desk(report_vote=ballot.job).run()
    assert [each.success for each in ballot.votes()] == [False]


@pytest.mark.parametrize("result", ["ABORTED", "NOT_BUILT"])
def test_what_says_nothing_about_the_build_is_no_vote(
    desk: Callable[..., Desk], job: FakeJob, ballot: Ballot, result: str
) -> None:
    job.result = result
    with pytest.raises(AirflowFailException, match=f"aborted: .* {result}"):
        desk(report_vote=ballot.job).run()
    assert ballot.votes() == []


def test_it_waits_in_the_queue_and_for_the_build(
    desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob
) -> None:
    job.waits = job.takes = None
    task = desk()
    task.execute()
    assert task.waiting is not None
    assert task.store["job"]["handle"] == f"queue {job.builds[0].item}"
    jenkins.begin(job, job.builds[0])
    task.execute()  # as after a retry: it is found among the builds by now
    assert task.waiting is not None
    assert task.store["job"]["handle"] == "build 1"
    assert task.go_on(between=lambda: jenkins.finish(job))["end"] == "passed"
    assert jenkins.starts == 1


def test_what_was_cancelled_in_the_queue_has_ended(
    desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob
) -> None:
    job.waits = None
    task = desk()
    task.execute()
    job.builds[0].cancelled = True
    with pytest.raises(AirflowFailException, match="aborted: somebody took it out of the queue"):
        task.go_on()


def test_a_build_that_is_gone_is_lost_after_some_looks(desk: Callable[..., Desk], job: FakeJob) -> None:
    job.takes = None
    task = desk()
    task.execute()
    job.builds.clear()
    with pytest.raises(AirflowFailException, match=r"lost: .* has no such build"):
        task.go_on()


def test_a_jenkins_that_is_away_for_a_while_ends_nothing(
    desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob
) -> None:
    job.takes = None
    task = desk()
    task.execute()
    jenkins.broken = 503
    asked = len(jenkins.requests)

    class Back(logging.Handler):
        """Comes back after the first question that failed."""

        def emit(self, record: logging.LogRecord) -> None:
            if "asking goes on" in record.getMessage():
                jenkins.finish(job)
                jenkins.broken = None

    handler = Back()
    logging.getLogger("rdo_promoter.triggers.feed").addHandler(handler)
    try:
        assert task.go_on()["end"] == "passed"
    finally:
        logging.getLogger("rdo_promoter.triggers.feed").removeHandler(handler)
    assert len(jenkins.requests) > asked + 1
    assert jenkins.starts == 1


# --- checked to be for the carried hash ---


def test_a_build_for_another_hash_counts_for_nothing(
    desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob, ballot: Ballot
) -> None:
    job.takes = None
    task = desk(report_vote=ballot.job)
    task.execute()
    job.builds[0].parameters["HASH"] = "f" * 40 + "_12345678"
    with pytest.raises(
        AirflowFailException,
        match=f"doubtful: SUCCESS, but its parameter HASH names f{{40}}.*{ballot.build.full_hash}",
    ):
        task.go_on(between=lambda: jenkins.finish(job))
    assert ballot.votes() == []


@pytest.mark.parametrize(
    ("settings", "job_settings", "said"),
    [
        ({"artifact": "logs/tested.txt"}, {"artifacts": {"logs/tested.txt": "# x\ntested {HASH}\n"}}, None),
        ({"artifact": "logs/tested.txt"}, {"artifacts": {"logs/tested.txt": "tested abc\n"}}, "names abc"),
        ({"artifact": "logs/tested.txt"}, {"artifacts": {}}, "has archived no logs/tested.txt"),
        ({"description": r"on (?P<hash>\w+)"}, {"description": "nightly, on {HASH}"}, None),
        ({"description": r"on (?P<hash>\w+)"}, {"description": "on {HASH} and on 77"}, "names .*77.*, and"),
        ({"description": r"on (?P<hash>\w+)"}, {}, "its description does not name the build"),
    ],
)
def test_what_a_build_says_elsewhere_is_read_there(
    desk: Callable[..., Desk],
    job: FakeJob,
    settings: dict[str, str],
    job_settings: dict[str, Any],
    said: str | None,
) -> None:
    for name, value in job_settings.items():
        setattr(job, name, value)
    task = desk(parameter=None, **settings)
    if said is None:
        assert task.run()["end"] == "passed"
        return
    with pytest.raises(AirflowFailException, match=said):
        task.run()


# --- what is refused before anything is started ---


def test_a_job_that_would_drop_our_parameters_is_refused(
    desk: Callable[..., Desk], jenkins: FakeJenkins
) -> None:
    jenkins.job(JOB, "HASH")
    with pytest.raises(AirflowFailException, match=f"does not declare {ID_NAME}, REPO, and Jenkins drops"):
        desk().run()
    assert jenkins.starts == 0


def test_a_disabled_job_is_refused(desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob) -> None:
    job.buildable = False
    with pytest.raises(AirflowFailException, match="is disabled"):
        desk().run()
    assert jenkins.starts == 0


def test_a_job_that_is_not_there_is_named(desk: Callable[..., Desk], jenkins: FakeJenkins) -> None:
    with pytest.raises(AirflowFailException, match="promote-current-tripleo/api/json answered 404"):
        desk().run()


def test_a_wrong_token_is_said_without_the_token(
    desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob, connect: Callable[..., None]
) -> None:
    connect("jenkins_jobs", {**jenkins.connection(), "password": "not-the-token"})
    with pytest.raises(AirflowFailException, match="401") as refused:
        desk().run()
    assert "not-the-token" not in str(refused.value)
    assert "Connection 'jenkins_jobs'" in str(refused.value)


def test_with_a_password_a_crumb_is_fetched(
    desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob, connect: Callable[..., None]
) -> None:
    connect("jenkins_jobs", {**jenkins.connection(), "password": jenkins.password})
    assert desk().run()["end"] == "passed"
    assert jenkins.starts == 1


def test_a_dry_run_says_what_it_would_start(
    desk: Callable[..., Desk],
    jenkins: FakeJenkins,
    job: FakeJob,
    ballot: Ballot,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert desk(dry_run=True, report_vote=ballot.job).run() == {"dry_run": True}
    assert jenkins.starts == 0
    said, short = capsys.readouterr().out, ballot.build.short
    assert f"{short} dry run: would start {JOB} in jenkins_jobs with HASH={ballot.build.full_hash}" in said
    assert f"{short} dry run: would report its result as {ballot.job}" in said
    assert jenkins.token not in said


# --- time, retries and clears ---


def test_a_build_that_takes_too_long_is_left_alone_and_can_be_waited_for_again(
    desk: Callable[..., Desk], jenkins: FakeJenkins, job: FakeJob, forward: Callable[[int], None]
) -> None:
    job.takes = None
    task = desk(within=600)
    task.execute()
    forward(601)
    with pytest.raises(AirflowFailException, match=r"has not ended within 600 s\. It was left running"):
        task.execute()
    task.clear()
    task.execute()
    assert task.waiting is not None
    assert task.go_on(between=lambda: jenkins.finish(job))["end"] == "passed"
    assert jenkins.starts == 1


def test_a_persons_clear_after_a_failure_starts_another_build_and_a_retry_does_not(
    desk: Callable[..., Desk], job: FakeJob, jenkins: FakeJenkins, ballot: Ballot
) -> None:
    job.result = "FAILURE"
    task = desk(report_vote=ballot.job)
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="failed"):
            task.run()
        assert jenkins.starts == 1
    job.result = "SUCCESS"
    task.clear()
    assert task.run()["end"] == "passed"
    assert jenkins.starts == 2
    assert {each.success for each in ballot.votes()} == {False, True}
    assert len(ballot.votes()) == 2
    task.clear()
    assert task.run()["end"] == "passed"
    assert jenkins.starts == 2


def test_a_lost_answer_is_waited_out_before_a_build_is_asked_for_again(
    desk: Callable[..., Desk], job: FakeJob, jenkins: FakeJenkins, forward: Callable[[int], None]
) -> None:
    jenkins.lose_answer = True
    task = desk()
    with pytest.raises(ServiceError, match="gave no answer to POST"):
        task.run()
    held, job.builds[:] = job.builds[:], []  # a proxy still has the question
    with pytest.raises(ServiceError, match="it is asked for again after 60 s, for it may still come"):
        task.run()
    job.builds[:] = held
    assert task.run()["end"] == "passed"
    assert jenkins.starts == 1


def test_after_the_quiet_time_a_start_that_never_came_is_asked_for_again(
    desk: Callable[..., Desk], job: FakeJob, jenkins: FakeJenkins, forward: Callable[[int], None]
) -> None:
    jenkins.lose_answer = True
    task = desk()
    with pytest.raises(ServiceError):
        task.run()
    job.builds.clear()
    forward(61)
    assert task.run()["end"] == "passed"
    assert len(job.builds) == 1


def test_of_a_build_and_somebodys_rebuild_the_first_is_ours(
    desk: Callable[..., Desk], job: FakeJob, jenkins: FakeJenkins
) -> None:
    job.takes = None
    task = desk()
    task.execute()
    jenkins.finish(job, "FAILURE")
    jenkins.start(job, job.builds[0].parameters)
    jenkins.finish(job, "SUCCESS")
    task.store["job"]["handle"] = ""
    with pytest.raises(AirflowFailException, match="promote-current-tripleo 1 ended as FAILURE"):
        task.run()
