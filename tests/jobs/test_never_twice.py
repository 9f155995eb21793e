"""Killed at any moment and tried again, a task starts one job and reports one vote."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lab.fake_jenkins import FakeJenkins
from lab.ssh_machine import SshMachineFacts
from rdo_promoter.clients import ssh_commands, ssh_job
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.jenkins import JenkinsClient
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.jobs import ID_NAME
from rdo_promoter.operators.container import RunContainerOperator
from rdo_promoter.operators.jenkins import RunJenkinsOperator
from rdo_promoter.operators.ssh import RunSshOperator
from tests.jobs.desk import Ballot, Cuts, Desk, Killed, Store

pytestmark = pytest.mark.lab

#: What all tasks here are made with.
COMMON: dict[str, Any] = {"task_id": "run", "tested_label": "ci-testing", "within": 3600, "poll": 0.1}

Forward = Callable[[int], None]


def cut_everywhere(
    make: Callable[[], Any],
    ballot: Ballot,
    started: Callable[[], int],
    cut: Callable[[pytest.MonkeyPatch, Cuts], None],
    forward: Forward,
    *,
    passes: bool = True,
) -> list[str]:
    """Kill a task at each of its moments, one after the other, in tasks of their own; return the moments.

    :param make: makes the operator.
    :param started: counts the jobs that were ever started.
    :param cut: lets there be moments around what this kind of job does.
    :param passes: whether the job does.
    """
    for at in itertools.count():
        task = Desk(make, ballot.build)
        # A run of its own, whose job is another one.
        task.ti.run_id = f"manual__{ballot.job}_{at}"
        before, reported = started(), len(ballot.votes())
        cuts = Cuts(at)
        killed = False
        with pytest.MonkeyPatch.context() as patch:
            cut(patch, cuts)
            try:
                _run(task, passes=passes)
            except Killed:
                killed = True
        if killed:
            forward(61)  # an unanswered start is not asked for again at once
            _run(task, passes=passes)
        assert started() - before == 1, cuts.seen
        assert len(ballot.votes()) - reported == 1, cuts.seen
        # Done twice, it changes nothing.
        _run(task, passes=passes)
        assert started() - before == 1, cuts.seen
        assert len(ballot.votes()) - reported == 1, cuts.seen
        if not killed:
            return cuts.seen
    raise AssertionError


def _run(task: Desk, *, passes: bool) -> None:
    if passes:
        assert task.run()["end"] == "passed"
        return
    with pytest.raises(AirflowFailException, match=" failed: "):
        task.run()


@pytest.mark.parametrize("result", ["SUCCESS", "FAILURE"])
def test_jenkins(
    services: ConnectionServices, jenkins: FakeJenkins, ballot: Ballot, forward: Forward, result: str
) -> None:
    # One is over when the task first looks, the other one makes it wait.
    takes = 0.15 if result == "SUCCESS" else 0
    jenkins.job("tests", ID_NAME, "HASH", takes=takes, result=result)

    def cut(patch: pytest.MonkeyPatch, cuts: Cuts) -> None:
        cuts.around(patch, Store, "set")
        cuts.around(patch, JenkinsClient, "start")
        cuts.around(patch, DlrnClient, "report_vote")

    seen = cut_everywhere(
        lambda: RunJenkinsOperator(
            **COMMON,
            services=services,
            conn_id="jenkins_jobs",
            job="tests",
            parameters={"HASH": "{full_hash}"},
            parameter="HASH",
            report_vote=ballot.job,
        ),
        ballot,
        lambda: jenkins.starts,
        cut,
        forward,
        passes=result == "SUCCESS",
    )
    assert {"before start", "after start", "before report_vote", "after report_vote"} <= set(seen)


def test_ssh(
    services: ConnectionServices, machine: SshMachineFacts, ballot: Ballot, forward: Forward
) -> None:
    begun = machine.home / f"{ballot.job}.begun"
    begun.touch()

    def cut(patch: pytest.MonkeyPatch, cuts: Cuts) -> None:
        cuts.around(patch, Store, "set")
        cuts.around(patch, ssh_commands, "run")
        cuts.around(patch, ssh_job, "remove")

    cut_everywhere(
        lambda: RunSshOperator(
            **COMMON,
            services=services,
            conn_id="ssh_jobs",
            words=["bash", "-c", f'echo x >> {begun}; echo "tested $HASH"'],
            told={"HASH": "{full_hash}"},
            line=r"^tested (?P<hash>\S+)$",
            report_vote=ballot.job,
        ),
        ballot,
        lambda: len(begun.read_text().splitlines()),
        cut,
        forward,
    )


def test_container(
    services: ConnectionServices,
    image: str,
    ballot: Ballot,
    forward: Forward,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from docker import APIClient

    begun: set[str] = set()
    real = APIClient.start

    def start(client: Any, name: str) -> None:
        real(client, name)
        begun.add(str(client.inspect_container(name)["Id"]))

    # For all tries, not only for the one that is killed.
    monkeypatch.setattr(APIClient, "start", start)

    def cut(patch: pytest.MonkeyPatch, cuts: Cuts) -> None:
        # What lies between and behind these is the same for all kinds, and killed with Jenkins.
        for name in ("create_container", "start"):
            cuts.around(patch, APIClient, name)

    seen = cut_everywhere(
        lambda: RunContainerOperator(
            **COMMON,
            services=services,
            conn_id="docker_jobs",
            image=image,
            words=["sh", "-c", 'echo "tested $HASH"'],
            told={"HASH": "{full_hash}"},
            line=r"^tested (?P<hash>\S+)$",
            report_vote=ballot.job,
        ),
        ballot,
        lambda: len(begun),
        cut,
        forward,
    )
    assert {"after create_container", "before start", "after start"} <= set(seen)
