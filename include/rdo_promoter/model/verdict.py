"""Do the votes on a build meet a stage's criteria? Pure: criteria and votes in, a verdict out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rdo_promoter.model.votes import Vote, counting_votes


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a build has to pass.

    :param jobs: CI jobs, each of which has to pass.
    :param alternatives: for a job, the jobs that may stand in for it, in order of preference.
    """

    jobs: tuple[str, ...]
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def known_jobs(self) -> frozenset[str]:
        """Every job whose vote can count: the required ones and their alternatives."""
        return frozenset(self.jobs).union(*self.alternatives.values())


class JobState(StrEnum):
    """What is known of one required job on one build."""

    PASSED = "passed"
    REPLACED = "replaced"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class JobResult:
    """One required job's part of a verdict.

    :param job: the required job.
    :param state: what is known of it.
    :param vote: the vote that decided (the alternative's when replaced), None when missing.
    """

    job: str
    state: JobState
    vote: Vote | None = None

    @property
    def met(self) -> bool:
        """Whether the job no longer stands in the way."""
        return self.state in (JobState.PASSED, JobState.REPLACED)

    def __str__(self) -> str:
        match self.state, self.vote:
            case JobState.REPLACED, Vote(job=stand_in):
                return f"{self.job}: replaced by {stand_in}"
            case JobState.FAILED, Vote(url=url) if url:
                return f"{self.job}: failed, {url}"
            case _:
                return f"{self.job}: {self.state}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of criteria and votes: each required job, in the criteria's order."""

    results: tuple[JobResult, ...]

    @property
    def met(self) -> bool:
        """Whether every required job passed or was replaced. No criteria are never met."""
        return bool(self.results) and all(result.met for result in self.results)

    def in_state(self, *states: JobState) -> tuple[JobResult, ...]:
        """Return the results in one of the states."""
        return tuple(result for result in self.results if result.state in states)

    @property
    def blocking(self) -> tuple[JobResult, ...]:
        """What stands in the way: failed jobs first, then missing ones."""
        return (*self.in_state(JobState.FAILED), *self.in_state(JobState.MISSING))

    def summary(self) -> str:
        """Say in one line how many jobs passed, and which do not let the build through."""
        done = sum(result.met for result in self.results)
        text = f"{done} of {len(self.results)} jobs passed"
        return text + "".join(f"; {result}" for result in self.blocking)


def judge_job(job: str, alternatives: Iterable[str], newest: Mapping[str, Vote]) -> JobResult:
    """Judge one required job.

    Its own newest vote decides when it passed; otherwise the first alternative whose newest vote passed
    stands in for it. Nothing is shared between calls, so a substitution never leaks to another build.

    :param newest: the vote that counts for each job, from `counting_votes`.
    """
    own = newest.get(job)
    if own is not None and own.success:
        return JobResult(job, JobState.PASSED, own)
    for alternative in alternatives:
        vote = newest.get(alternative)
        if vote is not None and vote.success:
            return JobResult(job, JobState.REPLACED, vote)
    if own is not None:
        return JobResult(job, JobState.FAILED, own)
    return JobResult(job, JobState.MISSING)


def judge(criteria: Criteria, votes: Iterable[Vote]) -> Verdict:
    """Judge a build by its votes.

    :param criteria: what has to pass.
    :param votes: all rows that DLRN has for exactly this build.
    """
    newest = counting_votes(votes)
    return Verdict(tuple(judge_job(job, criteria.alternatives.get(job, ()), newest) for job in criteria.jobs))
