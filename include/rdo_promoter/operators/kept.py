"""What people keep back: tasks that would move a held label, or a held build's, wait in the triggerer."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, NoReturn

from airflow.sdk import Context

from rdo_promoter.engine.moved import moved_so_far
from rdo_promoter.engine.observe import observe
from rdo_promoter.engine.services import Services
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import Build
from rdo_promoter.model.decisions import Held, MarkedBad, describe
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.base import PromoterOperator, Result, is_dry_run, skip
from rdo_promoter.triggers.hold import HoldTrigger
from rdo_promoter.triggers.names import REASON_KEY
from rdo_promoter.triggers.terms import Where

#: Seconds between two looks when nobody says otherwise.
POLL = 60


@dataclass(frozen=True)
class Kept:
    """What keeps a build from a label.

    :param bad: the mark that the build bears, None without one.
    :param holds: the holds of the build and of the label.
    """

    bad: MarkedBad | None
    holds: tuple[Held, ...]

    def __bool__(self) -> bool:
        return bool(self.bad or self.holds)

    def __str__(self) -> str:
        return "; ".join(describe(each) for each in (self.bad, *self.holds) if each is not None)


def kept_back(dag_id: str, build: Build, label: str, *, now: int) -> Kept:
    """Return what keeps a build from a label.

    :param dag_id: the release's Dag.
    :param build: the build.
    :param label: the label that is to move.
    :param now: DLRN's time, seconds since the epoch.
    :raises ServiceError: when the ledger does not answer: nobody knows then what is held.
    """
    decisions = DecisionsReader(dag_id).read()
    full_hash = build.full_hash
    return Kept(decisions.marked_bad(full_hash), decisions.held(full_hash, label, now=now))


def begun(dag_id: str, promotion: Promotion, services: Services) -> tuple[str, ...]:
    """Return where labels name the build by a promotion that was not completed: seen, not noted.

    :param dag_id: the release's Dag.
    :param promotion: the promotion.
    :param services: what it works on.
    """
    if not any(plan.build == promotion.build for plan in ledger().unfinished(dag_id, promotion.label)):
        return ()
    return moved_so_far(promotion, observe(promotion, services, checksums=False))


class PatientOperator(PromoterOperator):
    """Base of operators that wait while people hold the label or the build.

    :param poll: seconds between two looks at what is held.
    """

    def __init__(self, *, poll: float = POLL, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll = poll

    def heed(self, context: Context, build: Build, label: str) -> None:
        """Go on only when nothing keeps the build back: skip a bad one, wait while something is held.

        In a dry run it is only said.

        :param build: the build.
        :param label: the label that is to move.
        """
        kept = kept_back(self.dag_id, build, label, now=self.services.dlrn.now())
        self._heed(context, build, label, kept)

    def _heed(
        self, context: Context, build: Build, label: str, kept: Kept, where: Where | None = None
    ) -> None:
        if not kept:
            return
        if is_dry_run(context):
            self.log.warning("%s dry run: would be kept back: %s", build.short, kept)
            return
        if kept.bad:
            raise skip(context, describe(kept.bad))
        self._wait(context, build, label, str(kept), where)

    def heed_promotion(self, context: Context, promotion: Promotion) -> None:
        """Go on only when nothing keeps the promotion back, or labels have begun to move: half is worse.

        :param promotion: the promotion.
        """
        services, build = self.services, promotion.build
        kept = kept_back(self.dag_id, build, promotion.label, now=services.dlrn.now())
        if not kept:
            return
        if not is_dry_run(context) and (moved := begun(self.dag_id, promotion, services)):
            self.log.warning("%s completed though kept back (%s): %s", build.short, kept, "; ".join(moved))
            return
        where = Where(services.dlrn_conn_id, services.repo_url, promotion.candidate_label, promotion.label)
        self._heed(context, build, promotion.label, kept, where)

    def _wait(self, context: Context, build: Build, label: str, reason: str, where: Where | None) -> NoReturn:
        self.log.info("%s waiting: %s", build.short, reason)
        context["ti"].xcom_push(key=REASON_KEY, value=f"waiting: {reason}")
        row = self.services.dlrn.current(label) if where else None
        self.defer(
            trigger=HoldTrigger(
                dag_id=self.dag_id,
                label=label,
                full_hash=build.full_hash,
                poll=self.poll,
                where=astuple(where) if where else None,
                holder=row.build.full_hash if row else None,
            ),
            method_name="resume",
            kwargs={"reason": reason},
        )

    def resume(self, context: Context, event: Any, reason: str) -> Result | None:  # noqa: ARG002
        """Look again after having waited: the event only says that something may have changed.

        :param reason: what was held.
        """
        result = self.guarded(context, lambda: self.act(context))
        context["ti"].xcom_push(key=REASON_KEY, value=f"went on, no longer held ({reason})")
        return result
