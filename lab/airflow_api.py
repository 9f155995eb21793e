"""A small client of Airflow's REST API, with what the demo and the tests ask for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests

from lab.service import LabError

#: States in which a task instance or a run stays unless somebody acts.
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

_PAGE = 100
_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class DagRun:
    """A run of a Dag.

    :param state: queued, running, success or failed.
    :param conf: what was given when it was triggered.
    """

    dag_id: str
    run_id: str
    state: str
    conf: Mapping[str, object]
    start: datetime | None
    end: datetime | None

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.state in FINISHED


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """A task of a run.

    :param state: Airflow's word, ``none`` before the scheduler has looked at it.
    :param try_number: 1 for the first try.
    :param max_tries: how many tries there may be.
    """

    task_id: str
    state: str
    try_number: int
    max_tries: int
    map_index: int
    start: datetime | None
    end: datetime | None


class AirflowApi:
    """Airflow's API as one user.

    :param url: address of the API server.
    :param username: a user of its auth manager.
    :param password: the user's password.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self._credentials = {"username": username, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor ~/.netrc has a part in this

    def dag_ids(self) -> set[str]:
        """Return the Dags that are parsed and have no import error."""
        found = self._pages("dags", "dags")
        return {str(dag["dag_id"]) for dag in found if not dag["has_import_errors"]}

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace of each Dag file that cannot be imported."""
        errors = self._pages("importErrors", "import_errors")
        return {str(error["filename"]): str(error["stack_trace"]) for error in errors}

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Pause a Dag or have it scheduled."""
        self._ask("PATCH", f"dags/{_part(dag_id)}", json={"is_paused": paused})

    def trigger(
        self, dag_id: str, conf: Mapping[str, object] | None = None, *, run_id: str | None = None
    ) -> str:
        """Start a run as the UI's form does, without a logical date, and return its id.

        :param conf: what the form asks for.
        """
        body: dict[str, object] = {"conf": dict(conf or {}), "logical_date": None}
        if run_id is not None:
            body["dag_run_id"] = run_id
        answer = self._ask("POST", f"dags/{_part(dag_id)}/dagRuns", json=body)
        return str(answer["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """Return a run."""
        return _run(self._ask("GET", _run_path(dag_id, run_id)))

    def runs(self, dag_id: str) -> list[DagRun]:
        """Return all runs of a Dag, the newest first."""
        found = self._pages(f"dags/{_part(dag_id)}/dagRuns", "dag_runs", order_by="-run_after")
        return [_run(run) for run in found]

    def tasks(self, dag_id: str, run_id: str) -> dict[str, TaskInstance]:
        """Return a run's task instances by their task id; of a mapped task the last one."""
        found = self._pages(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances")
        return {task.task_id: task for task in map(_task, found)}

    def add_connection(self, conn_id: str, content: str) -> None:
        """Keep a Connection in Airflow's database, as its form does.

        :param content: as `AIRFLOW_CONN_*` has it, in JSON.
        """
        fields = json.loads(content)
        body = {**fields, "connection_id": conn_id, "extra": json.dumps(fields.get("extra", {}))}
        self._ask("POST", "connections", json=body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return a task's XCom, None when there is none."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{_part(key)}"
        answer = self._ask("GET", path, params={"deserialize": "true", "map_index": -1}, missing_ok=True)
        return answer.get("value")

    def asset_events(self, label: str) -> list[Mapping[str, Any]]:
        """Return what the events of a label's asset carry, the newest first.

        :param label: the last part of the asset's URI.
        """
        events = self._pages("assets/events", "asset_events", order_by="-timestamp")
        return [event["extra"] for event in events if str(event["uri"]).endswith(f"/{label}")]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of a task's try, a line an event, an exception with its message."""
        path = f"{_task_path(dag_id, run_id, task_id)}/logs/{try_number}"
        answer = self._ask("GET", path, params={"full_content": "true"}, missing_ok=True)
        lines: list[str] = []
        for entry in answer.get("content", []):
            lines.append(str(entry["event"]) if isinstance(entry, dict) else str(entry))
            if isinstance(entry, dict):
                errors = entry.get("error_detail") or []
                lines += [f"{error['exc_type']}: {error['exc_value']}" for error in errors]
        return "\n".join(lines)

    def question(self, dag_id: str, run_id: str, task_id: str) -> Mapping[str, Any] | None:
        """Return what a task asks people, None when it asks nothing."""
        path = f"{_task_path(dag_id, run_id, task_id)}/-1/hitlDetails"
        return self._ask("GET", path, missing_ok=True) or None

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str, **form: object) -> None:
        """Answer what a task asks.

        :param option: what is chosen.
        :param form: the form's fields; all that the question has.
        """
        path = f"{_task_path(dag_id, run_id, task_id)}/-1/hitlDetails"
        self._ask("PATCH", path, json={"chosen_options": [option], "params_input": form})

    def clear(
        self, dag_id: str, run_id: str, task_ids: Collection[str], *, downstream: bool = False
    ) -> list[str]:
        """Have tasks run again and return the ids of all that were cleared.

        :param downstream: also everything that comes after them.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": sorted(task_ids),
            "include_downstream": downstream,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        answer = self._ask("POST", f"dags/{_part(dag_id)}/clearTaskInstances", json=body)
        return [str(task["task_id"]) for task in answer["task_instances"]]

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task, as a person does in the UI.

        :param state: success, failed or skipped.
        """
        self._ask("PATCH", _task_path(dag_id, run_id, task_id), json={"new_state": state})

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run, as a person does in the UI.

        :param state: queued, success or failed.
        """
        self._ask("PATCH", _run_path(dag_id, run_id), json={"state": state})

    def wait_for_dag(self, dag_id: str, *, deadline: float = 60.0) -> None:
        """Wait until a Dag has been parsed.

        :param deadline: seconds.
        :raises LabError: when it is not there in time, with the import errors.
        """
        end = time.monotonic() + deadline
        while dag_id not in self.dag_ids():
            if time.monotonic() > end:
                raise LabError(
                    f"Dag {dag_id} is not there after {deadline:.0f} s; import errors: {self.import_errors()}"
                )
            time.sleep(0.2)

    def wait_for_tasks(
        self,
        dag_id: str,
        run_id: str,
        condition: Callable[[Mapping[str, TaskInstance]], bool],
        what: str,
        *,
        deadline: float = 60.0,
        progress: Callable[[Mapping[str, TaskInstance]], None] = lambda _: None,
        every: float = 0.3,
    ) -> dict[str, TaskInstance]:
        """Wait until the tasks of a run are as wanted, and return them.

        :param condition: called with the tasks.
        :param what: words for the condition, for the error.
        :param deadline: seconds.
        :param progress: called with the tasks at each look.
        :param every: seconds between two looks.
        :raises LabError: when it is not so in time, with the states of the tasks.
        """
        end = time.monotonic() + deadline
        while True:
            tasks = self.tasks(dag_id, run_id)
            progress(tasks)
            if condition(tasks):
                return tasks
            if time.monotonic() > end:
                states = ", ".join(f"{name}={task.state}({task.try_number})" for name, task in tasks.items())
                raise LabError(f"{dag_id} {run_id}: {what}: not so after {deadline:.0f} s; {states}")
            time.sleep(every)

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        deadline: float = 120.0,
        progress: Callable[[Mapping[str, TaskInstance]], None] = lambda _: None,
    ) -> DagRun:
        """Wait until a run has ended and return it.

        :param deadline: seconds.
        :param progress: called with the tasks at each look.
        :raises LabError: when it has not ended in time, with the states of the tasks.
        """
        self.wait_for_tasks(
            dag_id,
            run_id,
            lambda _: self.run(dag_id, run_id).finished,
            "the run has ended",
            deadline=deadline,
            progress=progress,
        )
        return self.run(dag_id, run_id)

    def _login(self) -> None:
        answer = self._session.post(f"{self.url}/auth/token", json=self._credentials, timeout=_TIMEOUT)
        if not answer.ok:
            user = self._credentials["username"]
            raise LabError(f"Airflow at {self.url} lets {user} not in: {answer.status_code} {answer.text}")
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _ask(self, method: str, path: str, *, missing_ok: bool = False, **kwargs: Any) -> dict[str, Any]:
        if "Authorization" not in self._session.headers:
            self._login()
        url = f"{self.url}/api/v2/{path}"
        headers = {"Accept": "application/json"}
        answer = self._session.request(method, url, timeout=_TIMEOUT, headers=headers, **kwargs)
        if answer.status_code == 401:  # the token has expired
            self._login()
            answer = self._session.request(method, url, timeout=_TIMEOUT, headers=headers, **kwargs)
        if answer.status_code == 404 and missing_ok:
            return {}
        if not answer.ok:
            raise LabError(f"{method} {url}: {answer.status_code} {answer.text[:500]}")
        parsed: dict[str, Any] = answer.json()
        return parsed

    def _pages(self, path: str, name: str, **params: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = self._ask("GET", path, params={**params, "limit": _PAGE, "offset": len(found)})
            found += answer[name]
            if len(answer[name]) < _PAGE:
                return found


def _part(text: str) -> str:
    return quote(text, safe="")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{_part(task_id)}"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _run(data: Mapping[str, Any]) -> DagRun:
    return DagRun(
        dag_id=data["dag_id"],
        run_id=data["dag_run_id"],
        state=data["state"],
        conf=data["conf"] or {},
        start=_time(data["start_date"]),
        end=_time(data["end_date"]),
    )


def _task(data: Mapping[str, Any]) -> TaskInstance:
    return TaskInstance(
        task_id=data["task_id"],
        state=data["state"] or "none",
        try_number=data["try_number"],
        max_tries=data["max_tries"],
        map_index=data["map_index"],
        start=_time(data["start_date"]),
        end=_time(data["end_date"]),
    )
