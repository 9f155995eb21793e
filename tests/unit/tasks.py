"""Airflow's side of a task, kept in memory, for tests of operators: the real one is in tests/airflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from rdo_promoter.errors import (
    ServiceError,
)
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.operators.hold import (
    HOLDERS,
    Group,
    holder_key,
)
from tests.unit.strategies import build_number

GROUP = "upstream.promote"
REPO = "https://trunk.example.org/centos7-master"
KEY = holder_key(REPO, "passed")
THEIRS = Group("centos7-master", "theirs", GROUP)
OURS = Group("centos7-master", "ours", GROUP)
OLD, NEW = build_number(1), build_number(2)


class Store(dict[str, Any]):
    """A state store of Airflow, without the server."""

    def __init__(self, on_set: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.on_set = on_set

    def set(self, key: str, value: object, **_: object) -> None:
        self[key] = json.loads(json.dumps(value))
        self.on_set()

    def delete(self, key: str) -> None:
        self.pop(key, None)


@dataclass
class Ti:
    """A task instance: its XComs, and the states of other runs' groups."""

    pulled: Mapping[tuple[str, str], object] = field(default_factory=dict)
    groups: dict[str, dict[str, str | None]] = field(default_factory=dict)
    pushed: dict[str, object] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    max_tries: int = 2
    try_number: int = 1

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> object:
        return self.pulled.get((task_ids, key))

    def get_dr_count(self, states: list[str], run_ids: list[str] | None = None, **_: object) -> int:
        return sum(state in states for run, state in self.runs.items() if run in (run_ids or self.runs))

    def get_task_states(self, run_ids: list[str], **_: object) -> dict[str, dict[str, str | None]]:
        return {run: self.groups[run] for run in run_ids if run in self.groups}


@dataclass
class Dlrn:
    """A DLRN of two labels, kept in memory: the real one is asked in the tests of the engine."""

    consistent_build: DlrnHash = NEW
    rows: list[PromotionRow] = field(default_factory=list)
    fails: int = 0
    skew: float | None = 0.0

    def consistent(self) -> DlrnHash:
        return self.consistent_build

    def current(self, label: str) -> PromotionRow | None:
        return next((row for row in self.rows if row.label == label), None)

    def entries(self, label: str, build: DlrnHash) -> list[PromotionRow]:
        return [row for row in self.rows if (row.label, row.build) == (label, build)]

    def promotions(self, label: str, limit: int = 100) -> list[PromotionRow]:
        return [row for row in self.rows if row.label == label][:limit]

    def votes(self, _: DlrnHash) -> list[object]:
        return []

    def now(self) -> int:
        return 1_000_000 + len(self.rows)

    def check_may_promote(self, label: str) -> None:
        """Let everybody promote."""

    def promote(self, build: DlrnHash, label: str, *, expected: PromotionRow | None) -> PromotionRow:
        assert expected == self.current(label)
        if self.fails:
            self.fails -= 1
            raise ServiceError("503")
        row = PromotionRow(label, build, self.now(), user="promoter")
        self.rows.insert(0, row)
        return row


def context(ti: Ti | None = None, run_id: str = "ours", run_type: str = "scheduled", **form: object) -> Any:
    ti = ti or Ti()
    ti.pulled = {("source.build", "build"): json.dumps(NEW.to_json()), **ti.pulled}
    return {
        "ti": ti,
        "run_id": run_id,
        "dag_run": SimpleNamespace(run_type=run_type),
        "params": form,
        "task_state_store": Store(),
        "asset_state_store": {HOLDERS: Store()},
    }


def services(dlrn: Any) -> Any:
    facts = {"dlrn_conn_id": "dlrn", "repo_url": REPO, "zuul_conn_id": None}
    return SimpleNamespace(dlrn=dlrn, registries={}, servers={}, **facts)


def made(kind: Any, dlrn: Any = None, **arguments: Any) -> Any:
    return kind(task_id="task", services=services(dlrn or Dlrn()), **arguments)
