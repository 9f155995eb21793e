"""What a stage's start says of the jobs that the stage starts, and of Zuul: hours before they are needed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lab.fake_jenkins import FakeJenkins
from lab.lab import Lab
from lab.ports import free_port
from lab.service import HOST
from lab.ssh_machine import SshMachineFacts
from rdo_promoter.dag_factory import dags
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.jobs import ID_NAME
from rdo_promoter.operators.source import StartStageOperator
from tests.recorded.zuul import PIPELINE, TENANT, RecordedZuul
from tests.unit.tasks import Ti, context

pytestmark = pytest.mark.lab

RELEASE = """
release: doors
distro: {{name: centos, version: 9}}
dlrn: {{connection: dlrn_jobs, repo_url: {repo_url}}}
zuul: {{connection: zuul_jobs, pipeline: {pipeline}}}
stages:
  - name: upstream
    source: consistent
    steps:
      - candidate: {{label: doors-ci-testing}}
      - run_jenkins: {{connection: jenkins_jobs, job: rdo/tests, within: 8h}}
      - run_ssh: {{connection: ssh_jobs, command: [run-tests], within: 8h, report_vote: tests}}
      - run_container: {{connection: docker_jobs, image: "quay.io/rdo/tester:1", within: 8h, gates: nothing}}
      - wait_for: {{jobs: [standalone], within: 12h, evidence: {evidence}}}
"""

Connect = Callable[[str, dict[str, Any]], None]
Change = Callable[[dict[str, Any]], dict[str, Any]]
#: Changes a Connection, or removes it.
Spoil = Callable[[str, Change | None], None]
#: Starts the stage and returns what was noted.
Start = Callable[..., list[str]]


@pytest.fixture
def zuul(connect: Connect) -> Iterator[RecordedZuul]:
    with RecordedZuul() as server:
        connect("zuul_jobs", {"conn_type": "zuul", "host": server.url, "extra": {"tenant": TENANT}})
        yield server


@pytest.fixture
def spoil(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Spoil:
    def spoil(conn_id: str, change: Change | None) -> None:
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        if change is None:
            monkeypatch.delenv(variable)
        else:
            connect(conn_id, change(json.loads(os.environ[variable])))

    return spoil


@pytest.fixture
def doors(
    services: ConnectionServices, jenkins: FakeJenkins, machine: SshMachineFacts, zuul: RecordedZuul
) -> None:
    """Make the Connections to all that the release names, but the engine's."""
    jenkins.job("rdo/tests", ID_NAME, "RDO_FULL_HASH")


@pytest.fixture
def start(lab: Lab, build: DlrnHash, doors: None, connect: Connect, tmp_path: Path) -> Start:
    """Every door is open, but the engine's, which is not there: that is no reason to refuse."""
    connect("docker_jobs", {"conn_type": "docker", "host": f"unix://{tmp_path}/engine.sock"})

    def start(evidence: str = "votes") -> list[str]:
        facts = {"repo_url": lab.dlrn.repo_url, "pipeline": PIPELINE, "evidence": evidence}
        (tmp_path / "doors.yaml").write_text(RELEASE.format(**facts))
        task = dags(tmp_path)["centos9-doors"].get_task("upstream.start")
        assert isinstance(task, StartStageOperator)
        carried = {("source.build", "build"): json.dumps(build.to_json())}
        here = context(Ti(pulled=carried))
        result = task.execute(here)
        assert result is not None
        notes: list[str] = result["notes"]
        # The engine's own note; every other one is a test's.
        assert any(note.startswith("step upstream.run_container: container engine unix://") for note in notes)
        return [note for note in notes if "run_container" not in note]

    return start


@pytest.mark.parametrize("evidence", ["votes", "zuul_buildset"])
def test_doors_that_open_are_not_spoken_of(start: Start, jenkins: FakeJenkins, evidence: str) -> None:
    assert start(evidence) == []
    assert jenkins.starts == 0


def _other_type(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "conn_type": "http"}


def _without_key(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "extra": {key: value for key, value in fields["extra"].items() if key != "host_key"}}


