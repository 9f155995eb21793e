"""Do the votes on a build meet a stage's criteria? Pure: criteria and votes in, a verdict out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rdo_promoter.model.votes import Vote, VotePolicy, counting_votes
from rdo_promoter.model.waivers import Waiver


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a build has to pass.

    :param jobs: CI jobs, each of which has to pass.
    :param alternatives: for a job, the jobs that may stand in for it, in order of preference.
    :param policy: which of a job's votes counts.
    :param soak: seconds that the build has to have been a candidate, whatever the votes say.
    """

    jobs: tuple[str, ...]
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    policy: VotePolicy = VotePolicy.NEWEST
    soak: int = 0

    @property
    def known_jobs(self) -> frozenset[str]:
        """Every job whose vote can count: the required ones and their alternatives."""
        return frozenset(self.jobs).union(*self.alternatives.values())


class JobState(StrEnum):
    """What is known of one required job on one build."""

    PASSED = "passed"
    REPLACED = "replaced"
    WAIVED = "waived"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class JobResult:
    """One required job's part of a verdict.

    :param job: the required job.
    :param state: what is known of it.
    :param vote: the vote that decided (the alternative's when replaced), the job's own when waived, None when
        there is none.
    :param waiver: the waiver that counts when waived.
    :param still_open: the alternatives that have not voted: one of them may yet pass in the job's place.
    """

    job: str
    state: JobState
    vote: Vote | None = None
    waiver: Waiver | None = None
    still_open: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the job no longer stands in the way."""
        return self.state in (JobState.PASSED, JobState.REPLACED, JobState.WAIVED)

    @property
    def hopeless(self) -> bool:
        """Whether nothing that is still to come can help: the job failed, and so did all its alternatives."""
        return self.state is JobState.FAILED and not self.still_open

    def __str__(self) -> str:
        match self.state, self.vote, self.waiver:
            case JobState.REPLACED, Vote(job=stand_in), _:
                return f"{self.job}: replaced by {stand_in}"
            case JobState.WAIVED, _, Waiver() as waiver:
                return f"{self.job}: {waiver}"
            case JobState.FAILED, Vote(url=url), _ if url:
                return f"{self.job}: failed, {url}"
            case _:
                return f"{self.job}: {self.state}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of criteria and votes: each required job, in the criteria's order."""

    results: tuple[JobResult, ...]

    @property
    def met(self) -> bool:
        """Whether every required job passed, was replaced or waived. No criteria are never met."""
        return bool(self.results) and all(result.met for result in self.results)

    def in_state(self, *states: JobState) -> tuple[JobResult, ...]:
        """Return the results in one of the states."""
        return tuple(result for result in self.results if result.state in states)

    @property
    def blocking(self) -> tuple[JobResult, ...]:
        """What stands in the way: failed jobs first, then missing ones."""
        return (*self.in_state(JobState.FAILED), *self.in_state(JobState.MISSING))

    @property
    def doomed(self) -> tuple[JobResult, ...]:
        """The jobs that failed for good: only their rerun, or a person, can save the build."""
        return tuple(result for result in self.results if result.hopeless)

    def summary(self) -> str:
        """Say in one line how many jobs passed, which were waived, and which do not let the build through."""
        waived = self.in_state(JobState.WAIVED)
        done = sum(result.met for result in self.results) - len(waived)
        text = f"{done} of {len(self.results)} jobs passed"
        return text + "".join(f"; {result}" for result in (*waived, *self.blocking))


def judge_job(
    job: str, alternatives: Iterable[str], counting: Mapping[str, Vote], waiver: Waiver | None = None
) -> JobResult:
    """Judge one required job.

    Its own vote decides when it passed; otherwise the first alternative that passed stands in for it;
    otherwise a waiver counts. Nothing is shared between calls, so no substitution leaks to another build.

    :param counting: the vote that counts for each job, from `counting_votes`.
    :param waiver: the waiver in force for this job on this build.
    """
    own = counting.get(job)
    if own is not None and own.success:
        return JobResult(job, JobState.PASSED, own)
    known = list(alternatives)
    for alternative in known:
        vote = counting.get(alternative)
        if vote is not None and vote.success:
            return JobResult(job, JobState.REPLACED, vote)
    if waiver is not None:
        return JobResult(job, JobState.WAIVED, own, waiver)
    still_open = tuple(name for name in known if name not in counting)
    return JobResult(job, JobState.MISSING if own is None else JobState.FAILED, own, still_open=still_open)


def judge(criteria: Criteria, votes: Iterable[Vote], waivers: Iterable[Waiver] = ()) -> Verdict:
    """Judge a build by its votes. Whether it has soaked long enough is not asked here: that needs a clock.

    :param criteria: what has to pass.
    :param votes: all rows that DLRN has for exactly this build.
    :param waivers: those in force for exactly this build (`Decisions.waivers_for`).
    """
    counting = counting_votes(votes, criteria.policy)
    waived = {waiver.job: waiver for waiver in waivers}
    return Verdict(
        tuple(
            judge_job(job, criteria.alternatives.get(job, ()), counting, waived.get(job))
            for job in criteria.jobs
        )
    )
