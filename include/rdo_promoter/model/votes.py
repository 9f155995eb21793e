"""CI results in DLRN: votes, and which of a job's votes counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from rdo_promoter.model.build import CONSISTENT


@dataclass(frozen=True, slots=True)
class Vote:
    """A row of DLRN's ``repo_status`` or ``agg_status``: one result of one job on one build.

    :param job: the CI job's name (DLRN's ``job_id``).
    :param success: True when it passed.
    :param timestamp: when, in seconds since the epoch.
    :param url: the job's log.
    :param in_progress: a row that ``last_tested_repo`` wrote; it is never cleared and is no result.
    :param user: the DLRN user who reported it.
    :param notes: free text.
    """

    job: str
    success: bool
    timestamp: int
    url: str = ""
    in_progress: bool = False
    user: str = ""
    notes: str = ""


class VotePolicy(StrEnum):
    """Which vote counts when a job voted several times on one build.

    - ``newest``: the newest. A job that passed and failed later did not pass.
    - ``any_success``: a pass, whenever it came; the script before this package had it so.
    """

    NEWEST = "newest"
    ANY_SUCCESS = "any_success"


def counting_votes(votes: Iterable[Vote], policy: VotePolicy = VotePolicy.NEWEST) -> Mapping[str, Vote]:
    """Reduce rows to the vote that counts for each job.

    DLRN appends a row for each report and never replaces one. Rows in progress are no results, and the row
    ``consistent`` is DLRN's own mark, no job's. Of two votes in the same second a failure counts as the newer
    one: nobody knows which came last, and a wrong promotion costs more than a rerun.

    :param votes: all rows of one build, in any order.
    :param policy: which of a job's votes counts.
    """
    counting: dict[str, Vote] = {}
    for vote in votes:
        if vote.in_progress or vote.job == CONSISTENT:
            continue
        kept = counting.get(vote.job)
        if kept is None or _rank(vote, policy) > _rank(kept, policy):
            counting[vote.job] = vote
    return counting


def _rank(vote: Vote, policy: VotePolicy) -> tuple[bool, int, bool, str, str, str]:
    """Return what the vote that counts has most of; the texts are there for rows that are equal otherwise.

    Without them the first row would count, and another order of the rows would tell of another vote.
    """
    preferred = policy is VotePolicy.ANY_SUCCESS and vote.success
    return preferred, vote.timestamp, not vote.success, vote.url, vote.notes, vote.user
