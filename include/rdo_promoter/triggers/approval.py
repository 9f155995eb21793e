"""The trigger of a step that asks for an approval: it closes a question that nobody need answer any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from rdo_promoter.model.build import build_from_json
from rdo_promoter.model.clock import utc
from rdo_promoter.triggers.answer import answer_so_far
from rdo_promoter.triggers.feeds import listen, wait_until
from rdo_promoter.triggers.outcome import Known, find
from rdo_promoter.triggers.terms import Terms


class ApprovalTrigger(BaseTrigger):
    """Waits until the time for an answer is over, or nothing is left to win for the build.

    An answer resumes the task without this trigger.

    :param terms: the stage's labels, and no criteria; see `rdo_promoter.triggers.terms.Terms`.
    :param build: the build, as JSON values.
    :param since: when it got the candidate label, seconds since the epoch.
    :param until: until when the question is open, seconds since the epoch by DLRN's clock.
    """

    def __init__(self, *, terms: Mapping[str, Any], build: Mapping[str, Any], since: int, until: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no annotations
        self.terms = dict(terms)
        self.build = dict(build)
        self.since = since
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made from again."""
        names = ("terms", "build", "since", "until")
        return f"{__name__}.ApprovalTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event that wakes the task."""
        terms, build = Terms.from_json(self.terms), build_from_json(self.build)

        def is_closed(known: Known) -> bool:
            return known.votes.now >= self.until or find(terms, build, self.since, known).lost is not None

        if answer := await answer_so_far(self.task_instance):
            yield TriggerEvent(answer)  # type: ignore[no-untyped-call]  # as above
            return
        with listen(terms, build, anew=True) as listening:
            self.log.info("%s waiting for an approval until %s", build.short, utc(self.until))
            await wait_until(listening, self.log, is_closed)
        yield TriggerEvent({"closed": True})  # type: ignore[no-untyped-call]  # as above
