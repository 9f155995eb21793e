"""The trigger that waits for one CI job on the run's build."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from rdo_promoter.errors import ConfigError, PermanentError
from rdo_promoter.model.build import build_from_json
from rdo_promoter.triggers.dlrn import LabelsSource, VotesSource, Where
from rdo_promoter.triggers.feed import Feed, join
from rdo_promoter.triggers.names import REASON_KEY
from rdo_promoter.triggers.outcome import End, Labels, Outcome, Votes, Wait

#: Labels move once in hours, votes come in all the time.
LABEL_POLLS = 4


class JobTrigger(BaseTrigger):
    """Waits until a CI job has passed on a build, and ends the task without a worker.

    How the task ends:

    - passed: success. An alternative passed, the build is superseded or displaced, or this is a dry run:
      skipped, with the reason in XCom.
    - failed: failed, with retries left. The task is up for retry, amber in the grid, and the next try looks
      again. A try costs a log file, so the pause between two is minutes. Waiting here for a newer vote
      would notice a rerun sooner, but show a failed job like one that has not voted.
    - too late, or there is no build: failed for good. An event that ends a task in the triggerer leads to a
      retry as long as there are any (Airflow 3.3: ``handle_event_submit``), so this one alone resumes the
      task on a worker, which fails it.
    - DLRN or its Connection need a person: as failed, with the message in the log.

    A DLRN that does not answer fails nobody: nothing can be decided without it, the deadline neither.

    :param dlrn_conn_id: Connection of type ``dlrn``.
    :param repo_url: DLRN's repository tree.
    :param build: the run's build as JSON; templated.
    :param job: the CI job.
    :param alternatives: jobs that may stand in for it, in order of preference.
    :param stage_jobs: all jobs of the stage, alternatives among them.
    :param candidate_label: the label that CI tests.
    :param promoted_label: the label that the stage promotes to, None when it promotes to none.
    :param since: when the build got the candidate label, seconds since the epoch; templated.
    :param within: seconds after that until the job has to have passed.
    :param poll: seconds between two questions for votes.
    :param is_dry_run: do not wait, end by what is known; templated.
    """

    def __init__(
        self,
        *,
        dlrn_conn_id: str,
        repo_url: str,
        build: str,
        job: str,
        alternatives: Sequence[str] = (),
        stage_jobs: Sequence[str] = (),
        candidate_label: str,
        promoted_label: str | None,
        since: str | int,
        within: float,
        poll: float,
        is_dry_run: str | bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no annotations
        self.dlrn_conn_id = dlrn_conn_id
        self.repo_url = repo_url
        self.build = build
        self.job = job
        self.alternatives = list(alternatives)
        self.stage_jobs = list(stage_jobs)
        self.candidate_label = candidate_label
        self.promoted_label = promoted_label
        self.since = since
        self.within = within
        self.poll = poll
        self.is_dry_run = is_dry_run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made from again."""
        names = ("dlrn_conn_id", "repo_url", "build", "job", "alternatives", "stage_jobs")
        more = ("candidate_label", "promoted_label", "since", "within", "poll", "is_dry_run")
        return f"{__name__}.JobTrigger", {name: getattr(self, name) for name in (*names, *more)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event that ends the task."""
        try:
            wait = read_wait(
                build=self.build,
                job=self.job,
                alternatives=self.alternatives,
                stage_jobs=self.stage_jobs,
                since=self.since,
                within=self.within,
                is_dry_run=self.is_dry_run,
            )
        except ConfigError as error:
            yield event(Outcome(End.REFUSED, self.job, str(error)))
            return
        try:
            outcome = await self._end_of(wait)
        except PermanentError as error:
            outcome = Outcome(End.FAILED, self.job, f"{type(error).__name__}: {error}")
        self.log.info("%s %s: %s %s", wait.build.short, self.job, outcome.reason, outcome.url)
        yield event(outcome)

    async def _end_of(self, wait: Wait) -> Outcome:
        bell = asyncio.Event()
        silent = False
        with self._votes(wait, bell) as votes, self._labels(bell) as labels:
            self.log.info("%s waiting for %s until %s", wait.build.short, self.job, wait.until)
            while True:
                if failure := votes.failure or labels.failure:
                    raise failure
                if votes.answer is not None and (outcome := wait.outcome(votes.answer, labels.answer)):
                    return outcome
                error = votes.error or labels.error
                if error is not None and not silent:
                    self.log.warning("%s %s; waiting goes on", wait.build.short, error)
                elif error is None and silent:
                    self.log.info("%s DLRN answers again", wait.build.short)
                silent = error is not None
                await bell.wait()
                bell.clear()

    def _votes(self, wait: Wait, bell: asyncio.Event) -> AbstractContextManager[Feed[Votes]]:
        return join(
            ("votes", self._where, wait.build),
            VotesSource(self._where, wait.build),
            service=self.dlrn_conn_id,
            name=f"{wait.build.short} votes in {self.dlrn_conn_id}",
            poll=self.poll,
            bell=bell,
        )

    def _labels(self, bell: asyncio.Event) -> AbstractContextManager[Feed[Labels]]:
        return join(
            ("labels", self._where),
            LabelsSource(self._where),
            service=self.dlrn_conn_id,
            name=f"{self.candidate_label} and {self.promoted_label} in {self.dlrn_conn_id}",
            poll=self.poll * LABEL_POLLS,
            bell=bell,
        )

    @property
    def _where(self) -> Where:
        return Where(self.dlrn_conn_id, self.repo_url, self.candidate_label, self.promoted_label)


def read_wait(
    *,
    build: str,
    job: str,
    alternatives: Sequence[str],
    stage_jobs: Sequence[str],
    since: str | int,
    within: float,
    is_dry_run: str | bool,
) -> Wait:
    """Read what templates have left as text.

    :raises ConfigError: when there is no build or no time: an XCom that is missing becomes ``None``.
    """
    try:
        parsed = build_from_json(json.loads(build))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{job}: the run's build is not known, the task that pins it left {build!r}; "
            "clear that task together with what follows it"
        ) from error
    try:
        entered = int(since)
    except ValueError as error:
        raise ConfigError(
            f"{job}: it is not known since when {parsed} is a candidate, the task that admits it left "
            f"{since!r}; clear that task together with what follows it"
        ) from error
    return Wait(
        build=parsed,
        job=job,
        alternatives=tuple(alternatives),
        stage_jobs=frozenset(stage_jobs),
        since=entered,
        within=int(within),
        dry_run=str(is_dry_run).lower() == "true",
    )


def event(outcome: Outcome) -> TriggerEvent:
    """Return what ends, or in two cases resumes, the task."""
    xcoms = {"return_value": outcome.to_json()}
    match outcome.end:
        case End.PASSED:
            return TaskSuccessEvent(xcoms=xcoms)
        case End.FAILED:
            return TaskFailedEvent(xcoms=xcoms)
        case End.EXPIRED | End.REFUSED:
            return TriggerEvent(outcome.to_json())  # type: ignore[no-untyped-call]  # as above
        case _:
            return TaskSkippedEvent(xcoms=xcoms | {REASON_KEY: outcome.reason})
