"""What outlives runs: facts of the ledger, and what follows from them. Pure.

A fact is written once and never changed. What is so now is not written down, it follows: a plan without a
later promotion is unfinished, unless it was given up.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import Build, check_label
from rdo_promoter.model.clock import is_over

#: Who promotes: a run of Airflow, or a person with the command line.
Via = Literal["airflow", "command line"]

#: Seconds for which a promotion on the command line may be at work since it last said so; a task may take as
#: long.
BY_HAND = 7200

#: What a fact's field is when it stands in JSON.
Json = str | int | None | list[str] | dict[str, str | None]

#: Airflow's rule for Dag ids, without what cannot be a folder's visible name.
_DAG_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,249}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What everything in the ledger says.

    :param dag_id: the release's Dag.
    :param at: when, in seconds since the epoch; what is compared with DLRN's times is by DLRN's clock.
    :param by: the run's id, a person's name, or ``user@host``.
    :param via: how it was done.
    """

    kind: ClassVar[str]

    dag_id: str
    at: int
    by: str
    via: Via

    def __post_init__(self) -> None:
        check_dag_id(self.dag_id)

    @property
    def folder(self) -> tuple[str, str]:
        """Where it lies: a folder of the Dag, and one in it."""
        raise NotImplementedError

    @property
    def identity(self) -> dict[str, Json]:
        """What makes two entries the same one."""
        return self.to_json()

    @property
    def name(self) -> str:
        """The entry's name in its folder: names sort by time, the same entry has the same name."""
        return f"{datetime.fromtimestamp(self.at, UTC):%Y%m%dT%H%M%SZ}-{self.suffix}"

    @property
    def suffix(self) -> str:
        """What follows the time in `name`: kind and identity."""
        text = json.dumps(self.identity, sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {"kind": self.kind, "dag_id": self.dag_id, "at": self.at, "by": self.by, "via": self.via}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact(Entry):
    """What every fact about a promotion says.

    :param label: the promoted label.
    :param build: the build that the label is to name.
    :param file: the release file as messages name it.
    :param digest: sha256 over the release file and what it includes, 64 hex digits.
    """

    label: str
    build: Build
    file: str
    digest: str

    def __post_init__(self) -> None:
        # Classes with slots are made anew by the decorator: super() without arguments would miss its class.
        Entry.__post_init__(self)
        check_label(self.label)

    @property
    def folder(self) -> tuple[str, str]:
        """Where it lies: a folder of the Dag, and the label's in it."""
        return self.dag_id, self.label

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {
            **Entry.to_json(self),
            "label": self.label,
            "build": self.build.to_json(),
            "file": self.file,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(_Fact):
    """A promotion was planned, and from here on things may have changed.

    :param was: the build that the label named, None when it named nothing.
    :param summary: what is to change, in one line.
    :param wanted: the promotion and the names of the Connections to its services, as JSON text: enough to
        complete it when the step is no longer in the release file; empty when nobody else shall.
    :param group: id of the run's promotion group, empty on the command line.
    """

    kind = "planned"

    was: Build | None
    summary: str
    wanted: str = ""
    group: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        fields = _Fact.to_json(self)
        was = self.was.to_json() if self.was else None
        return {**fields, "was": was, "summary": self.summary, "wanted": self.wanted, "group": self.group}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted(_Fact):
    """A promotion was carried out and verified.

    :param previous: the build that the label named before, None when it named nothing.
    :param timestamp: of the label's row in DLRN, seconds since the epoch.
    """

    kind = "promoted"

    previous: Build | None
    timestamp: int

    @property
    def identity(self) -> dict[str, Json]:
        """What makes two facts the same one: DLRN's row, whoever verified it and when."""
        return {
            "dag_id": self.dag_id,
            "label": self.label,
            "build": self.build.to_json(),
            "timestamp": self.timestamp,
        }

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        fields = _Fact.to_json(self)
        previous = self.previous.to_json() if self.previous else None
        return {**fields, "previous": previous, "timestamp": self.timestamp}


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp(_Fact):
    """A plan has ended without a promotion: nothing was changed, or a newer build has the label.

    :param plan: the plan's `suffix`.
    :param reason: why.
    """

    kind = "given_up"

    plan: str
    reason: str

    @property
    def identity(self) -> dict[str, Json]:
        """What makes two facts the same one: the plan, whoever gave it up."""
        return {"dag_id": self.dag_id, "label": self.label, "plan": self.plan}

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON values."""
        return {**_Fact.to_json(self), "plan": self.plan, "reason": self.reason}


Fact = Planned | Promoted | GivenUp


def give_up(plan: Planned, reason: str, *, at: int, by: str, via: Via) -> GivenUp:
    """Return the fact that ends a plan without a promotion.

    :param reason: why.
    :param at: when, by DLRN's clock.
    :param by: the run's id, a person's name, or ``user@host``.
    :param via: how it was done.
    """
    return GivenUp(
        dag_id=plan.dag_id,
        label=plan.label,
        build=plan.build,
        at=at,
        by=by,
        via=via,
        file=plan.file,
        digest=plan.digest,
        plan=plan.suffix,
        reason=reason,
    )


def unfinished(facts: Iterable[Fact]) -> tuple[Planned, ...]:
    """Return the plans that were neither carried out, nor overtaken, nor given up, in their order.

    A promotion carries out or overtakes every plan of its label that was written before it. Times do not
    matter: they are DLRN's, whose clock may have been set back in between.

    :param facts: facts of any Dags and labels, in the order in which they were written.
    """
    left: list[Planned] = []
    for fact in facts:
        if isinstance(fact, Planned):
            left.append(fact)
        elif isinstance(fact, Promoted):
            left = [plan for plan in left if plan.folder != fact.folder]
        else:
            left = [plan for plan in left if (plan.folder, plan.suffix) != (fact.folder, fact.plan)]
    return tuple(left)


def by_hand(plans: Iterable[Planned], *, now: int) -> Planned | None:
    """Return the plan of somebody who may be promoting on the command line at this moment.

    One that was killed left its plan behind; after `BY_HAND` seconds that stops nobody.

    :param plans: unfinished plans.
    :param now: DLRN's time.
    """
    return next(
        (plan for plan in plans if plan.via == "command line" and not is_over(plan.at, BY_HAND, now=now)),
        None,
    )


def is_dag_id(name: str) -> bool:
    """Tell whether a name can be a Dag's, and a folder's in the ledger."""
    return bool(_DAG_ID.fullmatch(name))


def check_dag_id(dag_id: str) -> str:
    """Return the Dag id when it can name a folder of the ledger.

    :raises ConfigError: when it cannot.
    """
    if not is_dag_id(dag_id):
        raise ConfigError(
            f"Dag id {dag_id!r} cannot name a folder of the ledger: letters, digits, '_', '.' and '-' can"
        )
    return dag_id
