"""A build that holds a label of its own in the lab, and a task that hands it off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset

from lab.fake_receiver import FakeReceiver
from rdo_promoter.clients.handoff_key import PublicKey
from rdo_promoter.engine.handoff import Scope
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.decisions import Answer, Answered
from rdo_promoter.model.handoff import Handoff, read_envelope, read_handoff
from rdo_promoter.model.ledger import Promoted
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.operators.handoff import HandOffOperator, Way, handoff_asset
from tests.engine.rdo import CONTAINERS, IMAGES, Rdo
from tests.jobs.desk import Desk

DAG_ID = "centos7-master"
REGISTRIES = ("rdo", "dockerhub")
JOBS = ("standalone", "scenario001", "container-build", "replaced")
Connect = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class World:
    """A build that holds a label of its own.

    :param row: DLRN's row of it.
    """

    rdo: Rdo
    row: PromotionRow
    receiver: FakeReceiver
    key: PublicKey
    services: ConnectionServices

    @property
    def build(self) -> DlrnHash:
        assert isinstance(self.row.build, DlrnHash)
        return self.row.build

    @property
    def asset(self) -> Asset:
        return handoff_asset(DAG_ID, self.services.repo_url, self.row.label)

    @property
    def file(self) -> Path:
        return self.rdo.image_root / self.build.full_hash / f"handoff-{self.row.label}.json"

    def operator(self, *, within: int | None = None, **changes: Any) -> HandOffOperator:
        scope = Scope(
            label=self.row.label,
            containers=CONTAINERS,
            registries=REGISTRIES,
            images=IMAGES,
            servers=("images",),
            criteria=(Criteria(JOBS, {"replaced": ("standalone",)}),),
        )
        with DAG(DAG_ID):
            before = EmptyOperator(task_id="approve")
            task = HandOffOperator(
                task_id="hand_off",
                services=self.services,
                scope=replace(scope, **changes),
                way=Way("key", "receiver", within),
                asset=self.asset,
                poll=0.1,
            )
            before >> task
        return task

    def desk(self, *, within: int | None = None, dry_run: bool = False, **changes: Any) -> Desk:
        return Desk(lambda: self.operator(within=within, **changes), self.build, dry_run=dry_run)

    def decide(
        self, kind: Any, *, at: int | None = None, reason: str = "https://bugs/1", **fields: Any
    ) -> None:
        entry = kind(
            dag_id=DAG_ID,
            at=at or self.row.timestamp,
            by="ada",
            via="airflow",
            **{"reason": reason, "full_hash": self.build.full_hash, **fields},
        )
        ledger().append(entry)

    def approve(self, task_id: str, *, at: int, run_id: str) -> None:
        self.decide(
            Answered, at=at, run_id=run_id, task_id=task_id, question="?", answer=Answer.APPROVE, until=None
        )

    def record(self) -> Handoff:
        """Return the one hand-off that the receiver has; it is what lies beside the images, and signed."""
        ((key, content),) = self.receiver.kept.items()
        assert self.file.read_bytes() == content
        envelope = read_envelope(content)
        self.key.verify(envelope)
        record = read_handoff(envelope.record)
        assert record.key == key
        return record


def fact(row: PromotionRow) -> Promoted:
    return Promoted(
        dag_id=DAG_ID,
        label=row.label,
        build=row.build,
        timestamp=row.timestamp,
        at=row.timestamp + 5,
        by="scheduled__1",
        via="airflow",
        file="releases/master.yaml",
        digest="d" * 64,
        previous=None,
    )


def vote(rdo: Rdo, build: DlrnHash, job: str, *, success: bool = True, at: int) -> None:
    with rdo.lab.dlrn_client(ci=True) as ci:
        ci.report_vote(build, job, success, f"https://logs/{job}", timestamp=at)
