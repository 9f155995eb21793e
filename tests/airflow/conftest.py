"""One real Airflow for all tests of this folder, on services of its own: tests stop some for a while."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import dlrn, image_server, jobs
from lab.faults import FaultProxy
from lab.lab import PROJECT, Lab
from tests.airflow.release_files import RELEASES, write_releases
from tests.airflow.shaky import connections, shaky_services
from tests.airflow.world import World
from tests.lab.airflow_fixtures import api, running_airflow


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The services without any seed, and an Airflow with the Dags of `RELEASES`."""
    root = tmp_path_factory.mktemp("airflow-lab")
    lab = Lab(root)
    dlrn.ensure_environment(root)
    dlrn.stage(root)
    for name in image_server.SERVERS:
        image_server.prepare(root, name)
    with ExitStack() as stack:
        for service in lab.services:
            service.start()
            stack.callback(service.stop)
        for service in lab.services:
            service.wait_ready()
        outages = stack.enter_context(shaky_services(lab))
        proxy = stack.enter_context(FaultProxy(lab.dlrn.api_url))
        waiting = {"dlrn_test": json.dumps({"conn_type": "dlrn", "host": proxy.url})}
        releases = write_releases(root / "releases", lab, outages)
        (releases / "repo_url").write_text(lab.dlrn.repo_url)
        (root / "dags").mkdir()
        for file in (PROJECT / "dags" / "promotions.py", Path(__file__).with_name("waiting_dag.py")):
            shutil.copy(file, root / "dags")
        flow = stack.enter_context(
            running_airflow(
                root,
                {**lab.connections(), **connections(lab, outages), **waiting},
                dags=root / "dags",
                plugins=PROJECT / "plugins",
                releases=releases,
            )
        )
        client = api(flow)
        for name in RELEASES:
            client.wait_for_dag(f"centos7-{name}", deadline=90)
        yield World(lab, flow, client, releases, outages, proxy)


@pytest.fixture
def machines(world: World) -> Iterator[None]:
    """What jobs are started on, for one test: a Jenkins without jobs, and a machine with SSH."""
    jenkins, machine, _, receiver = jobs.services(world.lab.root)
    try:
        for service in (jenkins, machine, receiver):
            service.ensure()
        yield
    finally:
        for service in (jenkins, machine, receiver):
            service.stop()
