"""What people keep back: tasks that would move a held label, or a held build's, come back later."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowRescheduleException
from airflow.sdk.timezone import utcnow

from rdo_promoter.engine.moved import moved_so_far
from rdo_promoter.engine.observe import observe
from rdo_promoter.engine.services import Services
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import Build
from rdo_promoter.model.decisions import Held, MarkedBad, describe
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.base import PromoterOperator, is_dry_run, skip
from rdo_promoter.triggers.names import REASON_KEY

#: Seconds between two looks when nobody says otherwise.
POLL = 60

#: Seconds between two looks at most: what is held for days is not lifted by the minute.
_POLL_MAX = 600

#: A reschedule after less fails now and then: Airflow may see the task before it took in the last one.
_LOOK_AGAIN = 15.0


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

    def pause(self, poll: float, *, now: int) -> float:
        """Return the seconds until the next look: the longer something is held already, the more.

        :param poll: seconds at least.
        :param now: DLRN's time, seconds since the epoch.
        """
        held_for = now - max((hold.at for hold in self.holds), default=now)
        return max(poll, min(held_for / 20, _POLL_MAX))

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

    Waiting, they come back from time to time and are nothing in between, not even deferred: Airflow (3.3.2)
    counts a deferred task as an active one, and of some of these tasks one may be active at a time.

    :param poll: seconds between two looks at what was held just now.
    """

    def __init__(self, *, poll: float = POLL, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll = poll

    def heed(self, context: Context, build: Build, label: str) -> None:
        """Go on only when nothing keeps the build back: skip a bad one, come back while something is held.

        In a dry run it is only said.

        :param build: the build.
        :param label: the label that is to move.
        """
        now = self.services.dlrn.now()
        self._heed(context, build, kept_back(self.dag_id, build, label, now=now), now=now)

    def heed_promotion(self, context: Context, promotion: Promotion) -> None:
        """Go on only when nothing keeps the promotion back, or labels have begun to move: half is worse.

        :param promotion: the promotion.
        """
        services, build = self.services, promotion.build
        now = services.dlrn.now()
        kept = kept_back(self.dag_id, build, promotion.label, now=now)
        if kept and not is_dry_run(context) and (moved := begun(self.dag_id, promotion, services)):
            self.log.warning("%s completed though kept back (%s): %s", build.short, kept, "; ".join(moved))
            return
        self._heed(context, build, kept, now=now)

    def _heed(self, context: Context, build: Build, kept: Kept, *, now: int) -> None:
        if not kept:
            return
        if is_dry_run(context):
            self.log.warning("%s dry run: would be kept back: %s", build.short, kept)
            return
        if kept.bad:
            raise skip(context, describe(kept.bad))
        context["ti"].xcom_push(key=REASON_KEY, value=f"waiting: {kept}")
        raise self.later(f"{build.short} waiting: {kept}", kept.pause(self.poll, now=now))

    def later(self, why: str, seconds: float = 0) -> AirflowRescheduleException:
        """Return the exception that lets the task come back.

        :param why: for the log.
        :param seconds: until then, at least.
        """
        self.log.info("%s", why)
        pause = max(seconds, _LOOK_AGAIN) + random.uniform(0, 5)  # noqa: S311 - jitter, no secret
        return AirflowRescheduleException(utcnow() + timedelta(seconds=pause))  # type: ignore[no-untyped-call]
