"""What the engine works on: the clients of one release, by the names of its release file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry


class Services(Protocol):
    """Makes the clients of a release when they are asked for; a task opens only what it needs."""

    @property
    def dlrn(self) -> DlrnClient:
        """The release's DLRN."""

    def registry(self, name: str) -> Registry:
        """Return the client of a registry."""

    def namespace(self, name: str) -> str:
        """Return the namespace that the release uses in a registry."""

    def server(self, name: str) -> AbstractContextManager[ImageServer]:
        """Open a connection to an image server, closed at the end of the `with` block."""
