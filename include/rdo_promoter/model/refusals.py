"""What people answered to a stage's questions about a build, as far as it keeps the build back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rdo_promoter.model.clock import utc
from rdo_promoter.model.decisions import Decisions

_GIVEN_UP = "given up"


def refusals(
    decisions: Decisions,
    full_hash: str,
    *,
    approvals: Iterable[str] = (),
    gates: Iterable[str] = (),
    since: int = 0,
) -> Iterator[str]:
    """Yield who refused a build, where, when and why: one line each.

    :param decisions: what people decided about the release.
    :param full_hash: the build.
    :param approvals: the tasks that ask for an approval.
    :param gates: the gates; one that a person gave the build up at stays failed when a rerun passes later.
    :param since: the build's newest entry into CI, seconds since the epoch: testing it again undoes what
        gave it up before.
    """
    asked = {**dict.fromkeys(approvals, "not approved"), **dict.fromkeys(gates, _GIVEN_UP)}
    for task, what in asked.items():
        answer = decisions.rejected(full_hash, task)
        if answer and not (what == _GIVEN_UP and answer.at < since):
            why = answer.reason or "no reason given"
            yield f"{full_hash} is {what} at {task}: {answer.by} decided so at {utc(answer.at)}: {why}"


def unanswered(decisions: Decisions, full_hash: str, approvals: Iterable[str]) -> Iterator[str]:
    """Yield the tasks at which nobody has said yet whether a build may go on.

    :param decisions: what people decided about the release.
    :param full_hash: the build.
    :param approvals: the tasks that ask for an approval.
    """
    answered = {each.task_id for each in decisions.answers if each.full_hash == full_hash}
    yield from (task for task in approvals if task not in answered)
