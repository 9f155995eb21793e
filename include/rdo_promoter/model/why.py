"""Why is a build not promoted? One table: each required job, what is known of it, and what would help. Pure.

Job names are those of the release file. Everything else was written by other systems or by people, so it is
printed as one line each, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rdo_promoter.model.ci import CiJob, CiState
from rdo_promoter.model.clock import utc
from rdo_promoter.model.text import one_line
from rdo_promoter.model.unblock import smallest_set
from rdo_promoter.model.verdict import Criteria, JobResult, JobState, Verdict

#: How many earlier results of a job are told.
RESULTS = 5

#: What CI is at work on needs no rerun.
_UNDER_WAY = frozenset({CiState.RUNNING, CiState.QUEUED, CiState.DUE})


class Health(StrEnum):
    """What earlier builds say of a job; empty when they say too little."""

    PASSING = "passing"
    FLAKY = "flaky"
    BROKEN = "broken"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A required job's line.

    :param job: the job.
    :param state: the verdict's word; of a job without a vote CI's, where it knows more.
    :param blocking: whether it stands in the way.
    :param since: when the vote came, or what CI says began; seconds since the epoch, None if unknown.
    :param url: the log, empty when there is none.
    :param reason: which alternative, which waiver, or what CI says; may be empty.
    :param results: whether it passed on earlier builds, the newest first.
    :param under_way: CI is at work on it.
    :param inferred: no vote has confirmed yet that CI's word is about this build.
    """

    job: str
    state: str
    blocking: bool
    since: int | None = None
    url: str = ""
    reason: str = ""
    results: tuple[bool, ...] = ()
    under_way: bool = False
    inferred: bool = False

    @property
    def health(self) -> Health:
        """What its earlier results say."""
        if len(self.results) < 2:
            return Health.UNKNOWN
        if all(self.results):
            return Health.PASSING
        return Health.FLAKY if any(self.results) else Health.BROKEN


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and what it was judged by.

    :param criteria: what has to pass.
    :param verdict: the result.
    :param by_votes: whether votes decide; a rerun is no part of a buildset that does.
    """

    criteria: Criteria
    verdict: Verdict
    by_votes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """How a build stands in a stage, and what would help.

    :param stage: the stage's name.
    :param full_hash: the build.
    :param label: the candidate label.
    :param since: when the label came to the build, seconds since the epoch; None when it never did.
    :param steps: the rows of each step that waits.
    :param obstacles: what else is in the way; one line each.
    :param notes: what a person should know, though it is in nobody's way.
    :param unblock: the fewest jobs whose passing would let the build through.
    :param rerun: those of them that nobody is at work on.
    """

    stage: str
    full_hash: str
    label: str
    since: int | None
    steps: Mapping[str, tuple[Row, ...]]
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unblock: tuple[str, ...] = ()
    rerun: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether nothing is in the way. A stage that waits for nothing says nothing of a build."""
        jobs = [row for rows in self.steps.values() for row in rows]
        return bool(jobs) and not self.obstacles and not any(row.blocking for row in jobs)

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON values; texts as they are, JSON escapes them."""
        return {
            "stage": self.stage,
            "hash": self.full_hash,
            "candidate_label": self.label,
            "since": at(self.since),
            "met": self.met,
            "steps": [
                {"name": name, "jobs": [_json(row) for row in rows]} for name, rows in self.steps.items()
            ],
            "obstacles": list(self.obstacles),
            "notes": list(self.notes),
            "unblock": list(self.unblock),
            "rerun": list(self.rerun),
            "testproject": "\n".join(rerun_change(self.rerun, self.full_hash)),
        }

    def lines(self) -> Iterator[str]:
        """Yield the table as people read it."""
        since = "never" if self.since is None else f"since {at(self.since) or 'nobody knows when'}"
        yield f"stage {self.stage}: {self.full_hash} ({self.label} {since})"
        for name, rows in self.steps.items():
            done = sum(not row.blocking for row in rows)
            yield f"  {name}: {'met' if done == len(rows) else 'not met'}, {done} of {len(rows)} jobs"
            yield from _table(rows)
        yield from (f"  in the way: {one_line(line)}" for line in self.obstacles)
        yield from (f"  note: {one_line(line)}" for line in self.notes)
        if self.met:
            yield "  -> nothing is in the way"
            return
        if waited := [job for job in self.unblock if job not in self.rerun]:
            yield f"  -> have to pass, and CI may still let them: {', '.join(waited)}"
        if self.rerun:
            yield f"  -> have to pass, and need a rerun: {', '.join(self.rerun)}"
            yield "     to rerun on this build, in .zuul.yaml of a testproject change:"
            yield ""
            yield from rerun_change(self.rerun, self.full_hash)


def explain(
    steps: Mapping[str, Judged], ci: Mapping[str, CiJob], past: Mapping[str, Sequence[bool]]
) -> tuple[Mapping[str, tuple[Row, ...]], tuple[str, ...], tuple[str, ...]]:
    """Return the rows of each step, the smallest set that would unblock the build, and what of it to rerun.

    :param steps: the verdicts by the step that waits.
    :param ci: what CI knows of jobs without a vote, alternatives among them.
    :param past: whether a job passed on earlier builds, the newest first.
    """
    rows = {
        name: tuple(_row(result, ci, past.get(result.job, ())) for result in judged.verdict.results)
        for name, judged in steps.items()
    }
    blocking = {
        result.job: judged.criteria.alternatives.get(result.job, ())
        for judged in steps.values()
        for result in judged.verdict.blocking
    }
    unblock = smallest_set(blocking)
    voted = frozenset[str]().union(*(each.criteria.known_jobs for each in steps.values() if each.by_votes))
    rerun = tuple(job for job in unblock if job in voted and not _under_way(ci.get(job)))
    return rows, unblock, rerun


def rerun_change(jobs: Iterable[str], full_hash: str) -> Iterator[str]:
    """Yield the lines of a ``.zuul.yaml`` that reruns jobs on a build.

    Source: "Chasing CI promotions" of TripleO's documentation. The hash is quoted, some would be numbers.

    :param jobs: the jobs; without any, nothing is yielded.
    :param full_hash: the build.
    """
    named = list(jobs)
    if not named:
        return
    yield from ("- project:", "    check:", "      jobs:")
    for job in named:
        yield f"        - {job}:"
        yield "            vars:"
        yield "              force_periodic: true"
        yield "              featureset_override:"
        yield f"                dlrn_hash_tag: '{full_hash}'"


def at(seconds: int | None) -> str | None:
    """Write a time that another system wrote down; None stays None, and so does what is no time."""
    if seconds is None:
        return None
    try:
        return utc(seconds)
    except (ValueError, OverflowError, OSError):
        return None


def _row(result: JobResult, ci: Mapping[str, CiJob], past: Sequence[bool]) -> Row:
    vote = result.vote
    since, url = (vote.timestamp, vote.url) if vote else (None, "")
    results = tuple(past)[:RESULTS]
    match result.state:
        case JobState.REPLACED:
            reason = f"{vote.job} stands in" if vote else ""
        case JobState.WAIVED:
            reason = str(result.waiver)
        case JobState.MISSING if (known := ci.get(result.job)) and known.state is not CiState.MISSING:
            return Row(
                result.job,
                str(known.state),
                blocking=True,
                since=known.since,
                url=known.url,
                reason=str(known),
                results=results,
                under_way=_under_way(known),
                inferred=known.inferred,
            )
        case _:
            reason = vote.notes if vote else ""
    if result.still_open:
        others = ", ".join(result.still_open)
        reason = f"{reason}; {others} may stand in" if reason else f"{others} may stand in"
    return Row(result.job, str(result.state), not result.met, since, url, reason, results)


def _under_way(known: CiJob | None) -> bool:
    return known is not None and known.state in _UNDER_WAY


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the rows, what blocks first."""
    cells = [
        (
            "!" if row.blocking else " ",
            row.state,
            row.job,
            at(row.since) or "",
            "".join("+" if passed else "-" for passed in row.results),
            str(row.health),
            one_line("  ".join(text for text in (row.reason, row.url) if text)),
        )
        for row in sorted(rows, key=lambda row: not row.blocking)
    ]
    widths = [max((len(line[column]) for line in cells), default=0) for column in range(6)]
    for line in cells:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=False))
        yield f"    {'  '.join((*padded, line[6]))}".rstrip()


def _json(row: Row) -> dict[str, object]:
    return {
        "job": row.job,
        "state": row.state,
        "blocking": row.blocking,
        "since": at(row.since),
        "url": row.url,
        "reason": row.reason,
        "results": ["passed" if passed else "failed" for passed in row.results],
        "health": str(row.health),
        "under_way": row.under_way,
        "inferred": row.inferred,
    }
