"""Copying images from one registry to another: byte for byte, children first, each blob once.

A blob that several images share is carried by the first of them; the others wait for it and mount it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock

from rdo_promoter.clients.registry.blobs import Opener
from rdo_promoter.clients.registry.client import Registry
from rdo_promoter.clients.registry.manifest import Descriptor
from rdo_promoter.clients.registry.pool import StoppedError, run_all
from rdo_promoter.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CopyItem:
    """One image to copy.

    :param source_repository: where it is.
    :param target_repository: where it should be.
    :param digest: which one.
    :param tag: what it should be called.
    """

    source_repository: str
    target_repository: str
    digest: str
    tag: str


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy did.

    :param copied: images whose tag was set, with what they needed.
    :param already: images whose tag named the digest before; nothing was sent for them.
    :param blobs_moved: blobs that travelled.
    :param blobs_mounted: blobs taken over from another repository of the target.
    :param blobs_skipped: blobs that the repository had already.
    :param blobs_foreign: layers that registries do not keep.
    :param bytes_moved: bytes of the blobs that travelled.
    """

    copied: tuple[CopyItem, ...]
    already: tuple[CopyItem, ...]
    blobs_moved: int = 0
    blobs_mounted: int = 0
    blobs_skipped: int = 0
    blobs_foreign: int = 0
    bytes_moved: int = 0


class Carrier:
    """Brings blobs into the repositories of one registry, each distinct blob once.

    :param target: the registry.
    :param stop: set when an action beside this one has failed.
    """

    def __init__(self, target: Registry, *, stop: Event) -> None:
        self._target = target
        self._stop = stop
        self._lock = Lock()
        self._holders: dict[str, Future[str]] = {}
        self.moved = self.mounted = self.skipped = self.foreign = self.bytes = 0

    def carry(self, repository: str, blobs: Sequence[Descriptor], opener: Opener) -> None:
        """See that the repository has all these blobs.

        :param opener: opens the content of a blob.
        """
        later = []
        # What nobody has in hand is carried before anything is waited for: no two wait for each other, and
        # a big shared layer does not hold up the small ones.
        for blob in blobs:
            if self._stop.is_set():
                raise StoppedError
            if blob.foreign:
                self._count(foreign=1)
                continue
            with self._lock:
                mine = blob.digest not in self._holders
                holder = self._holders.setdefault(blob.digest, Future())
            if not mine:
                later.append((blob, holder))
                continue
            try:
                self._bring(repository, blob, opener)
            except BaseException as error:
                holder.set_exception(error)
                raise
            holder.set_result(repository)
        for blob, holder in later:
            self._take_over(repository, blob, holder.result(), opener)

    def _bring(self, repository: str, blob: Descriptor, opener: Opener) -> None:
        if self._target.blobs.exists(repository, blob.digest):
            self._count(skipped=1)
        else:
            self._upload(repository, blob, opener)

    def _take_over(self, repository: str, blob: Descriptor, holder: str, opener: Opener) -> None:
        if holder == repository:
            self._count(skipped=1)
            return
        # Mounting what is there already is harmless, so this is one request instead of two.
        location = self._target.blobs.mount(repository, blob.digest, source=holder)
        if location is None:
            self._count(mounted=1)
        elif self._target.blobs.exists(repository, blob.digest):
            self._target.blobs.cancel(repository, location)
            self._count(skipped=1)
        else:
            self._upload(repository, blob, opener, location)

    def _upload(self, repository: str, blob: Descriptor, opener: Opener, location: str | None = None) -> None:
        size = self._target.blobs.upload(repository, blob, opener, location=location, stop=self._stop)
        self._count(moved=1, bytes_=size)

    def _count(
        self, *, moved: int = 0, mounted: int = 0, skipped: int = 0, foreign: int = 0, bytes_: int = 0
    ) -> None:
        with self._lock:
            self.moved += moved
            self.mounted += mounted
            self.skipped += skipped
            self.foreign += foreign
            self.bytes += bytes_


def copy(source: Registry, target: Registry, items: Iterable[CopyItem]) -> CopyReport:
    """Copy images to another registry; what is there already costs one request.

    :raises ConfigError: when source and target are the same registry, or two items want the same tag.
    :raises NotFoundError: when an image is not in the source.
    :raises PromoterError: the first error; it names registry, repository and tag, digest or blob. What was
        copied until then stays, and copying again goes on from there.
    """
    if source.url == target.url:
        raise ConfigError(
            f"registry {source.name} and registry {target.name} are the same: tag by digest instead"
        )
    wanted = _distinct(items, target)
    target.will_write(item.target_repository for item in wanted)
    stop = Event()
    carrier = Carrier(target, stop=stop)

    def place(source_repository: str, target_repository: str, digest: str, reference: str) -> None:
        if stop.is_set():
            raise StoppedError
        if target.head(target_repository, digest) is not None:
            if reference != digest:
                target.put(target_repository, reference, target.get(target_repository, digest))
            return
        manifest = source.get(source_repository, digest)
        for child in manifest.children:
            place(source_repository, target_repository, child.digest, child.digest)
        carrier.carry(target_repository, manifest.blobs, partial(source.blobs.open, source_repository))
        target.put(target_repository, reference, manifest)

    def one(item: CopyItem) -> bool:
        found = target.head(item.target_repository, item.tag)
        if found is not None and found.digest == item.digest:
            return False
        place(item.source_repository, item.target_repository, item.digest, item.tag)
        return True

    changed = run_all(one, wanted, threads=min(source.pool, target.pool), stop=stop)
    return CopyReport(
        copied=tuple(item for item, new in zip(wanted, changed, strict=True) if new),
        already=tuple(item for item, new in zip(wanted, changed, strict=True) if not new),
        blobs_moved=carrier.moved,
        blobs_mounted=carrier.mounted,
        blobs_skipped=carrier.skipped,
        blobs_foreign=carrier.foreign,
        bytes_moved=carrier.bytes,
    )


def _distinct(items: Iterable[CopyItem], target: Registry) -> list[CopyItem]:
    wanted = list(dict.fromkeys(items))
    digests: dict[tuple[str, str], str] = {}
    for item in wanted:
        digest = digests.setdefault((item.target_repository, item.tag), item.digest)
        if digest != item.digest:
            raise ConfigError(
                f"{item.target_repository}:{item.tag} cannot be both {digest} and {item.digest} "
                f"(registry {target.name}): name each image once"
            )
    return wanted
