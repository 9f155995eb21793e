"""What says that a build is good: its votes in DLRN, or for flows without votes a buildset of Zuul's. Pure.

A buildset names no build. It speaks for one when the job that moves the candidate label moved it to this
build, and it speaks only through the jobs that began while the label named it. What cannot be told is no
evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from rdo_promoter.model.ci import SLACK, SUCCESS, Buildset, JobRun, Pipeline, Tenure
from rdo_promoter.model.inference import carried, promote_runs
from rdo_promoter.model.text import one_line
from rdo_promoter.model.verdict import Criteria, Verdict, judge
from rdo_promoter.model.votes import Vote
from rdo_promoter.model.waivers import Waiver


class EvidenceKind(StrEnum):
    """What a stage's criteria are judged by.

    - ``votes``: the jobs' votes in DLRN.
    - ``zuul_buildset``: every voting job of the buildset of Zuul's that tested the build. For flows without
      votes alone; votes in DLRN are then not looked at.
    """

    VOTES = "votes"
    ZUUL_BUILDSET = "zuul_buildset"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What criteria are judged by.

    :param votes: results of jobs on the build: votes, or what a buildset says in their place.
    :param jobs: jobs that have to pass besides those of the criteria.
    """

    votes: tuple[Vote, ...]
    jobs: tuple[str, ...] = ()


def judge_evidence(criteria: Criteria, evidence: Evidence, waivers: Iterable[Waiver] = ()) -> Verdict:
    """Judge a build by whatever evidence there is; the same as `judge` when that is votes.

    :param criteria: what has to pass.
    :param evidence: of exactly this build.
    :param waivers: those in force for exactly this build.
    """
    more = tuple(job for job in evidence.jobs if job not in criteria.jobs)
    return judge(replace(criteria, jobs=(*criteria.jobs, *more)), evidence.votes, waivers)


def whole(pipeline: Pipeline) -> str:
    """Return the name under which a verdict lists that a buildset has come to a good end."""
    return f"{pipeline.name}-buildset"


def find_buildset(runs: Iterable[JobRun], held: Tenure | None, pipeline: Pipeline) -> str | None:
    """Return the buildset that tested what the label named; None when there is none, or more than one.

    :param runs: the pipeline's runs.
    :param held: for which time the candidate label named the build; None when it never did.
    """
    if held is None:
        return None
    moved = promote_runs((run for run in runs if run.change is None), pipeline.promote_job)
    ours = [run.buildset for run in moved.values() if carried(run, held)]
    return ours[0] if len(ours) == 1 else None


def from_buildset(found: Buildset | None, held: Tenure | None, pipeline: Pipeline) -> Evidence:
    """Return what a buildset says of the build that its first job moved the candidate label to.

    Each of its jobs that can fail it has to have passed, and the buildset as a whole has to have come to a
    good end: while it has not, jobs may follow that nobody knows yet.

    :param found: the buildset with all its runs, None when there is none.
    :param held: for which time the candidate label named the build; None when it never did.
    """
    end = whole(pipeline)
    runs = [run for run in found.runs if run.final and run.change is None] if found else []
    moved = promote_runs(runs, pipeline.promote_job)
    first = moved.get(found.uuid) if found else None
    if found is None or held is None or first is None or not carried(first, held):
        return Evidence((), (end,))
    tested: dict[str, list[JobRun]] = {}
    for run in runs:
        if run != first:
            # Zuul's word; jobs of a release file are not changed by this.
            tested.setdefault(one_line(run.job), []).append(run)
    required = tuple(sorted(job for job, tries in tested.items() if any(run.voting for run in tries)))
    votes = [vote for job, tries in tested.items() if (vote := _result(job, tries, first, held)) is not None]
    if found.result is not None:
        good = found.result == SUCCESS and bool(required)
        ended = max((run.ended for run in runs if run.ended is not None), default=held.entered)
        votes.append(Vote(end, good, ended, user="zuul", notes=_note(found.uuid, found.result)))
    return Evidence(tuple(votes), (*required, end))


def _result(job: str, tries: list[JobRun], first: JobRun, held: Tenure) -> Vote | None:
    """Return what the runs of one job say in place of a vote; None while one of them says nothing.

    A job may run several times in a buildset, once a ref: all have to pass.
    """
    if not all(_saw(run, first, held) for run in tries):
        return None
    failed = [run for run in tries if not run.running and not run.passed]
    if not failed and any(run.running for run in tries):
        return None
    said = max(failed or tries, key=lambda run: (run.ended or 0, run.uuid))
    ended = said.ended if said.ended is not None else held.entered
    note = _note(said.buildset, said.outcome)
    return Vote(job, not failed, ended, said.log_url, user="zuul", notes=note)


def _saw(run: JobRun, first: JobRun, held: Tenure) -> bool:
    """Tell whether a run certainly worked on the build, or certainly on none.

    It read the label after the first job had moved it, and before it could have been moved on: both clocks
    may be wrong by some seconds, so near the end nobody knows.
    """
    if run.started is None:
        return not run.passed
    if first.ended is None or run.started < first.ended:
        return False
    return held.left is None or run.started < held.left - SLACK


def _note(buildset: str, result: str) -> str:
    return f"no vote: {one_line(result, limit=40)} in Zuul's buildset {buildset}"
