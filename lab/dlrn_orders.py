"""Orders for `dlrn_stage`: builds, and the votes and promotions of the past."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rdo_promoter.model.build import DlrnHash

PROMOTER = "promoter"

Step = dict[str, Any]


@dataclass(frozen=True)
class NewBuild:
    """A build for the lab's DLRN.

    :param when: when it was built, in seconds since the epoch.
    :param extended: False for none, True for a long one of two hashes, or the extended hash itself.
    :param project: the package that was built.
    :param failed: it did not build; until the package builds again, ``consistent`` stands still.
    :param name: hashes follow from it, so the same name gives the same build; by default a new one.
    :param component: the package's component, in component mode alone.
    """

    when: int
    extended: bool | str = False
    project: str = "openstack-nova"
    failed: bool = False
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    component: str | None = None

    @property
    def extended_hash(self) -> str | None:
        """The extended hash as DLRN stores it."""
        if isinstance(self.extended, str):
            return self.extended
        return f"{_sha1(self.name, 'x')}_{_sha1(self.name, 'y')}" if self.extended else None

    @property
    def build(self) -> DlrnHash:
        """What the builder makes of it."""
        hashes = _sha1(self.name, "commit"), _sha1(self.name, "distro")
        return DlrnHash(*hashes, self.extended_hash, self.component)

    def step(self) -> Step:
        """Return the order to make it."""
        return {
            "op": "build",
            "name": self.name,
            "when": self.when,
            "project": self.project,
            "extended": self.extended_hash,
            "failed": self.failed,
            "component": self.component,
        }


@dataclass(frozen=True)
class PastPromotion:
    """A promotion of the past; that of a build with a component is the component's part of an aggregate.

    :param when: in seconds since the epoch.
    :param aggregate: the aggregate's hash, which DLRN notes in the last row of its components.
    """

    build: DlrnHash
    label: str
    when: int
    aggregate: str | None = None

    def step(self) -> Step:
        """Return the order to add it."""
        return PastAggregate((self.build,), self.label, self.when).step() | {"aggregate": self.aggregate}


@dataclass(frozen=True)
class PastAggregate:
    """A promotion of the past in component mode.

    :param builds: one a component, in the order in which they are promoted.
    :param when: in seconds since the epoch.
    """

    builds: Sequence[DlrnHash]
    label: str
    when: int

    def step(self) -> Step:
        """Return the order to add it."""
        return {
            "op": "promotion",
            "builds": [build.to_json() for build in self.builds],
            "label": self.label,
            "when": self.when,
            "user": PROMOTER,
        }


@dataclass(frozen=True)
class PastVote:
    """A CI job's result of the past.

    :param when: in seconds since the epoch.
    """

    build: DlrnHash
    job: str
    success: bool
    url: str
    when: int

    def step(self) -> Step:
        """Return the order to add it."""
        return {
            "op": "vote",
            "build": self.build.to_json(),
            "job": self.job,
            "success": self.success,
            "url": self.url,
            "when": self.when,
        }


def _sha1(*words: str) -> str:
    return hashlib.sha1("/".join(words).encode()).hexdigest()
