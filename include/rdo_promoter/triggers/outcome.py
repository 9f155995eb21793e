"""What has become of waiting for one job, decided from what DLRN said. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import is_from_the_future, is_over, utc
from rdo_promoter.model.order import Standing, displaced, superseded
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import JobResult, JobState, judge_job
from rdo_promoter.model.votes import Vote, counting_votes


@dataclass(frozen=True, slots=True)
class Votes:
    """What DLRN knows of a build.

    :param votes: all rows, as DLRN has them.
    :param now: DLRN's time when it said so, seconds since the epoch.
    :param standing: the build's place in the order, None when it was never a candidate.
    """

    votes: tuple[Vote, ...]
    now: int
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Who holds the labels of a stage.

    :param candidate: newest row of the label that CI tests.
    :param holder: the build that holds the promoted label, with its place in the order.
    """

    candidate: PromotionRow | None = None
    holder: Standing | None = None


class End(StrEnum):
    """How waiting for a job can end."""

    PASSED = "passed"
    REPLACED = "replaced"
    SUPERSEDED = "superseded"
    DISPLACED = "displaced"
    FAILED = "failed"
    EXPIRED = "expired"
    REFUSED = "refused"
    DRY_RUN = "dry_run"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of waiting for a job.

    :param end: how it ended.
    :param job: the job that was waited for.
    :param reason: for people, in one sentence.
    :param url: log of the vote that decided, empty when none did.
    """

    end: End
    job: str
    reason: str
    url: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the fields as JSON values, for XCom."""
        return {"state": str(self.end), "job": self.job, "url": self.url, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for: a pass of one job on one build.

    :param build: the run's build.
    :param job: the CI job.
    :param alternatives: jobs that may stand in for it, in order of preference.
    :param stage_jobs: all jobs of the stage, alternatives among them.
    :param since: when the build got the candidate label, seconds since the epoch.
    :param within: seconds after that until the job has to have passed.
    :param dry_run: do not wait, say what is known.
    """

    build: Build
    job: str
    alternatives: tuple[str, ...]
    stage_jobs: frozenset[str]
    since: int
    within: int
    dry_run: bool = False

    def outcome(self, known: Votes, labels: Labels | None) -> Outcome | None:
        """Return how the waiting ends, None when it goes on.

        A pass counts whatever the labels say. A failure ends a wait before the deadline only in so far as
        the task then shows it: it is retried, and may find a newer vote.

        :param labels: None when they are not known yet, or not needed.
        """
        result = judge_job(self.job, self.alternatives, counting_votes(known.votes))
        if result.state is JobState.PASSED:
            return self._end(End.PASSED, "passed", result.vote)
        if result.state is JobState.REPLACED and result.vote is not None:
            return self._end(End.REPLACED, f"replaced by {result.vote.job}", result.vote)
        if self.dry_run:
            found = "its newest vote failed" if result.state is JobState.FAILED else "it has not voted yet"
            return self._end(End.DRY_RUN, f"dry run: would wait for {self.job}: {found}", result.vote)
        if labels is None:
            return None
        return self._lost(known, labels) or self._unmet(known, result)

    def _lost(self, known: Votes, labels: Labels) -> Outcome | None:
        """Return the end of waiting for a build that cannot win any more."""
        if holder := superseded_by(known, labels):
            return self._end(End.SUPERSEDED, f"superseded by {holder}")
        if holder := displaced_by(self, known, labels):
            return self._end(End.DISPLACED, f"not tested: displaced by {holder}")
        return None

    def _unmet(self, known: Votes, result: JobResult) -> Outcome | None:
        """Return the end of waiting for a job that has not passed."""
        if is_over(self.since, self.within, now=known.now):
            return self._end(End.EXPIRED, self._too_late(result, known.now), result.vote)
        if result.state is JobState.FAILED:
            reason = f"failed; a newer vote may replace this one until {self.until}"
            return self._end(End.FAILED, reason, result.vote)
        return None

    @property
    def until(self) -> str:
        """The deadline, as people read it."""
        return utc(self.since + self.within)

    def _too_late(self, result: JobResult, now: int) -> str:
        found = "failed" if result.state is JobState.FAILED else "did not vote"
        if is_from_the_future(self.since, now=now):
            return (
                f"{self.job} {found} on {self.build.full_hash}, and no deadline can be told: the build "
                f"entered the candidate label at {utc(self.since)}, which is in the future of DLRN's clock "
                f"({utc(now)}), so that clock was set back; have it set right, then start a run for this "
                "build with 'Test again' ticked: it gets a new entry"
            )
        return (
            f"{self.job} {found} on {self.build.full_hash} within {self.within} s after {utc(self.since)}; "
            "rerun the job on this hash, then clear the stage's gate with what follows it"
        )

    def _end(self, end: End, reason: str, vote: Vote | None = None) -> Outcome:
        return Outcome(end, self.job, reason, vote.url if vote else "")


def superseded_by(known: Votes, labels: Labels) -> str | None:
    """Return the full hash of the build that leaves ours nothing to win, None when there is none."""
    ours, holder = known.standing, labels.holder
    if ours is None or holder is None or not superseded(ours, holder):
        return None
    # A holder whose entry is still to come would win until then: the promotion says what is wrong.
    return None if is_from_the_future(holder.entered, now=known.now) else holder.build.full_hash


def displaced_by(wait: Wait, known: Votes, labels: Labels) -> str | None:
    """Return the full hash of the build that took the candidate label before CI tested ours, or None.

    Labels are looked at less often than votes, so what is known of them may be from before our build got
    the label: only a row that is newer than ours displaces.
    """
    row = labels.candidate
    if row is None or row.timestamp <= wait.since:
        return None
    return row.build.full_hash if displaced(wait.build, row, known.votes, wait.stage_jobs) else None
