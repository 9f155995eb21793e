"""Which runs of a CI system are about a build, and what they say of jobs that have not voted. Pure.

Only votes in DLRN satisfy criteria: what is told here is for people. A periodic run in Zuul names no build,
so that it is about ours is inferred, until a vote on our build names one run of the same buildset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from statistics import median_low
from urllib.parse import urlsplit

from rdo_promoter.model.ci import SKIPPED, SLACK, SUCCESS, CiJob, CiState, JobRun, LiveJob, Sighting, Tenure
from rdo_promoter.model.votes import Vote

#: Seconds from the end of a job that passed until its vote is taken for lost.
LOST_AFTER = 600

#: How many digits of a run's uuid stand at the end of its vote's address.
_UUID_DIGITS = 7


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
    runs = _near(seen.runs, held)
    confirmed = _confirmed(runs, results, held)
    ours = confirmed or _carriers(runs, held, promote_job)
    if not confirmed and len(ours) > 1:
        ours = frozenset()  # nobody can tell which of them is about this build
    items = _items(runs, seen.live, ours)
    return {
        job: _look(
            job, runs, before=seen.runs, ours=ours, live=items, held=held, now=now, inferred=not confirmed
        )
        for job in jobs
        if job not in voted
    }


def _near(runs: Iterable[JobRun], held: Tenure) -> list[JobRun]:
    """Return the periodic runs of buildsets that were at work when the label named the build, or later.

    Many wait for a few builds, and a pipeline has the runs of many.
    """
    periodic = [run for run in runs if run.change is None]
    earliest = held.entered - SLACK
    sets = {run.buildset for run in periodic if run.ended is None or run.ended >= earliest}
    return [run for run in periodic if run.buildset in sets]


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
    *,
    before: Iterable[JobRun],
    ours: Collection[str],
    live: Mapping[str, LiveJob],
    held: Tenure,
    now: int,
    inferred: bool,
) -> CiJob:
    """Return what CI knows of one job.

    :param runs: runs near the build's time as a candidate.
    :param before: all runs, which tell how long the job usually takes.
    """
    tried = [
        run for run in runs if run.job == job and run.buildset in ours and run.final and _tested(run, held)
    ]
    run = max(tried, key=lambda run: (run.started or 0, run.index or 0, run.uuid), default=None)
    alive = live.get(job)
    if run is None:
        return _before(job, alive, held, now=now, inferred=inferred)
    if run.running:
        until = _end(run, alive, (each for each in before if each.job == job), now=now)
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
