"""A task of one run as Airflow keeps it: tries, deferrals, kills and clears, without Airflow's processes."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger

from lab.lab import Lab
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.jobs import job_id, read_memory
from rdo_promoter.model.votes import Vote
from rdo_promoter.operators import started

#: Tries that Airflow adds when a person clears a task.
RETRIES = 8


class Killed(BaseException):
    """The worker was killed: nothing in the package may catch this."""


class Cuts:
    """Kills at the n-th of the moments between two acts.

    :param at: which moment, counted from 0; None to count alone.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.seen: list[str] = []

    def __call__(self, moment: str) -> None:
        self.seen.append(moment)
        if self.at is not None and len(self.seen) == self.at + 1:
            raise Killed(moment)

    def around(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        """Let there be a moment before and one after each call of a function."""
        real = getattr(owner, name)

        def cut(*args: Any, **kwargs: Any) -> Any:
            self(f"before {name}")
            result = real(*args, **kwargs)
            self(f"after {name}")
            return result

        patch.setattr(owner, name, cut)


class Store(dict[str, Any]):
    """Airflow's store of a task, without the server; what is in it has gone through JSON."""

    def set(self, key: str, value: object, **_: object) -> None:
        self[key] = json.loads(json.dumps(value))


@dataclass
class Ti:
    """What a task may know of itself."""

    build: str
    max_tries: int = RETRIES
    try_number: int = 0
    dag_id: str = "centos7-master"
    run_id: str = "scheduled__2026-11-24T03:00:00+00:00"
    task_id: str = "phase1.run"
    log_url: str = "http://airflow.example.org/dags/centos7-master/runs/x/tasks/phase1.run?try_number=1"
    pushed: dict[str, object] = field(default_factory=dict)

    def xcom_pull(self, **_: object) -> str:
        return self.build

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


@dataclass
class Desk:
    """A task and what Airflow knows of it.

    :param make: makes its operator, anew in each process.
    """

    make: Callable[[], Any]
    build: DlrnHash
    dry_run: bool = False
    store: Store = field(default_factory=Store)
    events: dict[Asset, SimpleNamespace] = field(default_factory=lambda: defaultdict(SimpleNamespace))
    waiting: TaskDeferred | None = None

    def __post_init__(self) -> None:
        self.ti = Ti(json.dumps(self.build.to_json()))

    @property
    def context(self) -> Any:
        return {
            "ti": self.ti,
            "run_id": self.ti.run_id,
            "params": {"dry_run": self.dry_run},
            "task_state_store": self.store,
            "outlet_events": self.events,
        }

    def execute(self) -> Any:
        """Begin a try; return its result, None when it waits now."""
        self.waiting = None
        self.ti.try_number += 1
        return self._run(lambda: self.make().execute(self.context))

    def go_on(self, *, between: Callable[[], object] = lambda: None) -> Any:
        """Let the trigger wait, and the task go on when it has rung, until the try has ended.

        :param between: called before each wait.
        """
        result = None
        while self.waiting is not None:
            between()
            resumed, event = str(self.waiting.method_name), ring(self.waiting.trigger)
            more = dict(self.waiting.kwargs or {})
            self.waiting = None
            result = self._run(partial(getattr(self.make(), resumed), self.context, event=event, **more))
        return result

    def run(self, **options: Any) -> Any:
        """Run a try to its end and return its result."""
        result = self.execute()
        return self.go_on(**options) if self.waiting is not None else result

    def clear(self) -> None:
        """Do what Airflow does when a person clears the task."""
        self.ti.max_tries += 1 + RETRIES
        self.waiting = None

    @property
    def id(self) -> str:
        """The id of the job that the task has stored."""
        memory = read_memory(self.store["job"])
        assert memory is not None
        return job_id(self.ti.dag_id, self.ti.run_id, self.ti.task_id, memory)

    def _run(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except TaskDeferred as deferral:
            self.waiting = deferral
            return None


def ring(trigger: BaseTrigger, *, deadline: float = 60) -> Any:
    """Let a triggerer make the trigger from what is stored of it, and return its event's content."""
    path, kwargs = trigger.serialize()
    kind = type(trigger)
    assert path.rpartition(".")[2] == kind.__qualname__
    again = kind(**json.loads(json.dumps(kwargs)))

    async def first() -> Any:
        async for event in again.run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    async def within() -> Any:
        return await asyncio.wait_for(first(), deadline)

    return asyncio.run(within())


@dataclass(frozen=True)
class Ballot:
    """A build, and a CI job that no other test has.

    :param job: the job's name.
    """

    lab: Lab
    build: DlrnHash
    job: str

    def votes(self) -> list[Vote]:
        """Return the job's votes on the build."""
        with self.lab.dlrn_client() as dlrn:
            return [vote for vote in dlrn.votes(self.build) if vote.job == self.job]


@contextmanager
def later(patch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let this machine's clock be set forward, as far as started jobs read it."""
    ahead = 0
    real = started.now

    def forward(seconds: int) -> None:
        nonlocal ahead
        ahead += seconds

    patch.setattr(started, "now", lambda: real() + ahead)
    yield forward
