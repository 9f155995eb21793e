"""Promotions that concern DLRN alone, whose API can be made to fail at a single request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from lab import dlrn as lab_dlrn
from lab.faults import FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.promotion import Promotion
from tests.engine.world import Corner, World


@dataclass(frozen=True)
class Alone:
    """A build that is to be promoted in DLRN alone, and the engine's services for that.

    :param api: stands before DLRN's API.
    :param old: the build that holds the labels.
    """

    rdo: Corner
    dlrn: DlrnClient
    api: FaultProxy
    old: DlrnHash
    new: DlrnHash

    def registry(self, name: str) -> Registry:
        raise AssertionError(f"nobody needs registry {name}")

    def namespace(self, name: str) -> str:
        raise AssertionError(f"nobody needs registry {name}")

    def server(self, name: str) -> AbstractContextManager[ImageServer]:
        raise AssertionError(f"nobody needs image server {name}")

    @property
    def promotion(self) -> Promotion:
        return Promotion(self.new, self.rdo.label, self.rdo.candidate_label)

    def builds(self, label: str) -> list[DlrnHash]:
        """Return the builds of a label's rows, newest first; not over the proxy."""
        return [row.build for row in self.rdo.dlrn.promotions(label) if isinstance(row.build, DlrnHash)]

    def linked(self, label: str) -> str | None:
        """Return the directory that a label's link names."""
        link = lab_dlrn.tree_folder(self.rdo.lab.root) / label
        return link.readlink().as_posix() if link.is_symlink() else None

    def move_link(self, label: str, build: DlrnHash) -> None:
        """Move a label's link and write no row, as a DLRN does that fails in between."""
        link = lab_dlrn.tree_folder(self.rdo.lab.root) / label
        link.unlink(missing_ok=True)
        link.symlink_to(build.path)


@contextmanager
def open_alone(world: World) -> Iterator[Alone]:
    """Take a build that CI has voted on; the candidate label and the promoted one name the old build."""
    rdo, new = world.take()
    facts = world.lab.dlrn
    with (
        FaultProxy(facts.api_url) as api,
        DlrnClient(
            api.url,
            facts.repo_url,
            username=facts.username,
            password=facts.password,
            retries=1,
            backoff=0.01,
            patience=0.3,
        ) as dlrn,
    ):
        yield Alone(rdo, dlrn, api, world.old, new)
        assert api.pending == 0, "planned faults did not happen"
