"""What the tests of started jobs share: a DLRN with builds, and what jobs run on."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab import container_engine, images, ssh_machine
from lab import dlrn as lab_dlrn
from lab.fake_jenkins import FakeJenkins
from lab.lab import Lab
from lab.service import Service
from lab.ssh_machine import SshMachineFacts
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import DlrnHash
from tests.jobs.desk import Ballot, later


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run containers: two engines at once on a small machine take minutes."""
    for item in items:
        if "engine_image" in getattr(item, "fixturenames", ()):
            item.add_marker("containers")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any]], None]:
    """Make an Airflow Connection."""

    def make(conn_id: str, content: dict[str, Any]) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(content))

    return make


@pytest.fixture
def services(lab: Lab, connect: Callable[[str, dict[str, Any]], None]) -> ConnectionServices:
    connect("dlrn_jobs", json.loads(lab.connections()["dlrn_centos7_master"]))
    return ConnectionServices("dlrn_jobs", lab.dlrn.repo_url)


@pytest.fixture(scope="module")
def build(lab: Lab) -> DlrnHash:
    """A build; each test's jobs and votes have names of their own."""
    return lab_dlrn.add_build(lab.root, when=int(time.time()))


@pytest.fixture
def ballot(lab: Lab, build: DlrnHash) -> Ballot:
    return Ballot(lab, build, f"job-{uuid.uuid4().hex[:10]}")


@pytest.fixture
def forward(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    with later(monkeypatch) as forward:
        yield forward


@pytest.fixture
def jenkins(connect: Callable[[str, dict[str, Any]], None]) -> Iterator[FakeJenkins]:
    fake = FakeJenkins()
    with fake.serve():
        connect("jenkins_jobs", fake.connection())
        yield fake


@pytest.fixture(scope="session")
def machine_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, SshMachineFacts]]:
    root = tmp_path_factory.mktemp("machine")
    service = ssh_machine.service(root)
    service.ensure()
    try:
        yield service, ssh_machine.facts(root)
    finally:
        service.stop()


@pytest.fixture
def machine(
    machine_service: tuple[Service, SshMachineFacts], connect: Callable[[str, dict[str, Any]], None]
) -> SshMachineFacts:
    connect("ssh_jobs", machine_service[1].connection())
    return machine_service[1]


@pytest.fixture(scope="session")
def engine_image(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], str]]:
    """A container engine, and an image in the lab's registry."""
    root = tmp_path_factory.mktemp("engine")
    repository = f"t{uuid.uuid4().hex[:8]}/tester"
    with lab.registries.rdo.client() as registry:
        images.push_image(registry, repository, "1", container_engine.job_image())
    service = container_engine.service(root, insecure=[lab.registries.rdo.host])
    service.ensure()
    try:
        yield container_engine.connection(root), f"{lab.registries.rdo.host}/{repository}:1"
    finally:
        container_engine.remove_all(root)
        service.stop()


@pytest.fixture
def image(engine_image: tuple[dict[str, Any], str], connect: Callable[[str, dict[str, Any]], None]) -> str:
    connect("docker_jobs", engine_image[0])
    return engine_image[1]
