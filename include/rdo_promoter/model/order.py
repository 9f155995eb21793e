"""Which of two builds is newer, and may a build be given to CI now? Pure.

The order of builds is DLRN's order of entering the candidate label. A build's place is its *first*
entry: promoting an old build to the candidate label again has it tested again, it does not make it
younger. Two builds that entered in the same second cannot be told apart by DLRN's rows; then neither is
newer, and neither may replace the other.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass

from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import is_over
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria, JobState, judge
from rdo_promoter.model.votes import Vote


def first_entry(candidate_rows: Iterable[PromotionRow], build: Build) -> int | None:
    """Return when the build first entered the candidate label (seconds since the epoch), or None."""
    times = [row.timestamp for row in candidate_rows if row.build == build]
    return min(times, default=None)


@dataclass(frozen=True, slots=True)
class Standing:
    """A build and its place in the order.

    :param build: the build.
    :param entered: its first entry into the candidate label, seconds since the epoch; for a build that
        was never a candidate, its first entry into the promoted label (somebody moved it by hand).
    """

    build: Build
    entered: int


def superseded(ours: Standing, holder: Standing | None) -> bool:
    """Tell whether the promoted label's holder leaves our build nothing to win.

    True when another build holds the label and ours is not newer than it (design, invariant 2).

    :param holder: the build that holds the promoted label, None when nothing does.
    """
    if holder is None or holder.build == ours.build:
        return False
    return holder.entered >= ours.entered


def displaced(
    build: Build, candidate_holder: PromotionRow | None, votes: Iterable[Vote], jobs: Container[str]
) -> bool:
    """Tell whether another build took the candidate label before CI said anything about this one.

    :param candidate_holder: the newest row of the label that CI tests.
    :param votes: the build's votes.
    :param jobs: the stage's jobs, alternatives among them; other jobs' votes say nothing of this stage.
    """
    if candidate_holder is None or candidate_holder.build == build:
        return False
    return not any(vote.job in jobs and not vote.in_progress for vote in votes)


@dataclass(frozen=True, slots=True)
class InCi:
    """A build that holds, or lately held, the candidate label.

    :param row: its newest entry.
    :param votes: its votes.
    """

    row: PromotionRow
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """What a stage waits for at one point.

    :param criteria: the jobs that have to pass.
    :param within: seconds after the entry into the candidate label.
    """

    criteria: Criteria
    within: int


def given_up(entry: InCi, decisions: Decisions, asks: Collection[str]) -> bool:
    """Tell whether people do not want a build that is in CI any more.

    :param entry: the build and its newest entry; what was answered before that, testing again has undone.
    :param decisions: what people decided about the release.
    :param asks: the stage's tasks at which a person can give a build up.
    """
    full_hash = entry.row.build.full_hash
    answers = (decisions.rejected(full_hash, task) for task in asks)
    return decisions.marked_bad(full_hash) is not None or any(
        answer is not None and answer.at >= entry.row.timestamp for answer in answers
    )


def occupies_ci(
    entry: InCi,
    waits: Sequence[Wait],
    *,
    now: int,
    decisions: Decisions = Decisions.NONE,
    asks: Collection[str] = (),
) -> bool:
    """Tell whether CI still needs the candidate label to stand still for this build.

    It does while a required job has not voted, its deadline has not passed, and people want its result: not
    of a job that is waived, nor of a build that is marked bad or given up. A job that failed has
    read the label; its rerun names the hash. What comes behind a wait that cannot be met any more is
    never started.

    :param waits: the stage's waits in their order.
    :param now: DLRN's time, seconds since the epoch.
    :param decisions: what people decided about the release.
    :param asks: the stage's tasks at which a person can give a build up.
    """
    if given_up(entry, decisions, asks):
        return False
    waivers = decisions.waivers_for(entry.row.build.full_hash, now=now)
    for wait in waits:
        verdict = judge(wait.criteria, entry.votes, waivers)
        over = is_over(entry.row.timestamp, wait.within, now=now)
        if not over and verdict.in_state(JobState.MISSING):
            return True
        if over and not verdict.met:
            return False
    return False


def refuse_admission(
    build: Build,
    in_ci: Sequence[InCi],
    waits: Sequence[Wait],
    *,
    now: int,
    max_in_ci: int,
    min_gap: int,
    decisions: Decisions = Decisions.NONE,
    asks: Collection[str] = (),
) -> str | None:
    """Return why the build may not take the candidate label now, or None when it may.

    :param in_ci: the label's newest holders, newest first, one entry a build.
    :param waits: the stage's waits in their order.
    :param now: DLRN's time, seconds since the epoch.
    :param max_in_ci: how many builds CI may work on at once.
    :param min_gap: seconds that the label has to stand still at least.
    :param decisions: what people decided about the release.
    :param asks: the stage's tasks at which a person can give a build up.
    """
    jobs = frozenset[str]().union(*(wait.criteria.known_jobs for wait in waits))
    others = [entry for entry in in_ci if entry.row.build != build]
    busy = [
        entry
        for entry in others
        if occupies_ci(entry, waits, now=now, decisions=decisions, asks=asks)
        and not displaced(entry.row.build, in_ci[0].row, entry.votes, jobs)
    ]
    if len(busy) >= max_in_ci:
        names = ", ".join(entry.row.build.full_hash for entry in busy)
        return f"CI busy with {names}"
    if others and not is_over(since := others[0].row.timestamp, min_gap, now=now):
        return (
            f"CI got {others[0].row.build.full_hash} {max(0, now - since)} s ago; "
            f"the candidate label stands still for {min_gap} s"
        )
    return None
