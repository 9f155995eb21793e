"""What a CI system tells: runs, buildsets, what is in a pipeline now, and what that says of a job. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import utc
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.text import one_line

#: Zuul's words for how a run ended, as far as they mean something here.
SUCCESS, SKIPPED, DEQUEUED = "SUCCESS", "SKIPPED", "DEQUEUED"

#: Seconds that the clocks of a CI system and of DLRN may be apart.
SLACK = 60


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline that tests what a candidate label names.

    :param name: Zuul's name of it.
    :param promote_job: the job by which it moves the label; None when that is the job that all others of a
        buildset wait for.
    """

    name: str
    promote_job: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One run of a CI job. Zuul says build; here a build is what a hash names.

    :param uuid: 32 hex digits.
    :param job: the job's name.
    :param result: Zuul's word for how it ended; None while it runs, and for ever when it was dequeued.
    :param started: seconds since the epoch, None before.
    :param ended: seconds since the epoch, None before.
    :param pipeline: the pipeline that it runs in.
    :param buildset: uuid of the buildset that it is part of.
    :param voting: whether the buildset fails when it fails.
    :param final: False for an attempt that Zuul made once more.
    :param project: the project that it runs for.
    :param branch: the branch that it runs for.
    :param change: the proposed change that it tests, None for a periodic run.
    :param log_url: where its log is, empty when there is none.
    :param index: its number in Zuul's database, None when this Zuul does not tell.
    """

    uuid: str
    job: str
    result: str | None = None
    started: int | None = None
    ended: int | None = None
    pipeline: str = ""
    buildset: str = ""
    voting: bool = True
    final: bool = True
    project: str = ""
    branch: str = ""
    change: str | None = None
    log_url: str = ""
    index: int | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended: a run that was dequeued has no result either, but an end."""
        return self.result is None and self.ended is None

    @property
    def passed(self) -> bool:
        """Whether it ended well, and is not an attempt that was made once more."""
        return self.result == SUCCESS and self.final

    @property
    def outcome(self) -> str:
        """Zuul's word for how it ended; for a run that was dequeued that of its buildset."""
        return self.result or DEQUEUED


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildset:
    """Runs of a pipeline that began with one event.

    :param uuid: 32 hex digits.
    :param pipeline: the pipeline.
    :param result: Zuul's word for how it ended, None while it has not.
    :param runs: its runs; empty in a list of buildsets.
    """

    uuid: str
    pipeline: str
    result: str | None = None
    runs: tuple[JobRun, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJob:
    """A job of something that is in a pipeline now: best effort, Zuul calls the format unstable.

    :param job: the job's name.
    :param item: number of what it belongs to; jobs of one buildset have the same.
    :param uuid: of its run, None before it has one.
    :param queued: when what it belongs to entered the pipeline, seconds since the epoch; None if unknown.
    :param started: seconds since the epoch, None before.
    :param remaining: seconds until it is likely to end, None if unknown.
    :param result: how it ended, None before.
    """

    job: str
    item: int
    uuid: str | None = None
    queued: int | None = None
    started: int | None = None
    remaining: int | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of a pipeline.

    :param runs: its runs, the newest of them at least.
    :param live: the jobs of what is in it now.
    :param problem: why CI's answer is missing, empty when it is there; then runs and live are empty.
    """

    runs: tuple[JobRun, ...] = ()
    live: tuple[LiveJob, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Tenure:
    """The time for which a candidate label named a build: CI tests what it names when a job starts.

    :param entered: the build's newest entry, seconds since the epoch.
    :param left: the next build's entry, None while the label names ours.
    :param before: the entry of the build before, None when there was none.
    """

    entered: int
    left: int | None = None
    before: int | None = None

    def had(self, started: int) -> bool:
        """Tell whether a job that started then may have tested the build, as far as clocks allow.

        :param started: seconds since the epoch, by the CI system's clock.
        """
        return started >= self.entered - SLACK and (self.left is None or started < self.left + SLACK)


class CiState(StrEnum):
    """What CI knows of a job that has not voted.

    - ``running``; ``queued``: it will run.
    - ``skipped``: it will not, because a job that it needs did not pass.
    - ``due``: it passed, and its vote may come any moment.
    - ``lost``: it passed, and no vote came.
    - ``failed``: it ended otherwise, and no vote came.
    - ``missing``: CI knows of no run of it on the build.
    """

    RUNNING = "running"
    QUEUED = "queued"
    SKIPPED = "skipped"
    DUE = "due"
    LOST = "lost"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class CiJob:
    """What CI knows of one job that has not voted on a build.

    :param job: the job.
    :param state: what is known.
    :param since: since when, seconds since the epoch; None if unknown.
    :param until: when it is likely to end (running), or its vote to be taken for lost (due).
    :param url: where its log is, empty when there is none.
    :param result: Zuul's word for how it ended, empty before.
    :param inferred: whether no vote has confirmed yet that CI tested this build.
    """

    job: str
    state: CiState
    since: int | None = None
    until: int | None = None
    url: str = ""
    result: str = ""
    inferred: bool = False

    def __str__(self) -> str:
        match self.state:
            case CiState.RUNNING:
                text = "running in CI" + (f", about until {utc(self.until)}" if self.until else "")
            case CiState.DUE:
                text = "passed in CI, its vote is due"
            case CiState.LOST:
                text = "passed in CI, but its vote was lost"
            case CiState.FAILED:
                text = f"ended in CI as {one_line(self.result, limit=40)} without a vote"
            case CiState.MISSING:
                text = "CI knows of no run"
            case _:
                text = f"{self.state} in CI"
        return f"{text} (inferred)" if self.inferred else text


def tenure(rows: Iterable[PromotionRow], build: Build) -> Tenure | None:
    """Return the time for which a label named a build last; None when it never did.

    :param rows: the label's rows in DLRN's order, newest first.
    """
    entered: int | None = None
    left: int | None = None
    for row in rows:
        if row.build == build:
            entered = row.timestamp if entered is None else entered
        elif entered is None:
            left = row.timestamp
        else:
            return Tenure(entered, left, row.timestamp)
    return None if entered is None else Tenure(entered, left)
