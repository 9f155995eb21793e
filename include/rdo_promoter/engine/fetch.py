"""Copy a build's images from one image server to another of ours, and make room there.

Everything is looked at before anything is written, and each try does what is left: images that are in place
are not copied again, one that was cut off is gone on with. Old builds are removed last, or first when there
is too little room. What goes wrong with that is a note, and holds back no build whose images have arrived.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from rdo_promoter.clients import sftp_files
from rdo_promoter.clients.image_copy import copy_image
from rdo_promoter.clients.image_room import builds, free_space, named_by_links, remove_build, sweep
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.engine.observe import missing_root, observe_images
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import AnswerError, PreflightError, PromoterError
from rdo_promoter.model.build import Build
from rdo_promoter.model.plan import CopyImage
from rdo_promoter.model.promotion import ImageState
from rdo_promoter.model.retention import outdated

log = logging.getLogger(__name__)

#: Bytes that have to be left when all images are there: others write to that disk as well.
MARGIN = 256 * 2**20


@dataclass(frozen=True)
class Fetch:
    """What is to be copied from where to where.

    :param build: the build that the run carries.
    :param source: name of the image server that has its images.
    :param target: name of the image server that is to have them.
    :param images: the image files.
    :param keep: builds that stay on the target, the newest; None: all.
    :param known: all files that may be in a build's folder there.
    """

    build: Build
    source: str
    target: str
    images: tuple[str, ...]
    keep: int | None = None
    known: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """What messages call it."""
        return f"the copy of {self.build.full_hash} from {self.source} to {self.target}"


@dataclass(frozen=True)
class FetchPlan:
    """What is left to do.

    :param copies: images that the target lacks.
    :param size: bytes that are left to write.
    :param outdated: builds that are to be removed afterwards, oldest first.
    :param problems: what is missing or wrong; with one of these nothing is written.
    :param no_room: that there is too little room; empty when there is enough.
    :param notes: what a person should know, though it forbids nothing.
    """

    copies: tuple[CopyImage, ...] = ()
    size: int = 0
    outdated: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    no_room: str = ""
    notes: tuple[str, ...] = ()


#: Returns the full hashes of builds that are being promoted: they stay, though no link names them yet.
UnderWay = Callable[[], Collection[str]]


@dataclass(frozen=True)
class Fetched:
    """What was done.

    :param copied: images that were copied.
    :param already: how many were in place.
    :param size: bytes of the images that were copied.
    :param removed: builds that were removed.
    :param notes: what a person should know.
    """

    copied: tuple[str, ...]
    already: int
    size: int
    removed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def look(wanted: Fetch, services: Services, under_way: UnderWay = frozenset) -> FetchPlan:
    """Find out what is left to do, without refusing what is missing: for a dry run. Changes nothing.

    :param under_way: asked before old builds are removed.
    """
    with services.server(wanted.source) as source, services.server(wanted.target) as target:
        todo = _look(wanted, source, target)
        old, notes = ((), ()) if todo.problems else _old(wanted, target, under_way)
        return replace(todo, outdated=old, notes=(*todo.notes, *notes))


def fetch(wanted: Fetch, services: Services, under_way: UnderWay = frozenset) -> Fetched:
    """Copy what the target lacks, read it back, and remove builds that need not be kept.

    :param under_way: asked before old builds are removed.
    :raises PreflightError: naming all that is missing or wrong; nothing was written.
    :raises AnswerError: when an image has another md5 than is declared, before or after the copy.
    """
    short = wanted.build.short
    with services.server(wanted.source) as source, services.server(wanted.target) as target:
        todo, made = _look(wanted, source, target), Fetched((), 0, 0)
        if todo.no_room and not todo.problems:
            made = _clean(wanted, target, made, under_way)
            todo = _look(wanted, source, target) if made.removed else todo
        if problems := (*todo.problems, *filter(None, [todo.no_room])):
            kept = f"{len(made.removed)} old builds were removed" if made.removed else "nothing was changed"
            raise PreflightError(wanted.subject, (*problems, *made.notes), kept=kept)
        log.info("%s %s: %d images to copy, %d bytes", short, wanted.target, len(todo.copies), todo.size)
        size = 0
        for change in todo.copies:
            size += copy_image(source, target, change.folder, change.image, change.md5)
            log.info("%s %s", short, change)
        left = _copies(wanted, _states(wanted, source), _states(wanted, target))
        if left:
            raise AnswerError(f"{wanted.subject}: after it {len(left)} images are not there: {left[0]}")
        copied = tuple(change.image for change in todo.copies)
        done = Fetched(copied, len(wanted.images) - len(copied), size, made.removed, notes=todo.notes)
        return _clean(wanted, target, done, under_way)


def _look(wanted: Fetch, source: ImageServer, target: ImageServer) -> FetchPlan:
    folder = wanted.build.full_hash
    uploaded = _states(wanted, source)
    problems = [
        f"image server {wanted.source}: {folder}/{image} {problem}; let the image job upload it again"
        for image, state in uploaded.items()
        if (problem := state.problem)
    ]
    if problem := missing_root(target):
        return FetchPlan(problems=(*problems, problem))
    copies = _copies(wanted, uploaded, _states(wanted, target))
    size = _left(target, copies, uploaded)
    notes, no_room = [], ""
    if copies:
        free = free_space(target)
        if free is None:
            notes.append(
                f"image server {wanted.target}: it does not tell how much room it has (statvfs@openssh.com); "
                "a disk that is full is noticed while it is written to"
            )
        elif free < size + MARGIN:
            no_room = (
                f"image server {wanted.target}: {target.root} has room for {free} bytes, {size} are left to "
                f"copy and {MARGIN} are to stay free; make room there, then clear this task"
            )
    return FetchPlan(copies, size, problems=tuple(problems), no_room=no_room, notes=tuple(notes))


def _states(wanted: Fetch, server: ImageServer) -> dict[str, ImageState]:
    return observe_images(
        server,
        wanted.build.full_hash,
        wanted.images,
        checksums=False,
        filled_by_us=server.name == wanted.target,
    )


def _copies(
    wanted: Fetch, source: dict[str, ImageState], target: dict[str, ImageState]
) -> tuple[CopyImage, ...]:
    """Name the images that the target lacks: in place is what has the size and the ``.md5`` of the source."""
    return tuple(
        CopyImage(wanted.target, image, wanted.build.full_hash, state.declared)
        for image, state in source.items()
        if state.problem is None and state.declared is not None and target[image] != state
    )


def _left(target: ImageServer, copies: tuple[CopyImage, ...], uploaded: dict[str, ImageState]) -> int:
    """Return the bytes that are left to write; an interrupted try may have written some."""
    left = 0
    for change in copies:
        part = posixpath.basename(sftp_files.partial(change.image, change.md5))
        there = (target.files(change.folder) or {}).get(part, 0)
        left += max((uploaded[change.image].size or 0) - there, 0)
    return left


def _old(wanted: Fetch, target: ImageServer, under_way: UnderWay) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the builds that need not be kept, oldest first, and notes."""
    if wanted.keep is None:
        return (), ()
    carried = wanted.build.full_hash
    try:
        found, spared = builds(target), named_by_links(target) | {carried} | set(under_way())
    except PromoterError as error:
        return (), (f"{error}; no old build is removed",)
    # Before the copy it is not there yet, but will be the newest.
    found.setdefault(carried, max(found.values(), default=0) + 1)
    return outdated(found, keep=wanted.keep, spared=spared), ()


def _clean(wanted: Fetch, target: ImageServer, done: Fetched, under_way: UnderWay) -> Fetched:
    """Remove builds; of each it is asked once more, right before, whether somebody needs it by now."""
    old, said = _old(wanted, target, under_way)
    removed, notes = [*done.removed], [*done.notes, *said]
    if wanted.keep is not None:
        try:
            sweep(target)
        except PromoterError as error:
            notes.append(f"{error}; the next try removes it")
    for folder in old:
        where = f"image server {wanted.target}: {folder} stays"
        try:
            if folder in named_by_links(target):
                notes.append(f"{where}: a link names it by now")
            elif folder in under_way():
                notes.append(f"{where}: it is being promoted by now")
            elif unknown := remove_build(target, folder, wanted.known):
                what = ", ".join(unknown[:5])
                notes.append(f"{where}: no step names {what}, which is in it; remove it by hand")
            else:
                removed.append(folder)
                log.info("%s %s: removed %s", wanted.build.short, wanted.target, folder)
        except PromoterError as error:
            notes.append(f"{where}: {error}")
    return replace(done, removed=tuple(removed), notes=tuple(notes))
