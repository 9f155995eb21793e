"""What the operators that start a job of their own have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from rdo_promoter.errors import PermanentError, PromoterError, ServiceError
from rdo_promoter.model.build import Build
from rdo_promoter.model.jobs import (
    ID_NAME,
    End,
    Ended,
    Memory,
    Told,
    job_id,
    read_memory,
    take_up,
)
from rdo_promoter.operators.base import PromoterOperator, Result, fail, is_dry_run, run_build

#: Where the task's store has what is remembered of its job.
_JOB = "job"

#: Lines of a job's output that the task's own log repeats.
_SHOWN = 200


@dataclass(frozen=True)
class Work:
    """A job of a task.

    :param id: the job's id.
    :param told: what it may be told.
    :param memory: what is remembered of it.
    """

    id: str
    told: Told
    memory: Memory

    @property
    def build(self) -> Build:
        """The run's build."""
        return self.told.build


class StartedJobOperator(PromoterOperator):
    """Starts a job for the run's build, once, and waits for its end without a worker.

    Killed at any point and tried again it finds its job by an id that no other job has. Its end counts only
    when the job says that it was for this build.

    :param conn_id: Connection to what runs the job.
    :param tested_label: the label that CI tests, which the job may be told.
    :param within: seconds that the job may take.
    :param report_vote: the CI job as which its result is reported to DLRN, None to report nothing.
    :param poll: seconds between two looks.
    """

    ui_color = "#f3ecf8"

    #: What people call such a job.
    noun: ClassVar[str] = "job"
    #: Seconds after an unanswered start in which it may still be carried out without being seen.
    quiet: ClassVar[int] = 0

    def __init__(
        self,
        *,
        conn_id: str,
        tested_label: str,
        within: int,
        report_vote: str | None = None,
        poll: float = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.tested_label = tested_label
        self.within = within
        self.report_vote = report_vote
        self.poll = poll

    # --- what a kind of job is ---

    @abstractmethod
    def plan(self, work: Work) -> str:
        """Say what is started."""

    @abstractmethod
    def check(self) -> None:
        """Ask about everything that can be asked without changing anything; the stage's start does so, too.

        :raises PermanentError: when the job could not be started.
        """

    @abstractmethod
    def find(self, work: Work) -> str | None:
        """Return where the job is, None when there is none."""

    @abstractmethod
    def start(self, context: Context, work: Work) -> str:
        """Start the job and return where it is."""

    @abstractmethod
    def look(self, context: Context, work: Work, *, lost: bool) -> Ended | None:
        """Return how the job has ended, None while it runs.

        :param lost: the trigger has looked often enough to say that nobody knows of it.
        """

    @abstractmethod
    def wait(self, work: Work, until: int) -> None:
        """Defer until the job needs the task again.

        :param until: seconds since the epoch.
        """

    def tidy(self, work: Work) -> None:
        """Remove what a job that has ended leaves behind."""

    # --- what all of them do ---

    def act(self, context: Context) -> Result | None:
        """Find the job or start it, then wait for it."""
        work = self._work(context)
        build = work.build
        if is_dry_run(context):
            self.check()
            self.log.info("%s dry run: would start %s", build.short, self.plan(work))
            if self.report_vote:
                self.log.info("%s dry run: would report its result as %s", build.short, self.report_vote)
            return {"dry_run": True}
        if work.memory.ended is not None:
            return self._settled(context, work)
        handle = self.find(work)
        if handle is not None:
            self.log.info("%s goes on with %s %s", build.short, self.noun, work.id)
        else:
            self._check_quiet(work)
            self.log.info("%s starting %s", build.short, self.plan(work))
            # Before the start: killed right after it, the next try knows that there may be one.
            work = self._remember(context, work, asked=now())
            handle = self.start(context, work)
            self.log.info("%s %s %s was started", build.short, self.noun, work.id)
        return self._follow(context, self._remember(context, work, handle=handle))

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> Result | None:
        """Look at the job after the trigger has rung.

        :param event: where the job is by now, and whether nobody knows of it.
        """
        told = event or {}

        def follow() -> Result | None:
            work = self._work(context)
            if work.memory.ended is not None:
                return self._settled(context, work)
            if handle := str(told.get("handle") or ""):
                work = self._remember(context, work, handle=handle)
            return self._follow(context, work, lost=bool(told.get("lost")))

        return self._guarded(context, follow)

    def on_kill(self) -> None:
        """Leave the job alone: a worker that is stopped says nothing about it, and the next try finds it."""

    def _guarded(self, context: Context, act: Callable[[], Result | None]) -> Result | None:
        try:
            return act()
        except PermanentError as error:
            raise fail(context, f"{type(error).__name__}: {error}") from error

    def _work(self, context: Context) -> Work:
        """Return the job that this try is about."""
        build, ti = run_build(context), context["ti"]
        memory = take_up(
            read_memory(context["task_state_store"].get(_JOB)),
            build.full_hash,
            life=int(ti.max_tries),
            now=now(),
        )
        named = job_id(ti.dag_id, ti.run_id, ti.task_id, memory)
        return Work(named, Told(build, self.tested_label, self.services.repo_url), memory)

    def _remember(self, context: Context, work: Work, **changes: Any) -> Work:
        work = replace(work, memory=replace(work.memory, **changes))
        context["task_state_store"].set(_JOB, dict(work.memory.to_json()), retention=NEVER_EXPIRE)
        return work

    def _check_quiet(self, work: Work) -> None:
        asked = work.memory.asked
        if asked is not None and now() - asked < self.quiet:
            raise ServiceError(
                f"{work.build.short} {self.noun} {work.id} was asked for {now() - asked} s ago without an "
                f"answer and is not there; it is asked for again after {self.quiet} s, for it may still come"
            )

    def _follow(self, context: Context, work: Work, *, lost: bool = False) -> Result | None:
        ended = self.look(context, work, lost=lost)
        if ended is not None:
            return self._finish(context, work, ended)
        until = work.memory.since + self.within
        if now() >= until:
            raise self._late(context, work)
        self.wait(work, until)
        return None

    def _late(self, context: Context, work: Work) -> AirflowFailException:
        return fail(
            context,
            f"{work.build.short} {self.noun} {work.id} has not ended within {self.within} s. It was left "
            "running: clear this task to wait for it as long again; or end it where it runs first, then "
            "clearing this task twice starts another one",
        )

    def _finish(self, context: Context, work: Work, ended: Ended) -> Result | None:
        """Do all that follows from the end of a job, and remember that it was done last of all."""
        self.log.info("%s %s %s: %s %s", work.build.short, self.noun, work.id, ended.reason, ended.url)
        if self.report_vote and ended.end in (End.PASSED, End.FAILED):
            self._vote(self.report_vote, work, ended)
        work = self._remember(context, work, ended=ended)
        try:
            self.tidy(work)
        except PromoterError as error:
            self.log.warning("%s %s; remove it there", work.build.short, error)
        return self._settled(context, work)

    def _settled(self, context: Context, work: Work) -> Result:
        """End the task as its job has ended."""
        ended = work.memory.ended
        assert ended is not None, "only called then"
        if ended.end is not End.PASSED:
            raise fail(
                context,
                f"{work.build.short} {self.noun} {work.id} {ended.end}: {ended.reason} {ended.url}".rstrip()
                + "; clear this task to start another one",
            )
        return {"id": work.id, "end": str(ended.end), "url": ended.url, "vote": self.report_vote}

    def _vote(self, job: str, work: Work, ended: Ended) -> None:
        """Report the result, unless an earlier try has: its vote is known by the job's id in its notes."""
        dlrn, build, notes = self.services.dlrn, work.build, f"{ID_NAME}={work.id}"
        success = ended.end is End.PASSED
        for vote in dlrn.votes(build):
            if (vote.job, vote.notes, vote.in_progress) == (job, notes, False):
                self.log.info("%s %s was reported before", build.short, job)
                return
        dlrn.report_vote(build, job, success, ended.url, notes=notes)
        self.log.info("%s reported %s: %s", build.short, job, "passed" if success else "failed")

    def _show(self, work: Work, lines: list[str]) -> None:
        """Repeat the end of a job's output in the task's log."""
        if len(lines) > _SHOWN:
            self.log.info("%s the last %d of %d lines:", work.build.short, _SHOWN, len(lines))
        for line in lines[-_SHOWN:]:
            self.log.info("[%s] %s", self.noun, line)


def now() -> int:
    """Return this machine's time, seconds since the epoch: the limit of a job is this package's own."""
    return int(time.time())
