"""What people have decided about builds and labels, and what of it is in force. Pure.

A decision is an entry of the ledger: written once and never changed; lifting it is another entry. What is in
force now follows from the entries and from the reviewed file of waivers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import check_label, is_full_hash
from rdo_promoter.model.clock import utc
from rdo_promoter.model.ledger import Entry, Json
from rdo_promoter.model.waivers import Ignored, Waiver

#: The folder of a Dag's decisions. No label can have this name.
DECISIONS = "@decisions"

#: Seconds that a waiver holds when nobody says otherwise: time for CI to be mended.
WAIVER_TIME = 7 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision(Entry):
    """What every decision says.

    :param reason: why; for a waiver the link of a bug.
    """

    reason: str

    @property
    def folder(self) -> tuple[str, str]:
        """Where it lies: a folder of the Dag, and that of its decisions."""
        return self.dag_id, DECISIONS

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {**Entry.to_json(self), "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waived(_Decision):
    """A required job need not pass.

    :param job: the job.
    :param full_hash: the build, None for every build.
    :param expires: until when, in seconds since the epoch.
    """

    kind = "waived"

    job: str
    full_hash: str | None
    expires: int

    def __post_init__(self) -> None:
        Entry.__post_init__(self)
        _check_reason(self.reason)
        _check_hash(self.full_hash)

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        fields = _Decision.to_json(self)
        return {**fields, "job": self.job, "full_hash": self.full_hash, "expires": self.expires}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(_Decision):
    """A label may not move, or a build may not be promoted, until this is lifted or expires.

    :param label: the label, None when a build is held.
    :param full_hash: the build, None when a label is held.
    :param expires: until when, in seconds since the epoch; None until it is lifted.
    """

    kind = "held"

    label: str | None
    full_hash: str | None
    expires: int | None

    def __post_init__(self) -> None:
        Entry.__post_init__(self)
        _check_reason(self.reason)
        _check_hash(self.full_hash)
        if (self.label is None) == (self.full_hash is None):
            raise ConfigError("a hold names either a label or a build: name one of them")
        if self.label is not None:
            check_label(self.label)

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        fields = _Decision.to_json(self)
        return {**fields, "label": self.label, "full_hash": self.full_hash, "expires": self.expires}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedBad(_Decision):
    """A build is not to be promoted, whatever CI says.

    :param full_hash: the build.
    """

    kind = "marked_bad"

    full_hash: str

    def __post_init__(self) -> None:
        Entry.__post_init__(self)
        _check_reason(self.reason)
        _check_hash(self.full_hash)

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {**_Decision.to_json(self), "full_hash": self.full_hash}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted(_Decision):
    """A decision is no longer in force.

    :param lifts: the name of its entry.
    """

    kind = "lifted"

    lifts: str

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {**_Decision.to_json(self), "lifts": self.lifts}


class Answer(StrEnum):
    """What a person can answer to a gate that asks, and to a step that wants an approval."""

    WAIVE = "Waive these jobs"
    WAIT = "Wait on"
    REJECT = "Do not promote"
    APPROVE = "Approve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(_Decision):
    """A person answered what a run asked.

    :param full_hash: the build that the question was about.
    :param run_id: the run.
    :param task_id: the task that asked.
    :param question: what was asked, in one line.
    :param answer: the option that was chosen.
    :param until: until when to wait on, in seconds since the epoch; None for other answers.
    """

    kind = "answered"

    full_hash: str
    run_id: str
    task_id: str
    question: str
    answer: Answer
    until: int | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {
            **_Decision.to_json(self),
            "full_hash": self.full_hash,
            "run_id": self.run_id,
            "task_id": self.task_id,
            "question": self.question,
            "answer": str(self.answer),
            "until": self.until,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed(_Decision):
    """Nothing but a rerun or a person can save a build at a stage any more; nobody's decision, but a fact.

    :param full_hash: the build.
    :param task_id: the gate that it will not pass.
    """

    kind = "doomed"

    full_hash: str
    task_id: str

    @property
    def identity(self) -> dict[str, Json]:
        """What makes two of them the same one: it is said once."""
        return {"dag_id": self.dag_id, "full_hash": self.full_hash, "task_id": self.task_id}

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {**_Decision.to_json(self), "full_hash": self.full_hash, "task_id": self.task_id}


Decision = Waived | Held | MarkedBad | Lifted | Answered | Doomed


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is decided and not lifted.

    :param waivers: the waivers, those that have expired among them.
    :param holds: the holds, those that have expired among them.
    :param bad: the builds that are marked bad.
    :param answers: what people answered, oldest first.
    """

    #: Nothing is decided.
    NONE: ClassVar[Decisions]

    waivers: tuple[Waiver, ...] = ()
    holds: tuple[Held, ...] = ()
    bad: tuple[MarkedBad, ...] = ()
    answers: tuple[Answered, ...] = ()

    def waivers_for(self, full_hash: str, *, now: int) -> tuple[Waiver, ...]:
        """Return the waivers that count for a build.

        :param full_hash: the build.
        :param now: DLRN's time, seconds since the epoch.
        """
        return tuple(waiver for waiver in self.waivers if waiver.why_ignored(full_hash, now=now) is None)

    def ignored(self, full_hash: str, jobs: Collection[str], *, now: int) -> tuple[Ignored, ...]:
        """Return the waivers that do not count for a build, and why, as far as somebody may still wonder.

        The ledger keeps each waiver for good, and this is said at every look: see `Waiver.is_told`.

        :param full_hash: the build.
        :param jobs: the jobs that are required anywhere in the release.
        :param now: DLRN's time, seconds since the epoch.
        """
        found = []
        for waiver in self.waivers:
            why = waiver.why_ignored(full_hash, now=now)
            if why is None and waiver.job not in jobs:
                why = "no stage of the release requires such a job"
            if why and waiver.is_told(full_hash, now=now):
                found.append(Ignored(waiver, why))
        return tuple(found)

    def held(self, full_hash: str, label: str, *, now: int) -> tuple[Held, ...]:
        """Return the holds that keep a build from a label.

        :param full_hash: the build.
        :param label: the label that is to move.
        :param now: DLRN's time, seconds since the epoch.
        """
        return tuple(
            hold
            for hold in self.holds
            if (hold.full_hash == full_hash or hold.label == label)
            and (hold.expires is None or hold.expires > now)
        )

    def marked_bad(self, full_hash: str) -> MarkedBad | None:
        """Return the mark that keeps a build from every label, None when there is none.

        :param full_hash: the build.
        """
        return next((mark for mark in self.bad if mark.full_hash == full_hash), None)

    def extended(self, full_hash: str, task_id: str) -> int | None:
        """Return until when a person lets a gate wait for a build, None when nobody said so.

        :param full_hash: the build.
        :param task_id: the gate.
        """
        return max((each.until for each in self._to(full_hash, task_id) if each.until), default=None)

    def rejected(self, full_hash: str, task_id: str) -> Answered | None:
        """Return the answer by which a person gave a build up at a gate, None when the last one was another.

        :param full_hash: the build.
        :param task_id: the gate.
        """
        last = next(iter(self._to(full_hash, task_id)[::-1]), None)
        return last if last and last.answer is Answer.REJECT else None

    def _to(self, full_hash: str, task_id: str) -> list[Answered]:
        return [each for each in self.answers if (each.full_hash, each.task_id) == (full_hash, task_id)]


