"""What a person wants decided, checked: the same for the form of a Dag and for the command line. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rdo_promoter.control.force import about, everything, liftable
from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import is_full_hash
from rdo_promoter.model.clock import utc
from rdo_promoter.model.decisions import Decision, Decisions, Held, Lifted, MarkedBad, Waived
from rdo_promoter.model.ledger import Via
from rdo_promoter.model.text import one_line, web_address
from rdo_promoter.release import Release
from rdo_promoter.steps import Candidate, Promote
from rdo_promoter.steps.fields import nearest

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)? ?(Z|[+-]\d\d:?\d\d)", re.IGNORECASE)
_DAY = 86_400
#: Seconds: a waiver that outlives a release was a mistake in the year.
_LONGEST = 366 * _DAY


class Act(StrEnum):
    """What can be done; the words of the command line."""

    WAIVE = "waive"
    HOLD = "hold"
    LIFT = "lift"
    MARK_BAD = "mark-bad"
    SHOW = "show"


#: Which fields each act takes; each other one has to be empty.
TAKES: dict[Act, frozenset[str]] = {
    Act.WAIVE: frozenset({"jobs", "full_hash", "every_build", "reason", "until"}),
    Act.HOLD: frozenset({"label", "full_hash", "reason", "until"}),
    Act.LIFT: frozenset({"lifts", "reason"}),
    Act.MARK_BAD: frozenset({"full_hash", "reason"}),
    Act.SHOW: frozenset(),
}

#: What the fields are called where people fill them in.
CALLED = {
    "jobs": "job",
    "full_hash": "build",
    "every_build": "every build",
    "label": "label",
    "reason": "reason",
    "until": "until",
    "lifts": "lift",
}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person wants, as it was typed.

    :param act: what to do.
    :param jobs: the jobs to waive.
    :param full_hash: the build.
    :param every_build: waive for every build instead.
    :param label: the label to hold.
    :param reason: why; for a waiver the link of a bug.
    :param until: until when it counts, with a time zone; empty for a hold that is to be lifted.
    :param lifts: what to lift: a job, a label, a full hash, or names of entries.
    """

    act: Act
    jobs: tuple[str, ...] = ()
    full_hash: str = ""
    every_build: bool = False
    label: str = ""
    reason: str = ""
    until: str = ""
    lifts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("full_hash", "label", "reason", "until"):
            object.__setattr__(self, name, getattr(self, name).strip())
        for name in ("jobs", "lifts"):
            words = dict.fromkeys(word.strip() for word in getattr(self, name))
            object.__setattr__(self, name, tuple(word for word in words if word))


@dataclass(frozen=True)
class Author:
    """Who decides, and when.

    :param by: the person, as Airflow or the system knows them.
    :param via: how it is done.
    :param at: DLRN's time, seconds since the epoch.
    """

    by: str
    via: Via
    at: int


def check(wish: Wish, release: Release, *, now: int) -> None:
    """Refuse what cannot be written down, whatever is in force.

    :param wish: what is wanted.
    :param release: the release.
    :param now: seconds since the epoch.
    :raises ConfigError: with one line a problem, each of which says what to write.
    """
    if problems := list(_problems(wish, release, now)):
        raise ConfigError("\n".join(problems))


def entries(wish: Wish, release: Release, decisions: Decisions, author: Author) -> list[Decision]:
    """Return what is to be written into the ledger; what is in force exactly so already is not.

    :param wish: what is wanted.
    :param release: the release.
    :param decisions: what is in force, expired or not.
    :param author: who decides.
    :raises ConfigError: as `check`, and when nothing such is there to be lifted.
    """
    check(wish, release, now=author.at)
    common: dict[str, Any] = {
        "dag_id": release.dag_id,
        "at": author.at,
        "by": author.by,
        "via": author.via,
        "reason": one_line(wish.reason),
    }
    made: list[Decision]
    match wish.act:
        case Act.WAIVE:
            full_hash = wish.full_hash or None
            expires = parse_time(wish.until)
            made = [Waived(**common, job=job, full_hash=full_hash, expires=expires) for job in wish.jobs]
        case Act.HOLD:
            until = parse_time(wish.until) if wish.until else None
            made = [Held(**common, label=wish.label or None, full_hash=wish.full_hash or None, expires=until)]
        case Act.MARK_BAD:
            made = [MarkedBad(**common, full_hash=wish.full_hash)]
        case Act.LIFT:
            made = [Lifted(**common, lifts=name) for name in _lifted(wish, release, decisions, author.at)]
        case Act.SHOW:
            made = []
    return [each for each in made if not _is_known(each, decisions)]


