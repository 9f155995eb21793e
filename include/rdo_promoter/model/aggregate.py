"""An aggregate of the component pipeline: the build of each component that it is made of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import AggregateHash, DlrnHash


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate with its members.

    :param build: what it is known by.
    :param members: one build a component; kept in the order of the components' names, which is DLRN's.
    """

    build: AggregateHash
    members: tuple[DlrnHash, ...]

    def __post_init__(self) -> None:
        names = Counter(member.component for member in self.members)
        if not names or None in names or max(names.values()) > 1:
            raise ConfigError(
                f"aggregate {self.build} cannot be made of {', '.join(map(str, self.members)) or 'nothing'}: "
                f"it takes one build of each component, these are of {', '.join(map(str, names)) or 'none'}"
            )
        object.__setattr__(self, "members", tuple(sorted(self.members, key=_component)))

    @property
    def components(self) -> tuple[str, ...]:
        """The members' components, in their order."""
        return tuple(map(_component, self.members))


def hash_of(content: bytes) -> AggregateHash:
    """Return the aggregate that the content of a ``delorean.repo`` stands for.

    :param content: the whole file.
    """
    return AggregateHash(hashlib.md5(content, usedforsecurity=False).hexdigest())


def aggregate_of(repos: Mapping[str, bytes]) -> AggregateHash:
    """Return the aggregate that DLRN makes of components.

    Source: ``aggregate_repo_files`` of DLRN's ``utils.py``.

    :param repos: the content of each component's ``delorean.repo``, by component.
    """
    return hash_of(b"".join(repos[component] + b"\n" for component in sorted(repos)))


def _component(member: DlrnHash) -> str:
    return member.component or ""