Decisions.NONE = Decisions()


def in_force(entries: Iterable[Decision], reviewed: Iterable[Waiver] = ()) -> Decisions:
    """Return what is decided and not lifted, whether it has expired or not.

    :param entries: decisions of one Dag, in any order.
    :param reviewed: the waivers of the release's reviewed file.
    """
    known = list(entries)
    lifted = {entry.lifts for entry in known if isinstance(entry, Lifted)}
    standing = sorted((entry for entry in known if entry.name not in lifted), key=lambda entry: entry.name)
    return Decisions(
        waivers=(*reviewed, *(_waiver(entry) for entry in standing if isinstance(entry, Waived))),
        holds=tuple(entry for entry in standing if isinstance(entry, Held)),
        bad=tuple(entry for entry in standing if isinstance(entry, MarkedBad)),
        answers=tuple(entry for entry in standing if isinstance(entry, Answered)),
    )


def describe(decision: Held | MarkedBad) -> str:
    """Say in one line what keeps a label or a build back, since when, and until when.

    :param decision: the hold or the mark.
    """
    if isinstance(decision, MarkedBad):
        return (
            f"{decision.full_hash} is marked bad by {decision.by} since {utc(decision.at)}: {decision.reason}"
        )
    until = "it is lifted" if decision.expires is None else utc(decision.expires)
    what = decision.label or decision.full_hash
    return f"{what} is held by {decision.by} since {utc(decision.at)} until {until}: {decision.reason}"


def _waiver(entry: Waived) -> Waiver:
    return Waiver(
        job=entry.job,
        full_hash=entry.full_hash,
        reason=entry.reason,
        by=entry.by,
        expires=entry.expires,
        origin=entry.name,
    )


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise ConfigError("no reason is given: say why, for example with the link of a bug")


def _check_hash(full_hash: str | None) -> None:
    if full_hash is not None and not is_full_hash(full_hash):
        raise ConfigError(
            f"{full_hash!r} is no full hash: copy the build's directory name, "
            "<commit hash>_<first 8 digits of the distro hash>, and its extension if it has one"
        )