def parse_time(text: str) -> int:
    """Read a time with its zone, as seconds since the epoch.

    :raises ValueError: when it is none; without a zone nobody knows which time it is.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time with a time zone")
    day, time, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{zone.upper()}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time: {error}") from error
    return int(moment.timestamp())


def labels_of(release: Release) -> list[str]:
    """Return the labels that the release moves, candidate labels among them."""
    steps = [step for stage in release.stages for step in stage.steps]
    return list(dict.fromkeys(step.label for step in steps if isinstance(step, Candidate | Promote)))


def _problems(wish: Wish, release: Release, now: int) -> Iterator[str]:
    takes = TAKES[wish.act]
    for name, called in CALLED.items():
        if name not in takes and getattr(wish, name):
            acts = " and ".join(str(act) for act, fields in TAKES.items() if name in fields)
            yield f"{called}: this is for {acts}, not for {wish.act}: leave it empty"
    if wish.act is Act.WAIVE:
        yield from _unknown(wish.jobs, release.jobs, "job", "a required job to waive", release)
        if wish.every_build == bool(wish.full_hash):
            yield "build: write one build's full hash, or tick every build; not both, and not neither"
    if wish.act is Act.HOLD:
        if bool(wish.label) == bool(wish.full_hash):
            yield "label: a hold names either a label or a build: fill in one of them"
        if wish.label:
            yield from _unknown([wish.label], labels_of(release), "label", "", release)
    if wish.act is Act.MARK_BAD and not wish.full_hash:
        yield "build: write the full hash of the build that is bad"
    if "full_hash" in takes and wish.full_hash and not is_full_hash(wish.full_hash):
        yield (
            f"build: {wish.full_hash!r} is no full hash: copy the build's directory name, "
            "<commit hash>_<first 8 digits of the distro hash>, and its extension if it has one"
        )
    yield from _reason(wish)
    if "until" in takes:
        yield from _until(wish, now)


def _unknown(
    named: Collection[str], known: Collection[str], called: str, wanted: str, release: Release
) -> Iterator[str]:
    if not named:
        yield f"{called}: write {wanted}; {nearest('', known)}"
    for each in named:
        if each not in known:
            what = "requires no such job" if called == "job" else "moves no such label"
            yield f"{called}: {each!r}: {release.dag_id} {what}; {nearest(each, known)}"


def _reason(wish: Wish) -> Iterator[str]:
    reason = wish.reason
    if wish.act is Act.WAIVE and not web_address(reason):
        said = f"{one_line(reason)!r} is no link" if reason else "is missing"
        yield f"reason: {said}: a waiver needs the link of a bug, for example https://bugs.launchpad.net/bugs/1"
    elif "reason" in TAKES[wish.act] and not reason:
        yield "reason: is missing: say why, for example with the link of a bug"


def _until(wish: Wish, now: int) -> Iterator[str]:
    example = utc(now + 7 * _DAY).replace(" ", "T")
    if not wish.until:
        if wish.act is Act.WAIVE:
            yield f"until: a waiver has an end: write date, time and time zone, for example {example}"
        return
    try:
        expires = parse_time(wish.until)
    except ValueError as error:
        yield f"until: {error}: write date, time and time zone, for example {example}"
        return
    if expires <= now:
        yield f"until: {utc(expires)} is over, it is {utc(now)}: write a time to come, for example {example}"
    elif expires > now + _LONGEST:
        yield f"until: {utc(expires)} is more than a year ahead: write an earlier time, for example {example}"


def _lifted(wish: Wish, release: Release, decisions: Decisions, now: int) -> list[str]:
    """Return the names of the entries that are to be lifted."""
    there = liftable(decisions, now=now)
    if not wish.lifts:
        raise ConfigError("\n".join(["lift: name what to lift.", *_offer(there, release)]))
    found: list[str] = []
    for text in wish.lifts:
        matches = [each for each in there if text in (each.name, *about(each))]
        if len(matches) > 1:
            lines = [f"lift: {text!r} is the subject of {len(matches)} decisions: write the name of one."]
            raise ConfigError("\n".join([*lines, *_offer(matches, release)]))
        if not matches:
            reviewed = [each for each in everything(decisions) if each.reviewed and text in about(each)]
            if reviewed:
                raise ConfigError(
                    f"lift: {text!r} is waived in the reviewed file ({reviewed[0].name}): change it there"
                )
            lines = [f"lift: nothing about {text!r} is in force."]
            raise ConfigError("\n".join([*lines, *_offer(there, release)]))
        found.append(matches[0].name)
    return list(dict.fromkeys(found))


def _offer(there: Iterable[Any], release: Release) -> list[str]:
    """Return lines about what can be lifted."""
    lines = [f"  {each}" for each in there]
    return [f"In force for {release.dag_id}:", *lines] if lines else [f"Nothing of {release.dag_id} is."]


def _is_known(made: Decision, decisions: Decisions) -> bool:
    """Tell whether exactly this is in force already: a task that is tried again decides nothing twice."""
    if isinstance(made, Waived):
        same = (made.job, made.full_hash, made.reason, made.by, made.expires)
        return any(same == (w.job, w.full_hash, w.reason, w.by, w.expires) for w in decisions.waivers)
    if isinstance(made, Held | MarkedBad):
        there = [*map(_but_time, decisions.holds), *map(_but_time, decisions.bad)]
        return _but_time(made) in there
    return False


def _but_time(entry: Held | MarkedBad) -> dict[str, object]:
    return {**entry.to_json(), "at": None}
