"""CI results in DLRN: votes, and which of a job's votes counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


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


def newest_votes(votes: Iterable[Vote]) -> Mapping[str, Vote]:
    """Reduce rows to the vote that counts for each job: the newest.

    DLRN appends a row for each report and never replaces one. Rows in progress are no results. Of two
    votes in the same second a failure counts: nobody knows which came last, and a wrong promotion costs
    more than a rerun.
    """
    newest: dict[str, Vote] = {}
    for vote in votes:
        if vote.in_progress:
            continue
        kept = newest.get(vote.job)
        if kept is None or (vote.timestamp, not vote.success) > (kept.timestamp, not kept.success):
            newest[vote.job] = vote
    return newest
