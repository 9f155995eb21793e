"""A DLRN of the lab for tests, with builds in stock: making one costs a process."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import dlrn
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import DlrnHash

_STOCK = 24


def make_client(
    facts: dlrn.DlrnFacts, api_url: str | None = None, repo_url: str | None = None, **changes: Any
) -> DlrnClient:
    """Return a client of the promoter that does not wait long; each argument can be another."""
    options: dict[str, Any] = {
        "username": facts.username,
        "password": facts.password,
        "retries": 2,
        "backoff": 0.02,
        "patience": 0.3,
        **changes,
    }
    return DlrnClient(api_url or facts.api_url, repo_url or facts.repo_url, **options)


@dataclass(frozen=True)
class LabDlrn:
    """A running DLRN of the lab."""

    root: Path
    facts: dlrn.DlrnFacts
    _stock: dict[bool, list[DlrnHash]] = field(default_factory=lambda: {False: [], True: []})

    def client(self, api_url: str | None = None, repo_url: str | None = None, **changes: Any) -> DlrnClient:
        """Return a client of the promoter that does not wait long; each argument can be another."""
        return make_client(self.facts, api_url, repo_url, **changes)

    def build(self, *, extended: bool = False) -> DlrnHash:
        """Return a build that no other test has; `extended` with a long extended hash."""
        stock = self._stock[extended]
        # The newest of all is what `consistent` names: a test may purge what it gets.
        if len(stock) < 2:
            now = int(time.time())
            new = [dlrn.NewBuild(when=now + number, extended=extended) for number in range(_STOCK)]
            stock.extend(dlrn.add_builds(self.root, new))
        # As in DLRN: of two builds the one that is taken later was built later.
        return stock.pop(0)

    def add(self, **fields: Any) -> DlrnHash:
        """Add a special build, the newest of all."""
        return dlrn.add_build(self.root, when=int(time.time()), **fields)


def start_dlrn(root: Path) -> Generator[LabDlrn, None, None]:
    """Run a DLRN in a folder."""
    dlrn.ensure_environment(root)
    dlrn.stage(root)
    services = dlrn.services(root)
    try:
        for service in services:
            service.start()
        for service in services:
            service.wait_ready()
        yield LabDlrn(root, dlrn.facts(root))
    finally:
        for service in services:
            service.stop()
