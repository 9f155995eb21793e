"""What the tests of this folder do to Airflow and to the world that it works on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.airflow import Airflow
from lab.airflow_api import AirflowApi, TaskInstance
from lab.faults import FaultProxy
from lab.lab import Lab
from lab.outage import Outage
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import DlrnHash
from tests.engine.rdo import Rdo

Tasks = Mapping[str, TaskInstance]


@dataclass(frozen=True)
class World:
    """An Airflow and its services.

    :param outages: what stands before the services of some releases, by the Connection's name.
    :param proxy: stands before DLRN for the Dags that only wait.
    """

    lab: Lab
    flow: Airflow
    api: AirflowApi
    releases: Path
    outages: Mapping[str, Outage]
    proxy: FaultProxy

    @property
    def ledger(self) -> Path:
        """The ledger's folder."""
        return self.flow.home / "rdo-promoter-ledger"

    def release(self, name: str) -> Release:
        """Return one of the releases."""
        return Release(self.lab, name, self.lab.dlrn_client(), world=self)


@dataclass(frozen=True)
class Release(Rdo):
    """A release of these tests: its Dag, and its corner of the services."""

    world: World = dataclasses.field(kw_only=True)

    @property
    def dag_id(self) -> str:
        return f"centos7-{self.namespace_}"

    def trigger(self, build: DlrnHash | None = None, **form: object) -> Run:
        """Start a run as a person does, for a build or for the newest."""
        self.world.api.pause(self.dag_id, paused=False)
        conf = {**form, **({"hash": build.full_hash} if build else {})}
        return Run(self.world.api, self.dag_id, self.world.api.trigger(self.dag_id, conf))

    def vote(self, build: DlrnHash, *jobs: str, success: bool = True) -> None:
        """Report results as CI does; `build`, `test1` stand for the release's jobs."""
        ci: DlrnClient = self.lab.dlrn_client(ci=True)
        with ci:
            for job in jobs:
                name = job if "-" in job else f"periodic-{self.namespace_}-{job}"
                ci.report_vote(build, name, success, f"https://logs.example.org/{name}/abc1234")


@dataclass(frozen=True)
class Run:
    """A run of a release's Dag."""

    api: AirflowApi
    dag_id: str
    run_id: str

    def wait(self, condition: Callable[[Tasks], bool], what: str, deadline: float = 100) -> Tasks:
        """Wait until the tasks are as wanted."""
        return self.api.wait_for_tasks(self.dag_id, self.run_id, condition, what, deadline=deadline)

    def wait_for(self, task_id: str, state: str = "success", deadline: float = 100) -> Tasks:
        """Wait until a task has a state."""
        return self.wait(lambda tasks: tasks[task_id].state == state, f"{task_id} is {state}", deadline)

    def end(self, deadline: float = 150) -> str:
        """Wait for the run's end and return its state."""
        return self.api.wait_for_run(self.dag_id, self.run_id, deadline=deadline).state

    def states(self) -> dict[str, str]:
        """Return each task's state."""
        return {name: task.state for name, task in self.api.tasks(self.dag_id, self.run_id).items()}

    def reason(self, task_id: str) -> object:
        """Return why a task was skipped."""
        return self.api.xcom(self.dag_id, self.run_id, task_id, "reason")

    def log(self, task_id: str, try_number: int = 1) -> str:
        """Return the log of a try."""
        return self.api.log(self.dag_id, self.run_id, task_id, try_number)
