"""The trigger of a task that may not go on because people hold its label or its build."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from rdo_promoter.model.decisions import Decisions
from rdo_promoter.triggers.dlrn import LabelsSource
from rdo_promoter.triggers.feed import Feed, join
from rdo_promoter.triggers.feeds import LABEL_POLLS, DecisionsSource
from rdo_promoter.triggers.outcome import Labels
from rdo_promoter.triggers.terms import Where


class HoldTrigger(BaseTrigger):
    """Waits until a label and a build may be free again, or waiting is in vain; the task then looks itself.

    A ledger that does not answer frees nobody. The clock is this machine's: if it is wrong the task is woken
    early and waits again, or is woken late.

    :param dag_id: the release's Dag.
    :param label: the label that is to move.
    :param full_hash: the build.
    :param poll: seconds between two looks.
    :param where: the fields of `rdo_promoter.triggers.terms.Where`, to be woken when the promoted label
        moves; None when nothing has been tested yet that could be superseded.
    :param holder: full hash of the build that held the promoted label when the wait began.
    """

    def __init__(
        self,
        *,
        dag_id: str,
        label: str,
        full_hash: str,
        poll: float,
        where: Sequence[str] | None = None,
        holder: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no annotations
        self.dag_id = dag_id
        self.label = label
        self.full_hash = full_hash
        self.poll = poll
        self.where = list(where) if where else None
        self.holder = holder

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made from again."""
        names = ("dag_id", "label", "full_hash", "poll", "where", "holder")
        return f"{__name__}.HoldTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event that wakes the task."""
        bell = asyncio.Event()
        with ExitStack() as stack:
            decisions: Feed[Decisions] = stack.enter_context(
                join(
                    # Holds stand in the ledger alone: a reviewed file that is broken keeps nobody waiting.
                    ("decisions", self.dag_id, None),
                    DecisionsSource(self.dag_id),
                    service="the ledger",
                    name=f"decisions about {self.dag_id}",
                    poll=self.poll,
                    bell=bell,
                )
            )
            labels = self._labels(stack, bell) if self.where else None
            silent = False
            while (woken := self.why(decisions.answer, labels.answer if labels else None)) is None:
                if (decisions.error is not None) != silent:
                    silent = not silent
                    said = f"{decisions.error}; waiting goes on" if silent else "the ledger answers again"
                    self.log.warning("%s %s", self.full_hash, said)
                await bell.wait()
                bell.clear()
                for feed in (decisions, labels):
                    if feed is not None and feed.failure is not None:
                        raise feed.failure
        self.log.info("%s woken: %s", self.full_hash, woken)
        yield TriggerEvent({"woken": woken})  # type: ignore[no-untyped-call]  # as above

    def _labels(self, stack: ExitStack, bell: asyncio.Event) -> Feed[Labels]:
        where = Where(*self.where or ())
        return stack.enter_context(
            join(
                ("labels", where),
                LabelsSource(where),
                service=where.dlrn_conn_id,
                name=f"{where.candidate_label} and {where.promoted_label} in {where.dlrn_conn_id}",
                poll=self.poll * LABEL_POLLS,
                bell=bell,
            )
        )

    def why(self, decisions: Decisions | None, labels: Labels | None) -> str | None:
        """Return why the task has to look again, None when it has not.

        :param decisions: what people decided; None while that is not known.
        :param labels: who holds the stage's labels; None when that is not asked, or not known.
        """
        if decisions is not None:
            if decisions.marked_bad(self.full_hash):
                return "the build is marked bad"
            if not decisions.held(self.full_hash, self.label, now=int(time.time())):
                return "nothing is held any more"
        if labels is not None and labels.holder and labels.holder.build.full_hash != self.holder:
            return f"{self.label} moved"
        return None
