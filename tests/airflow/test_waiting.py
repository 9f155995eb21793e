"""The lab's Airflow, and waiting for CI in its triggerer on a real DLRN."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from lab.airflow import COMPONENTS, Airflow
from lab.airflow_api import AirflowApi, TaskInstance
from lab.faults import FaultProxy
from lab.lab import Lab
from lab.service import HOST, LabError, wait_for
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import DlrnHash
from tests.airflow.world import World
from tests.clients.dlrn_lab import LabDlrn

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

#: Seconds; generous, as the first trigger loads the execution API in the triggerer.
PATIENCE = 180.0


@dataclass(frozen=True)
class Waiting:
    """An Airflow whose Dags wait for the votes of a DLRN."""

    airflow: Airflow
    api: AirflowApi
    proxy: FaultProxy

    def start(self, dag_id: str, build: DlrnHash, since: int, **conf: object) -> str:
        self.api.wait_for_dag(dag_id)
        return self.api.trigger(dag_id, {"build": json.dumps(build.to_json()), "since": since, **conf})

    def until(self, dag_id: str, run_id: str, **states: str) -> dict[str, TaskInstance]:
        def as_wanted(tasks: dict[str, TaskInstance]) -> bool:
            return all(tasks[task].state == state for task, state in states.items())

        return self.api.wait_for_tasks(dag_id, run_id, as_wanted, str(states), deadline=PATIENCE)  # type: ignore[arg-type]


@pytest.fixture
def waiting(world: World) -> Waiting:
    return Waiting(world.flow, world.api, world.proxy)


@pytest.fixture(scope="module")
def lab_dlrn(world: World) -> LabDlrn:
    return LabDlrn(world.lab.root, world.lab.dlrn)


@pytest.fixture
def client(lab_dlrn: LabDlrn) -> Iterator[DlrnClient]:
    with lab_dlrn.client() as client:
        yield client


def pids(airflow: Airflow) -> dict[str, int]:
    found = {component: airflow.process(component) for component in COMPONENTS}
    return {component: process.pid for component, process in found.items() if process is not None}


def test_everything_is_healthy_and_up_again_changes_nothing(waiting: Waiting) -> None:
    before = pids(waiting.airflow)
    assert set(before) == set(COMPONENTS)
    said: list[str] = []
    waiting.airflow.up(said.append)
    assert pids(waiting.airflow) == before
    assert waiting.airflow.healthy() == set(COMPONENTS)
    assert "database answers" not in said


def test_it_listens_on_this_machine_alone(waiting: Waiting) -> None:
    processes = [process for name in COMPONENTS for process in waiting.airflow.service(name).members()]
    listening = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {HOST}


def test_only_the_right_password_opens_it(waiting: Waiting) -> None:
    with pytest.raises(LabError, match="lets admin not in: 401"):
        AirflowApi(waiting.airflow.url, "admin", "guessed").dag_ids()
    for name in ("passwords.json", "fernet.key", "jwt.key", "api.key", "postgres.password"):
        assert (waiting.airflow.home / name).stat().st_mode & 0o777 == 0o600


def test_jobs_pass_fail_and_are_rerun_are_replaced_and_come_too_late(
    waiting: Waiting, lab_dlrn: LabDlrn, client: DlrnClient
) -> None:
    build, api = lab_dlrn.build(), waiting.api
    since = client.promote(build, "waiting-testing").timestamp
    client.report_vote(build, "flaky", False, "http://logs/flaky/1")
    client.report_vote(build, "internal", True, "http://logs/internal")
    asked, began = len(waiting.proxy.seen("GET", "repo_status")), time.monotonic()
    run_id = waiting.start("waiting", build, since)

    tasks = waiting.until("waiting", run_id, replaced="skipped")
    assert tasks["passes"].state == "deferred"
    waiting.until("waiting", run_id, flaky="up_for_retry")
    assert api.xcom("waiting", run_id, "flaky", "link_log") == "http://logs/flaky/1"
    client.report_vote(build, "passes", True, "http://logs/passes")
    waiting.until("waiting", run_id, passes="success")
    client.report_vote(build, "flaky", True, "http://logs/flaky/2", timestamp=client.now() + 1)
    waiting.until("waiting", run_id, flaky="success", never="failed")
    questions = len(waiting.proxy.seen("GET", "repo_status")) - asked
    # One question a poll however many wait, and now and then one for a feed that has ended meanwhile.
    assert questions <= 1.2 * (time.monotonic() - began) + 5

    tasks = api.tasks("waiting", run_id)
    assert tasks["flaky"].try_number >= 2
    assert tasks["never"].try_number == 1
    assert tasks["never"].max_tries > 1
    page = f"{waiting.proxy.url}/api/civotes_detail.html?commit_hash={build.commit_hash}"
    assert api.xcom("waiting", run_id, "passes") == {
        "state": "passed",
        "job": "passes",
        "url": "http://logs/passes",
        "page": f"{page}&distro_hash={build.distro_hash}",
        "reason": "passed",
    }
    assert api.xcom("waiting", run_id, "replaced", "reason") == "replaced by internal"
    assert api.xcom("waiting", run_id, "replaced")["url"] == "http://logs/internal"
    assert f"never did not vote on {build.full_hash}" in api.xcom("waiting", run_id, "never", "reason")
    log = api.log("waiting", run_id, "flaky")
    assert f"{build.short} waiting for flaky until" in log
    assert f"{build.short} flaky: failed; a newer vote may replace this one" in log
    assert "http://logs/flaky/1" in log


def test_a_build_that_lost_its_labels_is_skipped(
    waiting: Waiting, lab_dlrn: LabDlrn, client: DlrnClient
) -> None:
    first, second = lab_dlrn.build(), lab_dlrn.build()
    # DLRN's rows have a resolution of a second, and an older row displaces nobody.
    since = client.promote(first, "lost-testing").timestamp - 1
    displaced = waiting.start("lost", first, since)
    waiting.until("lost", displaced, passes="deferred", fails="deferred")
    client.promote(second, "lost-testing")
    waiting.until("lost", displaced, passes="skipped", fails="skipped")
    reason = f"not tested: displaced by {second.full_hash}"
    assert waiting.api.xcom("lost", displaced, "fails", "reason") == reason

    client.report_vote(first, "fails", False, "http://logs/fails")
    superseded = waiting.start("lost", first, since)
    waiting.until("lost", superseded, passes="deferred")
    client.promote(second, "lost-current")
    waiting.until("lost", superseded, passes="skipped", fails="skipped")
    reason = f"superseded by {second.full_hash}, which holds lost-current and is not older"
    assert waiting.api.xcom("lost", superseded, "passes", "reason") == reason


def test_a_dry_run_waits_for_nothing(waiting: Waiting, lab_dlrn: LabDlrn, client: DlrnClient) -> None:
    build = lab_dlrn.build()
    client.report_vote(build, "passes", True, "http://logs/passes")
    run_id = waiting.start("dry", build, client.now(), dry_run=True)
    waiting.until("dry", run_id, passes="success", fails="skipped")
    reason = "dry run: would wait for fails: it has not voted yet"
    assert waiting.api.xcom("dry", run_id, "fails", "reason") == reason


def test_waiting_goes_on_after_everything_was_killed_and_nobody_came(
    waiting: Waiting, lab_dlrn: LabDlrn, client: DlrnClient
) -> None:
    build, airflow = lab_dlrn.build(), waiting.airflow
    since = client.promote(build, "killed-testing").timestamp
    run_id = waiting.start("killed", build, since)
    waiting.until("killed", run_id, passes="deferred", fails="deferred")
    before = pids(airflow)
    airflow.database.kill()
    for component in COMPONENTS:
        airflow.kill(component)
    assert airflow.healthy() == frozenset()
    airflow.wait_healthy()
    assert not set(before.values()) & set(pids(airflow).values())
    for job in ("passes", "fails"):
        client.report_vote(build, job, True, f"http://logs/{job}")
    waiting.until("killed", run_id, passes="success", fails="success")
    assert waiting.api.wait_for_run("killed", run_id).state == "success"


def test_what_is_broken_stays_away_until_it_is_mended_and_a_restarted_database_needs_nobody(
    waiting: Waiting,
) -> None:
    lab = Lab(waiting.airflow.root)
    name, others = "airflow-scheduler", set(COMPONENTS) - {"scheduler"}
    lab.breakages.break_(name, "down")
    try:
        wait_for(lambda: waiting.airflow.healthy() == others, "the others are healthy")
        states = {state.name: state for state in lab.status()}
        assert (states[name].pid, states[name].broken) == (None, "down")
        with pytest.raises(LabError, match="scheduler cannot be broken by 'slow', only by down"):
            lab.breakages.break_(name, "slow")
        waiting.airflow.database.restart()
        wait_for(lambda: waiting.airflow.healthy() == others, "they are healthy again", deadline=PATIENCE)
    finally:
        assert lab.breakages.mend() == [name]
    waiting.airflow.wait_healthy()
    states = {state.name: state for state in lab.status()}
    assert all(states[f"airflow-{component}"].up for component in (*COMPONENTS, "postgres"))
