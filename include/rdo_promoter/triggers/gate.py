"""The trigger of a gate: it wakes the gate when a decision may have become possible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from rdo_promoter.model.build import Build, build_from_json
from rdo_promoter.triggers.answer import answer_so_far
from rdo_promoter.triggers.feeds import listen, wait_until
from rdo_promoter.triggers.outcome import Finding, Known, find
from rdo_promoter.triggers.terms import Terms


class Call(StrEnum):
    """Why a gate is woken."""

    MET = "met"
    LOST = "lost"
    DOOMED = "doomed"
    LATE = "late"
    AGAIN = "again"


class GateTrigger(BaseTrigger):
    """Waits until a build passes, cannot pass any more, or the time is over; the gate then looks itself.

    :param terms: what the stage waits for, as JSON; see `rdo_promoter.triggers.terms.Terms`.
    :param build: the build, as JSON values.
    :param since: when it got the candidate label, seconds since the epoch.
    :param until: wake the gate at this time, seconds since the epoch by DLRN's clock; None for the deadline.
    :param doomed_said: it is known that only a rerun can save the build.
    :param again: seconds until the gate is woken anyway: the release file may have changed what it waits for.
    """

    def __init__(
        self,
        *,
        terms: Mapping[str, Any],
        build: Mapping[str, Any],
        since: int,
        until: int | None = None,
        doomed_said: bool = False,
        again: float = 600,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no annotations
        self.terms = dict(terms)
        self.build = dict(build)
        self.since = since
        self.until = until
        self.doomed_said = doomed_said
        self.again = again

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made from again."""
        names = ("terms", "build", "since", "until", "doomed_said", "again")
        return f"{__name__}.GateTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event that wakes the gate."""
        terms, build = Terms.from_json(self.terms), build_from_json(self.build)
        with listen(terms, build, anew=True) as listening:
            self.log.info("%s waiting for %d jobs", build.short, len(terms.criteria.jobs))
            if self.until is not None and (answer := await answer_so_far(self.task_instance)):
                yield TriggerEvent(answer)  # type: ignore[no-untyped-call]  # as above
                return
            woken = Call.AGAIN
            with suppress(TimeoutError):
                async with asyncio.timeout(self.again):
                    known = await wait_until(
                        listening, self.log, lambda known: self._call(terms, build, known) is not None
                    )
                    woken = self._call(terms, build, known) or woken
            self.log.info("%s woken: %s", build.short, woken)
            yield TriggerEvent({"call": str(woken)})  # type: ignore[no-untyped-call]  # as above

    def _call(self, terms: Terms, build: Build, known: Known) -> Call | None:
        # Labels are asked about less often, and the gate looks itself at those in any case.
        if known.decisions is None:
            return None
        finding = find(terms, build, self.since, known)
        late = finding.late if self.until is None else finding.now >= self.until
        return call(terms, finding, late=late, doomed_said=self.doomed_said)


def call(terms: Terms, finding: Finding, *, late: bool, doomed_said: bool) -> Call | None:
    """Return why a gate has something to decide, None when it has nothing. Pure.

    :param terms: what is waited for.
    :param finding: how the build stands.
    :param late: whether the time is over for which the gate waits now.
    :param doomed_said: it is known that only a rerun can save the build.
    """
    if finding.met:
        return Call.MET
    if finding.lost:
        return Call.LOST
    if finding.verdict.doomed and (terms.fail_fast or not doomed_said):
        return Call.DOOMED
    return Call.LATE if late else None
