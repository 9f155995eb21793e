"""A mirror in a promotion, on real services: what its readers see, and what keeps a promotion from it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from lab.dlrn import add_build
from lab.lab import Lab
from rdo_promoter.clients import sftp_files
from rdo_promoter.engine import promote
from rdo_promoter.errors import AnswerError, ConflictError, PreflightError, ServiceError, UnfinishedError
from rdo_promoter.model.build import Build, DlrnHash
from rdo_promoter.model.promotion import Promotion
from tests.engine.rdo import IMAGES, MIRROR, Rdo

pytestmark = pytest.mark.lab


class CutError(BaseException):
    """The process dies here; nothing catches it."""


@pytest.fixture(scope="module")
def build(lab: Lab) -> DlrnHash:
    """A build for all of these tests, each of which has labels and folders of its own."""
    return add_build(lab.root, when=int(time.time()))


@pytest.fixture
def wanted(rdo: Rdo, build: DlrnHash) -> Promotion:
    """A promotion of images that CI has uploaded; nothing was promoted before it."""
    rdo.ci_images(build)
    return images_of(rdo, build)


def images_of(rdo: Rdo, build: DlrnHash) -> Promotion:
    return replace(rdo.promotion(build), source=None, containers=(), tag_in=(), push_to=())


def finish(rdo: Rdo, wanted: Promotion) -> None:
    """Take all steps of a promotion of images."""
    found = promote.preflight(wanted, rdo)
    promote.mirror_to(wanted, rdo, "rh1", found.was)
    promote.check_copies(wanted, rdo)
    for name in wanted.servers:
        promote.link_on(wanted, rdo, name, found.was)
    promote.commit(wanted, rdo, found.was)
    promote.verify(wanted, rdo)


def assert_whole(rdo: Rdo, build: Build, folder: Path | None = None) -> None:
    """What the label leads to on the mirror is what CI's image job uploaded, and nothing else.

    :param folder: is looked at instead of what the label leads to.
    """
    folder = folder or rdo.mirror_root / rdo.label
    for image in IMAGES:
        file, uploaded = MIRROR.file(image), rdo.image_root / build.full_hash / image
        content = (folder / file).read_bytes()
        assert content == uploaded.read_bytes()
        assert (folder / f"{file}.md5").read_text() == f"{hashlib.md5(content).hexdigest()}  {file}\n"
    assert len(list(folder.iterdir())) == 2 * len(IMAGES)


def test_readers_of_the_label_get_the_images_under_their_names(
    rdo: Rdo, build: DlrnHash, wanted: Promotion
) -> None:
    finish(rdo, wanted)
    assert (rdo.mirror_root / rdo.label).readlink().as_posix() == f".builds/{build.full_hash}"
    assert_whole(rdo, build)
    assert sorted(entry.name for entry in rdo.mirror_root.iterdir()) == [".builds", rdo.label]


def test_no_reader_sees_anything_before_everything_was_checked(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_images(build)
    finish(rdo, images_of(rdo, old))
    before = rdo.state()
    wanted = images_of(rdo, new)
    promote.mirror_to(wanted, rdo, "rh1", promote.preflight(wanted, rdo).was)
    promote.check_copies(wanted, rdo)
    assert len(list(rdo.held(new).iterdir())) == 2 * len(IMAGES)
    assert rdo.state() == before
    assert_whole(rdo, old)


def test_what_is_in_place_is_not_copied_again(rdo: Rdo, build: DlrnHash, wanted: Promotion) -> None:
    first = promote.mirror_to(wanted, rdo, "rh1", None)
    size = sum((rdo.image_root / build.full_hash / image).stat().st_size for image in IMAGES)
    assert (first.copied, first.already, first.size) == (IMAGES, 0, size)
    again = promote.mirror_to(wanted, rdo, "rh1", None)
    assert (again.copied, again.already, again.size) == ((), len(IMAGES), 0)
    other = replace(wanted, label=f"{wanted.label}-rdo")
    assert promote.preflight(other, rdo).plan.images == ()


@pytest.mark.parametrize("damage", ["lost", "cut off", "without md5", "strange md5", "other bytes"])
def test_what_is_not_whole_is_copied_again(rdo: Rdo, build: DlrnHash, wanted: Promotion, damage: str) -> None:
    promote.mirror_to(wanted, rdo, "rh1", None)
    file = rdo.held(build) / MIRROR.file(IMAGES[1])
    md5 = file.with_name(f"{file.name}.md5")
    content = file.read_bytes()
    match damage:
        case "lost":
            file.unlink()
        case "cut off":
            file.write_bytes(content[:-1])
        case "without md5":
            md5.unlink()
        case "strange md5":
            md5.write_text("<html>")
        case "other bytes":
            file.write_bytes(content[:-1] + b"!")
    planned = promote.preflight(wanted, rdo).plan.images
    assert [change.image for change in planned] == [IMAGES[1]]
    if damage == "other bytes":  # found by reading all of it, which preflight alone does
        md5.unlink()
    assert promote.mirror_to(wanted, rdo, "rh1", None).copied == (IMAGES[1],)
    assert_whole(rdo, build, rdo.held(build))


def test_an_image_that_ci_uploaded_again_is_copied_again(
    rdo: Rdo, build: DlrnHash, wanted: Promotion
) -> None:
    finish(rdo, wanted)
    uploaded = rdo.image_root / build.full_hash / IMAGES[0]
    content = uploaded.read_bytes()[:-1] + b"!"
    uploaded.write_bytes(content)
    uploaded.with_name(f"{IMAGES[0]}.md5").write_text(hashlib.md5(content).hexdigest())
    finish(rdo, wanted)
    assert_whole(rdo, build)


# --- cut in the middle -----------------------------------------------------------------------------------


def hang_up(sftp: paramiko.SFTPClient) -> None:
    """End the connection as it ends when a process or a machine dies."""
    channel = sftp.get_channel()
    assert channel is not None
    channel.get_transport().sock.close()


# paramiko's thread that asks for the rest of a window raises, too, and nobody hears it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("image", range(len(IMAGES)))
@pytest.mark.parametrize("end", ["images", "rh1"])
def test_a_connection_that_dies_in_the_middle_of_an_image(
    rdo: Rdo, wanted: Promotion, monkeypatch: pytest.MonkeyPatch, image: int, end: str
) -> None:
    name = f".{MIRROR.file(IMAGES[image])}."
    resume, windows = sftp_files.resume, sftp_files._windows
    reading: list[paramiko.SFTPClient] = []

    def note(sftp: paramiko.SFTPClient, path: str, size: int) -> Iterator[list[bytes]]:
        reading[:] = [sftp]
        return windows(sftp, path, size)

    def cut(sftp: paramiko.SFTPClient, path: str, content: Iterator[Sequence[bytes]]) -> tuple[int, int]:
        def interrupted() -> Iterator[Sequence[bytes]]:
            for window in content:
                yield window[:1]
                hang_up(sftp if end == "rh1" else reading[0])
                yield window[1:]

        return resume(sftp, path, interrupted() if name in path else content)

    with monkeypatch.context() as patch:
        patch.setattr(sftp_files, "CHUNK", 2**10)
        patch.setattr(sftp_files, "WINDOW", 2**11)
        patch.setattr(sftp_files, "_windows", note)
        patch.setattr(sftp_files, "resume", cut)
        with pytest.raises(ServiceError):
            promote.mirror_to(wanted, rdo, "rh1", None)
    there = {entry.name for entry in rdo.held(wanted.build).iterdir()}
    assert MIRROR.file(IMAGES[image]) not in there
    promote.mirror_to(wanted, rdo, "rh1", None)
    assert_whole(rdo, wanted.build, rdo.held(wanted.build))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("write", ["mkdir", "open", "posix_rename", "remove"])
def test_a_process_that_dies_at_any_write(
    rdo: Rdo, wanted: Promotion, monkeypatch: pytest.MonkeyPatch, write: str, after: bool
) -> None:
    """It dies at the first call, the next try at the second one, and so on, until one gets through."""
    method = getattr(paramiko.SFTPClient, write)
    cuts = 0
    while True:
        calls = 0

        def call(sftp: paramiko.SFTPClient, *args: Any, die_at: int = cuts, **kwargs: Any) -> Any:
            nonlocal calls
            dies, calls = calls == die_at, calls + 1
            try:
                return method(sftp, *args, **kwargs) if after or not dies else None
            finally:
                if dies:
                    hang_up(sftp)
                    raise CutError

        with monkeypatch.context() as patch:
            patch.setattr(paramiko.SFTPClient, write, call)
            try:
                promote.mirror_to(wanted, rdo, "rh1", None)
                break
            except CutError:
                cuts += 1
    assert cuts > 0
    assert_whole(rdo, wanted.build, rdo.held(wanted.build))
    assert [entry.name for entry in rdo.mirror_root.iterdir()] == [".builds"]


# --- what keeps a promotion from it ----------------------------------------------------------------------


def test_a_folder_in_the_links_place_is_told_with_everything_else(
    rdo: Rdo, build: DlrnHash, wanted: Promotion
) -> None:
    for name in (rdo.label, f"previous-{rdo.label}"):
        (rdo.mirror_root / name).mkdir()
    (rdo.image_root / build.full_hash / IMAGES[0]).unlink()
    with pytest.raises(PreflightError) as refused:
        promote.preflight(wanted, rdo)
    image, label, previous = refused.value.problems
    assert f"{build.full_hash}/{IMAGES[0]} does not exist" in image
    for problem, name in ((label, rdo.label), (previous, f"previous-{rdo.label}")):
        assert problem.startswith(f"image server rh1: read link {rdo.mirror_root}/{name}: it is a folder")
        assert f"mv {name} .builds/old-{name} && ln -s .builds/old-{name} {name}" in problem
    assert not (rdo.mirror_root / ".builds").exists()


def test_the_old_mirrors_folder_becomes_previous(rdo: Rdo, build: DlrnHash, wanted: Promotion) -> None:
    old = rdo.mirror_root / ".builds" / f"old-{rdo.label}"
    old.mkdir(parents=True)
    (rdo.mirror_root / rdo.label).symlink_to(old.relative_to(rdo.mirror_root))
    finish(rdo, wanted)
    assert rdo.state().mirror_link == build.full_hash
    assert rdo.state().previous_mirror_link == old.name


def test_a_mirror_without_its_folder_is_refused_before_anything_changes(rdo: Rdo, wanted: Promotion) -> None:
    rdo.mirror_root.rmdir()
    with pytest.raises(PreflightError, match=f"rh1: folder {rdo.mirror_root} does not exist; make it"):
        promote.preflight(wanted, rdo)
    assert not rdo.mirror_root.exists()


def vanish(rdo: Rdo, build: DlrnHash) -> None:
    (rdo.image_root / build.full_hash / IMAGES[1]).unlink()


def lose(rdo: Rdo, build: DlrnHash) -> None:
    (rdo.held(build) / MIRROR.file(IMAGES[1])).unlink()


@pytest.mark.parametrize(
    ("happens", "said"),
    [(vanish, f"{IMAGES[1]} does not exist; let the image job upload"), (lose, "not done: rh1: copy ")],
)
def test_no_link_moves_when_an_image_is_gone_after_the_copy(
    rdo: Rdo, build: DlrnHash, wanted: Promotion, happens: Callable[[Rdo, DlrnHash], None], said: str
) -> None:
    promote.mirror_to(wanted, rdo, "rh1", None)
    happens(rdo, build)
    for step in (
        lambda: promote.check_copies(wanted, rdo),
        lambda: promote.link_on(wanted, rdo, "rh1", None),
        lambda: promote.commit(wanted, rdo, None),
    ):
        with pytest.raises(PreflightError, match=said):
            step()
    assert rdo.state().mirror_link is None


def test_an_image_that_vanishes_between_plan_and_copy(rdo: Rdo, build: DlrnHash, wanted: Promotion) -> None:
    promote.preflight(wanted, rdo)
    vanish(rdo, build)
    with pytest.raises(PreflightError, match=f"{IMAGES[1]} does not exist"):
        promote.mirror_to(wanted, rdo, "rh1", None)
    assert not (rdo.mirror_root / ".builds").exists()


def test_an_image_that_is_damaged_between_plan_and_copy(rdo: Rdo, build: DlrnHash, wanted: Promotion) -> None:
    promote.preflight(wanted, rdo)
    uploaded = rdo.image_root / build.full_hash / IMAGES[0]
    uploaded.write_bytes(uploaded.read_bytes()[:-1] + b"!")
    with pytest.raises(AnswerError, match=r"its \.md5 file says .*; let the image job upload it again"):
        promote.mirror_to(wanted, rdo, "rh1", None)
    assert list(rdo.held(build).iterdir()) == []


def test_dlrn_does_not_move_while_the_mirrors_link_is_left(
    rdo: Rdo, build: DlrnHash, wanted: Promotion
) -> None:
    promote.mirror_to(wanted, rdo, "rh1", None)
    promote.link_on(wanted, rdo, "images", None)
    with pytest.raises(UnfinishedError, match=f"not done: rh1: link {rdo.label}") as unfinished:
        promote.commit(wanted, rdo, None)
    assert unfinished.value.moved == ("image server images: the link",)
    promote.link_on(wanted, rdo, "rh1", None)
    lose(rdo, build)
    with pytest.raises(UnfinishedError) as unfinished:
        promote.commit(wanted, rdo, None)
    assert unfinished.value.moved == ("image server images: the link", "image server rh1: the link")
    assert rdo.state().label is None


def test_nothing_is_copied_when_somebody_else_moved_the_label(
    rdo: Rdo, build: DlrnHash, wanted: Promotion
) -> None:
    found = promote.preflight(wanted, rdo)
    rdo.dlrn.promote(rdo.build(), rdo.label)
    with pytest.raises(ConflictError):
        promote.mirror_to(wanted, rdo, "rh1", found.was)
    assert not (rdo.mirror_root / ".builds").exists()