@pytest.mark.parametrize(
    ("conn_id", "change", "said"),
    [
        (
            "jenkins_jobs",
            None,
            "step upstream.run_jenkins: Connection 'jenkins_jobs' does not exist: create it under Admin > ",
        ),
        (
            "jenkins_jobs",
            _other_type,
            "step upstream.run_jenkins: Connection 'jenkins_jobs' has type http; it has to be jenkins",
        ),
        ("jenkins_jobs", lambda fields: {**fields, "password": "not-this-one"}, "Connection 'jenkins_jobs'"),
        ("ssh_jobs", None, "step upstream.run_ssh: Connection 'ssh_jobs' does not exist: create it under"),
        ("ssh_jobs", _other_type, "step upstream.run_ssh: Connection 'ssh_jobs' has type http; it has to be"),
        ("ssh_jobs", _without_key, "'host_key' of Connection 'ssh_jobs' is missing"),
        ("docker_jobs", None, "step upstream.run_container: Connection 'docker_jobs' does not exist: create"),
        (
            "docker_jobs",
            lambda fields: {**fields, "host": "https://quay.io"},
            "step upstream.run_container: extra of Connection 'docker_jobs' has no 'tls_ca_cert', ",
        ),
    ],
)
def test_a_job_that_could_not_be_started_is_refused_before_the_candidate_moves(
    start: Start, spoil: Spoil, conn_id: str, change: Change | None, said: str
) -> None:
    spoil(conn_id, change)
    (problem,) = refused(start)
    assert said in problem
    assert "not-this-one" not in problem


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (None, "/job/rdo/job/tests/api/json answered 404"),
        (("RDO_FULL_HASH",), f"rdo/tests in jenkins_jobs does not declare {ID_NAME}, and Jenkins drops"),
    ],
)
def test_a_jenkins_job_that_could_not_be_built_is_refused_as_well(
    start: Start, jenkins: FakeJenkins, parameters: tuple[str, ...] | None, said: str
) -> None:
    del jenkins.jobs["rdo/tests"]
    if parameters is not None:
        jenkins.job("rdo/tests", *parameters)
    (problem,) = refused(start)
    assert problem.startswith("step upstream.run_jenkins: ")
    assert said in problem


def test_what_does_not_answer_now_may_when_it_is_needed(
    start: Start, jenkins: FakeJenkins, zuul: RecordedZuul, machine: SshMachineFacts, connect: Connect
) -> None:
    connect("jenkins_jobs", {**jenkins.connection(), "host": f"http://{HOST}:{free_port()}"})
    connect("ssh_jobs", {**machine.connection(), "port": free_port()})
    zuul.down()
    notes = start("zuul_buildset")
    assert [note.split(":")[0] for note in notes[:2]] == [
        "step upstream.run_jenkins",
        "step upstream.run_ssh",
    ]
    assert notes[2].startswith("Zuul GET http")
    assert "503" in notes[2]
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "Zuul: Connection 'zuul_jobs' does not exist: create it under Admin > Connections with type"),
        (_other_type, "Zuul: Connection 'zuul_jobs' has type http; it has to be zuul"),
        (lambda fields: {**fields, "extra": {}}, "Zuul: extra of Connection 'zuul_jobs' names no 'tenant'"),
        (lambda fields: {**fields, "extra": {"tenant": "elsewhere"}}, "elsewhere"),
    ],
)
def test_a_zuul_that_decides_is_needed_and_one_that_informs_is_not(
    start: Start, spoil: Spoil, change: Change | None, said: str
) -> None:
    spoil("zuul_jobs", change)
    (problem,) = refused(lambda: start("zuul_buildset"))
    assert said in problem
    (note,) = start("votes")
    assert note == f"{problem}; the stage goes on without it"


def refused(start: Start) -> list[str]:
    """Return the problems with which the stage does not start."""
    with pytest.raises(AirflowFailException, match="in stage upstream is refused, nothing was") as failed:
        start()
    said = str(failed.value)
    return [line.removeprefix("  - ") for line in said.splitlines() if line.startswith("  - ")]
