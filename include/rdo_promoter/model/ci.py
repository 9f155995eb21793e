"""What a CI system knows of jobs that have not voted, inferred. Pure.

Only votes in DLRN satisfy criteria. What is told here is for people: is the job running, did it end without
a vote, or does nobody know of it? A periodic run in Zuul names no build, so that it is ours is inferred,
until a vote on our build names one run of the same buildset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median_low
from urllib.parse import urlsplit

from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import utc
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.text import one_line
from rdo_promoter.model.votes import Vote

#: Zuul's words for how a run ended, as far as they mean something here.
SUCCESS, SKIPPED, DEQUEUED = "SUCCESS", "SKIPPED", "DEQUEUED"

#: Seconds from the end of a job that passed until its vote is taken for lost.
LOST_AFTER = 600

#: Seconds that the clocks of a CI system and of DLRN may be apart.
SLACK = 60

#: How many digits of a run's uuid stand at the end of its vote's address.
_UUID_DIGITS = 7


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


def infer(
    jobs: Iterable[str],
    votes: Iterable[Vote],
    held: Tenure,
    seen: Sighting,
    *,
    now: int,
    promote_job: str | None = None,
) -> Mapping[str, CiJob]:
    """Return what CI knows of the jobs that have not voted; nothing when CI does not answer.

    :param jobs: the jobs that are of interest.
    :param votes: all votes on the build.
    :param held: for which time the candidate label named the build.
    :param seen: the pipeline that tests what the label names.
    :param now: DLRN's time, seconds since the epoch.
    :param promote_job: as in `Pipeline`.
    """
    if seen.problem:
        return {}
    results = [vote for vote in votes if not vote.in_progress]
    voted = {vote.job for vote in results}
    runs = [run for run in seen.runs if run.change is None]
    confirmed = _confirmed(runs, results, held)
    ours = confirmed or _carriers(runs, held, promote_job)
    if not confirmed and len(ours) > 1:
        ours = frozenset()  # nobody can tell which of them is about this build
    items = _items(runs, seen.live, ours)
    return {
        job: _look(job, runs, ours, items, held, now=now, inferred=not confirmed)
        for job in jobs
        if job not in voted
    }


def names_run(vote: Vote, run: JobRun) -> bool:
    """Tell whether a vote is of a run: same job, and its address ends in the beginning of the run's uuid.

    The host says nothing: logs move. Source: measured on RDO's votes and builds.
    """
    try:
        path = urlsplit(vote.url).path
    except ValueError:  # no address at all
        return False
    return vote.job == run.job and path.rstrip("/").rpartition("/")[2] == run.uuid[:_UUID_DIGITS]


def carried(run: JobRun, held: Tenure) -> bool:
    """Tell whether a run that passed is the one that moved the candidate label to the build.

    It is when DLRN's row was written while it ran, and no other build's row was.
    """
    if not run.passed or run.started is None or run.ended is None:
        return False
    first, last = run.started - SLACK, run.ended + SLACK
    others = [time for time in (held.before, held.left) if time is not None]
    return first <= held.entered <= last and not any(first <= time <= last for time in others)


def _confirmed(runs: Collection[JobRun], votes: Collection[Vote], held: Tenure) -> frozenset[str]:
    """Return the buildsets of which a run has voted on the build while the label named it."""
    return frozenset(
        run.buildset
        for run in runs
        if run.started is not None and held.had(run.started) and any(names_run(vote, run) for vote in votes)
    )


def _carriers(runs: Iterable[JobRun], held: Tenure, promote_job: str | None) -> frozenset[str]:
    """Return the buildsets that moved the label to the build."""
    moved = promote_runs(runs, promote_job)
    return frozenset(run.buildset for run in moved.values() if carried(run, held))


def promote_runs(runs: Iterable[JobRun], promote_job: str | None) -> Mapping[str, JobRun]:
    """Return the run of each buildset that moves the candidate label; of some there is none.

    :param runs: runs of any buildsets.
    :param promote_job: as in `Pipeline`.
    """
    sets: dict[str, list[JobRun]] = {}
    for run in runs:
        if run.final and run.started is not None:
            sets.setdefault(run.buildset, []).append(run)
    found = {}
    for buildset, members in sets.items():
        if promote_job is not None:
            named = [run for run in members if run.job == promote_job]
            if len(named) == 1:
                found[buildset] = named[0]
            continue
        first, *others = sorted(members, key=lambda run: (run.started or 0, run.uuid))
        if all(first.ended is not None and (run.started or 0) >= first.ended for run in others):
            found[buildset] = first
    return found


def _items(runs: Iterable[JobRun], live: Iterable[LiveJob], ours: Collection[str]) -> Mapping[str, LiveJob]:
    """Return the live jobs of our buildsets by name: a live item is one of them when it has one's run."""
    uuids = {run.uuid for run in runs if run.buildset in ours}
    known = list(live)
    items = {job.item for job in known if job.uuid in uuids}
    return {job.job: job for job in known if job.item in items}


def _look(
    job: str,
    runs: Iterable[JobRun],
    ours: Collection[str],
    live: Mapping[str, LiveJob],
    held: Tenure,
    *,
    now: int,
    inferred: bool,
) -> CiJob:
    """Return what CI knows of one job."""
    same = [run for run in runs if run.job == job]
    tried = [run for run in same if run.buildset in ours and run.final and _tested(run, held)]
    run = max(tried, key=lambda run: (run.started or 0, run.index or 0, run.uuid), default=None)
    alive = live.get(job)
    if run is None:
        return _before(job, alive, held, now=now, inferred=inferred)
    if run.running:
        until = _end(run, alive, same, now=now)
        return CiJob(job, CiState.RUNNING, run.started, until, run.log_url, inferred=inferred)
    until = None
    if run.result == SUCCESS:
        ended = run.ended if run.ended is not None else now
        until = ended + LOST_AFTER
        state = CiState.LOST if now >= until else CiState.DUE
    else:
        state = CiState.SKIPPED if run.result == SKIPPED else CiState.FAILED
    return CiJob(job, state, run.ended, until, run.log_url, run.outcome, inferred)


def _tested(run: JobRun, held: Tenure) -> bool:
    # A job that was skipped has never started.
    return run.started is None or held.had(run.started)


def _before(job: str, alive: LiveJob | None, held: Tenure, *, now: int, inferred: bool) -> CiJob:
    """Return what CI knows of a job without a run in the list: it may be about to start."""
    if alive is None or alive.result is not None:
        return CiJob(job, CiState.MISSING)
    if alive.started is not None and held.had(alive.started):
        until = None if alive.remaining is None else now + alive.remaining
        return CiJob(job, CiState.RUNNING, alive.started, until, inferred=inferred)
    if alive.started is None and held.left is None:
        return CiJob(job, CiState.QUEUED, alive.queued, inferred=inferred)
    return CiJob(job, CiState.MISSING)  # it will test another build


def _end(run: JobRun, alive: LiveJob | None, same: Iterable[JobRun], *, now: int) -> int | None:
    """Return when a run is likely to end: as Zuul says, or as long as it usually takes."""
    if alive is not None and alive.remaining is not None:
        return now + alive.remaining
    lasted = [
        each.ended - each.started
        for each in same
        if each.passed and each.started is not None and each.ended is not None
    ]
    if run.started is None or not lasted:
        return None
    until = run.started + median_low(lasted)
    return until if until > now else None
