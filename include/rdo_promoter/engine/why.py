"""Gather why a build is not promoted: votes, decisions, CI and earlier builds. Changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.dlrn_read import PAGE
from rdo_promoter.clients.zuul import ZuulClient
from rdo_promoter.engine.ci import look_once
from rdo_promoter.engine.evidence import evidence_of
from rdo_promoter.engine.observe import place_problem
from rdo_promoter.errors import NotFoundError, SupersededError
from rdo_promoter.model.build import Build
from rdo_promoter.model.ci import CiJob, Pipeline, Tenure, tenure
from rdo_promoter.model.clock import is_over, utc
from rdo_promoter.model.decisions import Decisions, describe
from rdo_promoter.model.evidence import Evidence, judge_evidence
from rdo_promoter.model.inference import infer
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.refusals import refusals, unanswered
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.model.votes import Vote, counting_votes
from rdo_promoter.model.why import RESULTS, Judged, Why, explain

log = logging.getLogger(__name__)

#: Builds whose votes are asked for to tell flaky jobs from broken ones: one request each. A few more than are
#: told, since a job may not have voted on each.
EARLIER_BUILDS = RESULTS + 3


@dataclass(frozen=True)
class Waiting:
    """A step that waits.

    :param criteria: what has to pass.
    :param buildset_of: the pipeline whose buildset decides, None when votes do.
    """

    criteria: Criteria
    buildset_of: Pipeline | None = None


@dataclass(frozen=True)
class Subject:
    """A stage that is asked about.

    :param stage: its name.
    :param candidate_label: the label that CI tests.
    :param promoted_label: the label that it promotes to, None when it promotes to none.
    :param waits: what its steps wait for, by their names.
    :param pipeline: the pipeline that tests its builds, None when none is known.
    :param release_jobs: the jobs that any stage of the release requires.
    :param approvals: the tasks that ask for an approval.
    :param gates: the gates at which a person can give a build up.
    """

    stage: str
    candidate_label: str
    promoted_label: str | None
    waits: Mapping[str, Waiting]
    pipeline: Pipeline | None = None
    release_jobs: frozenset[str] = frozenset()
    approvals: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()


def newest_candidate(dlrn: DlrnClient, subject: Subject) -> Build:
    """Return the build that CI tests in a stage now.

    :raises NotFoundError: when there is none yet.
    """
    row = dlrn.current(subject.candidate_label)
    if row is None:
        raise NotFoundError(f"DLRN: nothing holds {subject.candidate_label} yet, so CI tests no build")
    return row.build


def why(
    subject: Subject,
    build: Build,
    dlrn: DlrnClient,
    open_zuul: Callable[[], ZuulClient],
    decisions: Decisions,
) -> Why:
    """Return how a build stands in a stage, and what would help.

    DLRN is asked some twenty times at most, whatever the number of jobs.

    :param subject: the stage.
    :param build: the build.
    :param dlrn: the release's DLRN.
    :param open_zuul: makes a client of the release's Zuul; called when the stage has a pipeline.
    :param decisions: what people have decided about the release.
    :raises ServiceError: when DLRN, or a Zuul that decides, does not answer.
    """
    rows = dlrn.promotions(subject.candidate_label, limit=PAGE)
    held = tenure(rows, build)
    evidence: dict[Pipeline | None, Evidence] = {}
    for wait in subject.waits.values():
        if wait.buildset_of not in evidence:
            evidence[wait.buildset_of] = evidence_of(
                dlrn,
                open_zuul,
                build,
                candidate_label=subject.candidate_label,
                buildset_of=wait.buildset_of,
            )
    now = dlrn.now()
    waivers = decisions.waivers_for(build.full_hash, now=now)
    steps = {
        name: Judged(
            wait.criteria,
            judge_evidence(wait.criteria, evidence[wait.buildset_of], waivers),
            by_votes=wait.buildset_of is None,
        )
        for name, wait in subject.waits.items()
    }
    jobs = frozenset[str]().union(*(wait.criteria.known_jobs for wait in subject.waits.values()))
    votes = evidence[None].votes if None in evidence else ()
    ci, silent = _in_ci(subject, jobs, votes, held, open_zuul, now=now)
    judged = [result.job for each in steps.values() for result in each.verdict.results]
    known = subject.release_jobs.union(judged)
    lines, unblock, rerun = explain(steps, ci, _past(subject, dlrn, rows, build))
    return Why(
        stage=subject.stage,
        full_hash=build.full_hash,
        label=subject.candidate_label,
        since=held.entered if held else None,
        steps=lines,
        obstacles=tuple(_obstacles(subject, build, dlrn, decisions, held, now=now)),
        notes=(
            *silent,
            *(
                f"nobody has approved {build.full_hash} at {task} yet"
                for task in unanswered(decisions, build.full_hash, subject.approvals)
            ),
            *map(str, decisions.ignored(build.full_hash, known, now=now)),
        ),
        unblock=unblock,
        rerun=rerun,
    )


def _in_ci(
    subject: Subject,
    jobs: Collection[str],
    votes: Sequence[Vote],
    held: Tenure | None,
    open_zuul: Callable[[], ZuulClient],
    *,
    now: int,
) -> tuple[Mapping[str, CiJob], tuple[str, ...]]:
    """Return what CI knows of jobs without a vote, and why it may be nothing."""
    if subject.pipeline is None or held is None:
        return {}, ()
    seen = look_once(open_zuul, subject.pipeline.name)
    if seen.problem:
        return {}, (f"votes alone are known, CI does not answer: {seen.problem}",)
    return infer(jobs, votes, held, seen, now=now, promote_job=subject.pipeline.promote_job), ()


def _past(
    subject: Subject, dlrn: DlrnClient, rows: Sequence[PromotionRow], build: Build
) -> Mapping[str, list[bool]]:
    """Return whether jobs passed on the builds that were candidates before, the newest first."""
    ours = next((index for index, row in enumerate(rows) if row.build == build), -1)
    earlier = dict.fromkeys(row.build for row in rows[ours + 1 :] if row.build != build)
    policies = {
        job: wait.criteria.policy
        for wait in subject.waits.values()
        if wait.buildset_of is None
        for job in wait.criteria.jobs
    }
    past: dict[str, list[bool]] = {job: [] for job in policies}
    for candidate in list(earlier)[:EARLIER_BUILDS]:
        if all(len(results) >= RESULTS for results in past.values()):
            break
        try:
            votes = dlrn.votes(candidate)
        except NotFoundError:
            continue  # purged
        counting = {policy: counting_votes(votes, policy) for policy in set(policies.values())}
        for job, policy in policies.items():
            if (vote := counting[policy].get(job)) is not None:
                past[job].append(vote.success)
    return past


def _obstacles(
    subject: Subject, build: Build, dlrn: DlrnClient, decisions: Decisions, held: Tenure | None, *, now: int
) -> Iterator[str]:
    """Yield what is in the way besides jobs."""
    if mark := decisions.marked_bad(build.full_hash):
        yield describe(mark)
    yield from refusals(
        decisions,
        build.full_hash,
        approvals=subject.approvals,
        gates=subject.gates,
        since=held.entered if held else 0,
    )
    if held is None:
        yield f"it never held {subject.candidate_label}, so CI has not tested it"
    soak = max((wait.criteria.soak for wait in subject.waits.values()), default=0)
    if held and soak and not is_over(held.entered, soak, now=now):
        yield f"it has to be a candidate until {utc(held.entered + soak)}"
    if subject.promoted_label is None:
        return
    for hold in decisions.held(build.full_hash, subject.promoted_label, now=now):
        yield describe(hold)
    try:
        problem = place_problem(
            dlrn,
            build,
            dlrn.current(subject.promoted_label),
            candidate_label=subject.candidate_label,
            promoted_label=subject.promoted_label,
        )
    except SupersededError as error:
        problem = str(error)
    if problem and held:
        yield problem
