"""A test's corner of the lab with something wrong in it, and everything that is in there as plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import dlrn as lab_dlrn
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry
from rdo_promoter.clients.ssh import connect
from tests.engine.rdo import Rdo


@dataclass(frozen=True)
class Spoilt(Rdo):
    """Services of one test, some of which are reached with what does not fit.

    :param registries: clients in place of the right ones, by the registry's name.
    :param ssh: changes to the login at the image server.
    """

    registries: Mapping[str, Registry] = field(default_factory=dict)
    ssh: Mapping[str, Any] = field(default_factory=dict)

    def registry(self, name: str) -> Registry:
        return self.registries.get(name) or super().registry(name)

    @contextmanager
    def server(self, name: str) -> Iterator[ImageServer]:
        if name != "images":
            with super().server(name) as server:
                yield server
            return
        facts = self.lab.images
        right = {"key_file": facts.key_file, "host_key": facts.host_key, "source": "Connection 'images_rdo'"}
        settings = {"port": facts.port, **right, **self.ssh}
        with connect(facts.host, settings.pop("port"), facts.username, **settings) as sftp:
            yield ImageServer(sftp, root=str(self.image_root), name=name)


def everything(rdo: Rdo) -> dict[str, object]:
    """Read all that the test's corner of the real services holds: rows, links, tags, manifests, blobs, files.

    From the services' own folders: what a client would not ask for is seen as well.
    """
    labels = (rdo.candidate_label, rdo.label, f"previous-{rdo.label}")
    found: dict[str, object] = {f"rows of {label}": rdo.dlrn.promotions(label) for label in labels}
    tree = lab_dlrn.tree_folder(rdo.lab.root)
    found |= {
        str(link): link.readlink() for link in tree.iterdir() if link.is_symlink() and link.name in _own(rdo)
    }
    for each in rdo.lab.registries:
        repositories = each.folder / "storage/docker/registry/v2/repositories"
        found |= _files(repositories / rdo.namespace(each.name))
    return found | _files(rdo.image_root) | _files(rdo.mirror_root)


def _own(rdo: Rdo) -> set[str]:
    """Return the names in DLRN's tree that a promotion of this corner could make."""
    return {f"{before}{label}" for before in ("", "previous-") for label in (rdo.candidate_label, rdo.label)}


def _files(folder: Path) -> dict[str, object]:
    return {str(path): _content(path) for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def _content(path: Path) -> str:
    return f"-> {path.readlink()}" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
