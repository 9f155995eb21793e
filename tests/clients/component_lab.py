"""A DLRN of the lab in component mode, for tests."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import dlrn_components
from lab.dlrn import DlrnFacts
from lab.dlrn_orders import NewBuild
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import AggregateHash, DlrnHash
from tests.clients.dlrn_lab import make_client

#: Each has a build from the beginning, the second with an extended hash.
COMPONENTS = ("common", "compute", "network")

_STOCK = 8


@dataclass(frozen=True)
class ComponentDlrn:
    """A running DLRN of the lab in component mode."""

    root: Path
    facts: DlrnFacts
    _stock: list[AggregateHash] = field(default_factory=list)
    _unused: list[str] = field(
        default_factory=lambda: [name for name in dlrn_components.COMPONENTS if name not in COMPONENTS]
    )

    @property
    def tree(self) -> Path:
        """The folder of its repository tree."""
        return dlrn_components.tree_folder(self.root)

    def client(self, api_url: str | None = None, repo_url: str | None = None, **changes: Any) -> DlrnClient:
        """Return a client of the promoter that does not wait long; each argument can be another."""
        return make_client(self.facts, api_url, repo_url, **changes)

    def add(self, *components: str, **fields: Any) -> list[DlrnHash]:
        """Let the builder make a build of each component, in the order given."""
        return [build for build, _ in self._make(*components, **fields)]

    def aggregate(self, *components: str) -> AggregateHash:
        """Return an aggregate that no other test has, newer than those before.

        :param components: those that are built for it, so that it is what `consistent` names; by default
            it is any, and `consistent` may be newer.
        """
        if not components and not self._stock:
            # One process for many; they differ in one build.
            self._stock.extend(made for _, made in self._make(*["compute"] * _STOCK) if made)
        if not components:
            return self._stock.pop(0)
        _, made = self._make(*components)[-1]
        assert made is not None
        return made

    def _make(self, *components: str, **fields: Any) -> list[tuple[DlrnHash, AggregateHash | None]]:
        # Else they would be older than what is made now.
        self._stock.clear()
        now = int(time.time())
        new = [
            NewBuild(now, component=name, **{"project": f"openstack-{name}", **fields}) for name in components
        ]
        return dlrn_components.add_aggregates(self.root, new)

    def unused(self) -> str:
        """Return a component that has no build yet."""
        return self._unused.pop()


def start_component_dlrn(root: Path) -> Generator[ComponentDlrn, None, None]:
    """Run a DLRN in component mode in a folder."""
    facts = dlrn_components.start(root)
    try:
        lab = ComponentDlrn(root, facts)
        lab.add("network", "common")
        lab.add("compute", extended=True)
        yield lab
    finally:
        for service in dlrn_components.services(root):
            service.stop()
