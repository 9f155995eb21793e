"""The trigger that waits for one CI job on the run's build."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from rdo_promoter.errors import ConfigError, MissingConnectionError, PermanentError
from rdo_promoter.model.build import Build
from rdo_promoter.model.ci import CiJob, Sighting
from rdo_promoter.model.clock import utc
from rdo_promoter.model.text import one_line
from rdo_promoter.triggers.feeds import Log, listen, wait_until
from rdo_promoter.triggers.links import leave, links
from rdo_promoter.triggers.names import REASON_KEY
from rdo_promoter.triggers.outcome import End, Known, Outcome, dry_outcome, job_in_ci, job_outcome
from rdo_promoter.triggers.terms import Terms, read_build, read_since


class JobTrigger(BaseTrigger):
    """Waits until a CI job has passed on a build, and ends the task without a worker.

    How the task ends:

    - passed: success. An alternative passed, a waiver counts, the build is superseded, displaced, marked bad
      or given up, or this is a dry run: skipped, with the reason in XCom.
    - failed: failed, with retries left. The task is up for retry, amber in the grid, and the next try looks
      again. A try costs a log file, so the pause between two is minutes; the gate notices a rerun itself.
      Waiting here for a newer vote would show a failed job like one that has not voted.
    - too late, lost by fail_fast, or there is no build: failed for good. An event that ends a task in the
      triggerer leads to a retry as long as there are any (Airflow 3.3: ``handle_event_submit``), so this one
      alone resumes the task on a worker, which fails it.
    - DLRN or its Connection need a person: as failed, with the message in the log.

    A DLRN that does not answer fails nobody: nothing can be decided without it, the deadline neither. The
    same is true of the ledger, except that a pass needs nobody's decision.

    :param terms: what the stage waits for, as JSON; see `rdo_promoter.triggers.terms.Terms`.
    :param job: the CI job.
    :param build: the run's build as JSON; templated.
    :param since: when the build got the candidate label, seconds since the epoch; templated.
    :param is_dry_run: do not wait, end by what is known; templated.
    """

    def __init__(
        self,
        *,
        terms: Mapping[str, Any],
        job: str,
        build: str,
        since: str | int,
        is_dry_run: str | bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no annotations
        self.terms = dict(terms)
        self.job = job
        self.build = build
        self.since = since
        self.is_dry_run = is_dry_run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made from again."""
        names = ("terms", "job", "build", "since", "is_dry_run")
        return f"{__name__}.JobTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event that ends the task."""
        try:
            build, since = read_build(self.build, self.job), read_since(self.since, self.job)
        except ConfigError as error:
            yield event(Outcome(End.REFUSED, self.job, str(error)))
            return
        try:
            outcome = await self._end_of(Terms.from_json(self.terms), build, since)
        except (PermanentError, MissingConnectionError) as error:
            outcome = Outcome(End.FAILED, self.job, f"{type(error).__name__}: {error}")
        self.log.info("%s %s: %s %s", build.short, self.job, outcome.reason, outcome.url)
        if outcome.end is End.FAILED:
            # Airflow drops the XComs of an event that leads to a retry, and the amber row's matter most.
            await leave(self.task_instance, xcoms(outcome))
        yield event(outcome)

    async def _end_of(self, terms: Terms, build: Build, since: int) -> Outcome:
        run_id = self.task_instance.run_id if self.task_instance else None
        decide = partial(dry_outcome if is_true(self.is_dry_run) else job_outcome, run_id=run_id)
        with listen(terms, build) as listening:
            self.log.info("%s waiting for %s until %s", build.short, self.job, utc(since + terms.within))

            teller = CiTeller(self.log, f"{build.short} {self.job}:")
            seen: Sighting | None = None

            def ended(known: Known) -> bool:
                nonlocal seen
                # Votes, labels and decisions ring the bell, too; there may be a thousand rows.
                news, seen = known.ci is not seen, known.ci
                if news and known.ci is not None:
                    teller.tell(known.ci.problem, job_in_ci(terms, self.job, build, since, known))
                return decide(terms, self.job, build, since, known) is not None

            known = await wait_until(listening, self.log, ended, without_connection=False)
            outcome = decide(terms, self.job, build, since, known)
            assert outcome is not None
            return outcome


class CiTeller:
    """Tells in a row's own log what CI knows of its job, each time that this changes.

    That CI does not answer is told once, and once when it answers again: the line before would read as if it
    were so still.

    :param log: the row's log.
    :param subject: what each line begins with.
    """

    def __init__(self, log: Log, subject: str) -> None:
        self._log = log
        self._subject = subject
        self._told: tuple[object, ...] = ()
        self._silent = False

    def tell(self, problem: str, found: CiJob | None) -> None:
        """Say what is new.

        :param problem: why CI does not answer, empty when it does.
        :param found: what CI knows of the job; None when it says nothing.
        """
        if problem and not self._silent:
            said = "%s CI does not answer, so votes alone are read: %s"
            self._log.warning(said, self._subject, one_line(problem))
        elif self._silent and not problem:
            self._log.info("%s CI answers again", self._subject)
            self._told = ()
        self._silent = bool(problem)
        # Not each time that CI thinks otherwise about when it will end.
        if found is not None and self._told != (told := (found.state, found.inferred)):
            self._told = told
            self._log.info("%s %s %s", self._subject, found, one_line(found.url))


def is_true(text: str | bool) -> bool:
    """Read a truth value that a template has left as text."""
    return str(text).lower() == "true"


def xcoms(outcome: Outcome) -> dict[str, Any]:
    """Return what a job's task leaves."""
    buttons = links(votes=outcome.page, log=outcome.url)
    return {"return_value": outcome.to_json(), REASON_KEY: outcome.reason, **buttons}


def event(outcome: Outcome) -> TriggerEvent:
    """Return what ends, or in some cases resumes, the task."""
    match outcome.end:
        case End.PASSED:
            return TaskSuccessEvent(xcoms=xcoms(outcome))
        case End.FAILED:
            return TaskFailedEvent(xcoms=xcoms(outcome))
        case End.EXPIRED | End.REFUSED | End.LOST:
            return TriggerEvent(outcome.to_json())  # type: ignore[no-untyped-call]  # as above
        case _:
            return TaskSkippedEvent(xcoms=xcoms(outcome))
