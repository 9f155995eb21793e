"""What is decided, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rdo_promoter.model.clock import utc
from rdo_promoter.model.decisions import Decisions, Held, MarkedBad, describe
from rdo_promoter.model.waivers import Waiver


@dataclass(frozen=True)
class Standing:
    """Something that is decided and not lifted.

    :param decision: the waiver, hold or mark.
    :param name: its entry's name in the ledger; ``file:line`` in the reviewed file.
    """

    decision: Waiver | Held | MarkedBad
    name: str

    def __str__(self) -> str:
        return f"{line(self.decision)} [{self.name}]"

    @property
    def reviewed(self) -> bool:
        """Whether it stands in the reviewed file: names of entries have no colon."""
        return ":" in self.name

    def is_over(self, now: int) -> bool:
        """Tell whether it has expired."""
        expires = None if isinstance(self.decision, MarkedBad) else self.decision.expires
        return expires is not None and expires <= now


def everything(decisions: Decisions) -> list[Standing]:
    """Return what is decided and not lifted, whether it has expired or not."""
    return [
        *(Standing(waiver, waiver.origin) for waiver in decisions.waivers),
        *(Standing(hold, hold.name) for hold in decisions.holds),
        *(Standing(mark, mark.name) for mark in decisions.bad),
    ]


def liftable(decisions: Decisions, *, now: int) -> list[Standing]:
    """Return what is in force and was decided at run time.

    :param decisions: what is decided and not lifted.
    :param now: DLRN's time, seconds since the epoch.
    """
    return [each for each in everything(decisions) if not each.reviewed and not each.is_over(now)]


def about(each: Standing) -> tuple[str, ...]:
    """Return the words by which a person may mean it: job, label, full hash."""
    decision = each.decision
    words = (getattr(decision, name, None) for name in ("job", "label", "full_hash"))
    return tuple(word for word in words if word)


def line(decision: Waiver | Held | MarkedBad) -> str:
    """Return one line about a waiver, a hold or a mark."""
    if not isinstance(decision, Waiver):
        return describe(decision)
    of = decision.full_hash or "every build"
    until = utc(decision.expires)
    return f"{decision.job} is waived for {of} by {decision.by} until {until}: {decision.reason}"


@dataclass(frozen=True)
class Report:
    """All that is decided about a release, in lines.

    :param in_force: what counts now, with the name by which it is lifted.
    :param expired: what has expired.
    :param ignored: what never counts, and why.
    """

    in_force: tuple[str, ...]
    expired: tuple[str, ...]
    ignored: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return all of it, with headings."""
        parts = (("in force", self.in_force), ("expired", self.expired), ("ignored", self.ignored))
        shown = [text for head, each in parts if each for text in (f"{head}:", *(f"  {t}" for t in each))]
        return shown if self.in_force else ["in force: nothing", *shown]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "in_force": list(self.in_force),
            "expired": list(self.expired),
            "ignored": list(self.ignored),
        }


def report(decisions: Decisions, jobs: Collection[str], labels: Collection[str], *, now: int) -> Report:
    """Return what is decided about a release.

    :param decisions: what is decided and not lifted.
    :param jobs: the jobs that the release requires.
    :param labels: the labels that it moves.
    :param now: DLRN's time, seconds since the epoch.
    """
    in_force, expired, ignored = [], [], []
    for each in everything(decisions):
        if each.is_over(now):
            expired.append(str(each))
        elif why := _why_never(each.decision, jobs, labels):
            ignored.append(f"{each}: {why}")
        else:
            in_force.append(str(each))
    return Report(tuple(in_force), tuple(expired), tuple(ignored))


def _why_never(
    decision: Waiver | Held | MarkedBad, jobs: Collection[str], labels: Collection[str]
) -> str | None:
    """Return why a decision makes no difference, None when it may."""
    if isinstance(decision, Waiver) and decision.job not in jobs:
        return "no stage of the release requires such a job"
    if isinstance(decision, Held) and decision.label is not None and decision.label not in labels:
        return "no step of the release moves such a label"
    return None
