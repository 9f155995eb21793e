"""What has become of waiting for a build, decided from what DLRN and people said. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from rdo_promoter.model.build import Build
from rdo_promoter.model.ci import CiJob, Sighting, Tenure
from rdo_promoter.model.clock import is_from_the_future, is_over, utc
from rdo_promoter.model.decisions import Decisions, describe
from rdo_promoter.model.evidence import Evidence, judge_evidence
from rdo_promoter.model.inference import infer
from rdo_promoter.model.order import Standing, displaced, superseded
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import JobResult, JobState, Verdict
from rdo_promoter.model.votes import Vote
from rdo_promoter.triggers.terms import Terms


@dataclass(frozen=True, slots=True)
class Votes:
    """What DLRN knows of a build.

    :param votes: all rows, as DLRN has them.
    :param now: DLRN's time when it said so, seconds since the epoch.
    :param standing: the build's place in the order, None when it was never a candidate.
    :param page: DLRN's page of them.
    :param jobs: jobs that have to pass besides those that the stage lists; where a buildset decides.
    """

    votes: tuple[Vote, ...]
    now: int
    standing: Standing | None = None
    page: str = ""
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Labels:
    """Who holds the labels of a stage.

    :param candidate: newest row of the label that CI tests.
    :param holder: the build that holds the promoted label, with its place in the order.
    """

    candidate: PromotionRow | None = None
    holder: Standing | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """All that decides about a build.

    :param votes: what DLRN knows of it.
    :param labels: who holds the stage's labels; None while that is not known.
    :param decisions: what people decided; None while that is not known.
    :param ci: what CI knows of jobs without a vote; None while that is not known. Nothing is decided by it.
    """

    votes: Votes
    labels: Labels | None = None
    decisions: Decisions | None = None
    ci: Sighting | None = None


class End(StrEnum):
    """How waiting for a job can end."""

    PASSED = "passed"
    REPLACED = "replaced"
    WAIVED = "waived"
    SUPERSEDED = "superseded"
    DISPLACED = "displaced"
    BAD = "marked_bad"
    REJECTED = "rejected"
    ENDED = "ended"
    FAILED = "failed"
    LOST = "lost"
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
    :param page: DLRN's page of the build's votes, empty when it is not known.
    """

    end: End
    job: str
    reason: str
    url: str = ""
    page: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the fields as JSON values, for XCom."""
        named = {"url": self.url, "page": self.page}
        return {"state": str(self.end), "job": self.job, "reason": self.reason, **named}


@dataclass(frozen=True, slots=True)
class Finding:
    """How a build stands at a gate.

    :param verdict: criteria, votes and waivers.
    :param now: DLRN's time, seconds since the epoch.
    :param until: the deadline; a person may have moved it.
    :param late: whether it has passed.
    :param soaks_until: until when the build has to stay a candidate, None when it has long enough.
    :param lost: how, and why, nothing is left to win for the build; None when something is.
    """

    verdict: Verdict
    now: int
    until: int
    late: bool
    soaks_until: int | None = None
    lost: tuple[End, str] | None = None

    @property
    def met(self) -> bool:
        """Whether the build may pass."""
        return self.verdict.met and self.soaks_until is None and self.lost is None

    def summary(self) -> str:
        """Say in one line how the build stands."""
        if self.verdict.met and self.soaks_until is not None:
            return f"{self.verdict.summary()}; soaking until {utc(self.soaks_until)}"
        return self.verdict.summary()


def find(terms: Terms, build: Build, since: int, known: Known) -> Finding:
    """Judge a build on what is known of it.

    :param terms: what is waited for.
    :param build: the build.
    :param since: when it got the candidate label, seconds since the epoch.
    :param known: with labels and decisions; what is not known of them counts as nothing.
    """
    now, decisions = known.votes.now, known.decisions or Decisions.NONE
    evidence = Evidence(known.votes.votes, known.votes.jobs)
    verdict = judge_evidence(terms.criteria, evidence, decisions.waivers_for(build.full_hash, now=now))
    extended = decisions.extended(build.full_hash, terms.gate)
    until = max(since + terms.within, extended or 0)
    soaked = is_over(since, terms.criteria.soak, now=now) if terms.criteria.soak else True
    return Finding(
        verdict,
        now,
        until,
        late=now >= until if extended else is_over(since, terms.within, now=now),
        soaks_until=None if soaked else since + terms.criteria.soak,
        lost=_lost(terms, build, since, known),
    )


def job_outcome(
    terms: Terms, job: str, build: Build, since: int, known: Known, *, run_id: str | None = None
) -> Outcome | None:
    """Return how waiting for one of the jobs ends, None when it goes on.

    A pass counts whatever the labels say. A failure ends a wait before the deadline only in so far as the
    task then shows it: it is retried, and may find a newer vote.

    :param terms: what is waited for.
    :param job: the job.
    :param build: the build.
    :param since: when it got the candidate label, seconds since the epoch.
    :param known: what is known.
    :param run_id: the run: who gave the build up in another one decided nothing here; None for any.
    """
    outcome = _outcome(terms, job, build, since, known, run_id=run_id)
    return replace(outcome, page=known.votes.page) if outcome else None


def job_in_ci(terms: Terms, job: str, build: Build, since: int, known: Known) -> CiJob | None:
    """Return what CI knows of a job that has not voted; None when it says nothing.

    :param terms: what is waited for.
    :param job: the job.
    :param build: the build.
    :param since: when it got the candidate label, seconds since the epoch.
    :param known: what is known.
    """
    if terms.ci is None or known.ci is None:
        return None
    row = known.labels.candidate if known.labels else None
    left = row.timestamp if row and row.build != build and row.timestamp > since else None
    votes, promote_job = known.votes, terms.ci.pipeline.promote_job
    held = Tenure(since, left)
    return infer([job], votes.votes, held, known.ci, now=votes.now, promote_job=promote_job).get(job)


def _outcome(
    terms: Terms, job: str, build: Build, since: int, known: Known, *, run_id: str | None
) -> Outcome | None:
    finding = find(terms, build, since, known)
    result = next(result for result in finding.verdict.results if result.job == job)
    if result.state is JobState.PASSED:
        return _end(End.PASSED, result, "passed")
    if result.state is JobState.REPLACED and result.vote is not None:
        return _end(End.REPLACED, result, f"replaced by {result.vote.job}")
    if known.labels is None or known.decisions is None:
        return None
    return _decided(terms, build, finding, result, known.decisions, run_id=run_id) or _unmet(
        terms, build, since, finding, result
    )


def _decided(
    terms: Terms,
    build: Build,
    finding: Finding,
    result: JobResult,
    decisions: Decisions,
    *,
    run_id: str | None,
) -> Outcome | None:
    """Return the end of waiting for a job that makes no difference any more."""
    if result.state is JobState.WAIVED:
        return _end(End.WAIVED, result, str(result.waiver))
    if finding.lost:
        return _end(finding.lost[0], result, finding.lost[1])
    rejected = decisions.rejected(build.full_hash, terms.gate)
    if rejected and run_id in (None, rejected.run_id):
        return _end(End.REJECTED, result, f"not promoted, as {rejected.by} decided: {rejected.reason}")
    return None


def dry_outcome(
    terms: Terms, job: str, build: Build, since: int, known: Known, *, run_id: str | None = None
) -> Outcome:
    """Return how a dry run shows a job: by what is known now.

    The parameters are those of `job_outcome`.
    """
    outcome = job_outcome(terms, job, build, since, known, run_id=run_id)
    if outcome is not None and outcome.end in (End.PASSED, End.REPLACED, End.WAIVED):
        return outcome
    verdict = find(terms, build, since, known).verdict
    result = next(result for result in verdict.results if result.job == job)
    found = "the vote that counts failed" if result.state is JobState.FAILED else "it has not voted yet"
    ended = _end(End.DRY_RUN, result, f"dry run: would wait for {job}: {found}")
    return replace(ended, page=known.votes.page)


def _unmet(terms: Terms, build: Build, since: int, finding: Finding, result: JobResult) -> Outcome | None:
    """Return the end of waiting for a job that has not passed."""
    if terms.fail_fast and finding.verdict.doomed:
        if result.hopeless:
            return _end(End.LOST, result, f"{result.job} failed on {build.full_hash}, and fail_fast is set")
        failed = ", ".join(lost.job for lost in finding.verdict.doomed)
        return _end(End.ENDED, result, f"not waited for: {failed} failed, and fail_fast is set")
    # While a person is asked, votes are still read.
    patience = terms.answer_within if terms.ask else 0
    if finding.late and (not patience or is_over(finding.until, patience, now=finding.now)):
        return _end(End.EXPIRED, result, _too_late(terms, build, since, finding, result))
    if result.state is JobState.FAILED:
        again = "until a person has answered" if finding.late else f"until {utc(finding.until)}"
        lost = "; without a rerun the build is lost" if result.hopeless else ""
        return _end(End.FAILED, result, f"failed; a newer vote may replace this one {again}{lost}")
    return None


def _too_late(terms: Terms, build: Build, since: int, finding: Finding, result: JobResult) -> str:
    found = "failed" if result.state is JobState.FAILED else "did not vote"
    if is_from_the_future(since, now=finding.now):
        return (
            f"{result.job} {found} on {build.full_hash}, and no deadline can be told: the build "
            f"entered the candidate label at {utc(since)}, which is in the future of DLRN's clock "
            f"({utc(finding.now)}), so that clock was set back; have it set right, then start a run for this "
            "build with 'Test again' ticked: it gets a new entry"
        )
    return (
        f"{result.job} {found} on {build.full_hash} within {terms.within} s after {utc(since)}; "
        "rerun the job on this hash, then clear the stage's gate with what follows it"
    )


def _lost(terms: Terms, build: Build, since: int, known: Known) -> tuple[End, str] | None:
    """Return how and why nothing is left to win for a build."""
    if known.decisions is not None and (mark := known.decisions.marked_bad(build.full_hash)):
        return End.BAD, describe(mark)
    if known.labels is None:
        return None
    if holder := superseded_by(known.votes, known.labels):
        label = terms.where.promoted_label
        return End.SUPERSEDED, f"superseded by {holder}, which holds {label} and is not older"
    if holder := displaced_by(terms, build, since, known.votes, known.labels):
        return End.DISPLACED, f"not tested: displaced by {holder}"
    return None


def _end(end: End, result: JobResult, reason: str) -> Outcome:
    return Outcome(end, result.job, reason, result.vote.url if result.vote else "")


def superseded_by(known: Votes, labels: Labels) -> str | None:
    """Return the full hash of the build that leaves ours nothing to win, None when there is none."""
    ours, holder = known.standing, labels.holder
    if ours is None or holder is None or not superseded(ours, holder):
        return None
    # A holder whose entry is still to come would win until then: the promotion says what is wrong.
    return None if is_from_the_future(holder.entered, now=known.now) else holder.build.full_hash


def displaced_by(terms: Terms, build: Build, since: int, known: Votes, labels: Labels) -> str | None:
    """Return the full hash of the build that took the candidate label before CI tested ours, or None.

    Labels are looked at less often than votes, so what is known of them may be from before our build got
    the label: only a row that is newer than ours displaces.
    """
    row = labels.candidate
    if row is None or row.timestamp <= since:
        return None
    return row.build.full_hash if displaced(build, row, known.votes, terms.stage_jobs) else None
