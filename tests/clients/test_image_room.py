"""Room on an image server, a real sshd: how much there is, which builds take it, and how they go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from lab import image_server as lab
from lab.service import Service
from rdo_promoter.clients import image_room
from rdo_promoter.clients.image_room import builds, free_space, named_by_links, remove_build, sweep
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.errors import AuthError, NotFoundError, ServiceError
from tests.clients.pair_fixtures import part
from tests.clients.sshd_fixtures import (
    IMAGE,
    LABEL,
    NEW,
    OLD,
    kill_sessions,
    login,
    read_only,
    restricted,
    running_sshd,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("internal")


@pytest.fixture(scope="module")
def sshd(root: Path) -> Iterator[Service]:
    with running_sshd(root) as running:
        yield running


@pytest.fixture
def folder(root: Path, sshd: Service) -> Path:
    """A release's folder, with two builds."""
    path = Path(lab.facts(root).path(f"release-{uuid4().hex[:8]}"))
    for build in (OLD, NEW):
        (path / build).mkdir(parents=True)
        for name in (IMAGE, f"{IMAGE}.md5"):
            (path / build / name).write_text("x")
    return path


@pytest.fixture
def server(root: Path, folder: Path) -> Iterator[ImageServer]:
    with login(lab.facts(root)) as sftp:
        yield ImageServer(sftp, root=str(folder), name="internal")


def at(server: ImageServer, sftp: object) -> ImageServer:
    """Return the same server, asked over another session."""
    return ImageServer(sftp, root=server.root, name=server.name)  # type: ignore[arg-type]


# --- how much there is -----------------------------------------------------------------------------------


def test_the_room_is_what_the_disk_has(server: ImageServer) -> None:
    there = shutil.disk_usage(server.root).free
    told = free_space(server)
    assert told is not None
    # Others use that disk meanwhile.
    assert abs(told - there) < 2**30
    assert told % os.statvfs(server.root).f_frsize == 0


def test_a_server_that_does_not_know_the_question(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_room, "_STATVFS", "nothing@example.org")
    assert free_space(server) is None


def test_an_account_that_may_not_ask(server: ImageServer, root: Path, tmp_path: Path) -> None:
    with (
        restricted(root, tmp_path, "-P statvfs") as port,
        login(lab.facts(root), port=port) as sftp,
    ):
        assert free_space(at(server, sftp)) is None


def test_no_folder_has_no_room(server: ImageServer) -> None:
    with pytest.raises(NotFoundError, match=r"image server internal: measure .*/nowhere: it does not exist"):
        free_space(ImageServer(server.sftp, root=f"{server.root}/nowhere", name="internal"))


# --- which builds ----------------------------------------------------------------------------------------


def test_links_name_folders_wherever_these_stand_in_their_text(server: ImageServer, folder: Path) -> None:
    for name, target in {
        LABEL: OLD,
        f"previous-{LABEL}": f"{folder}/{NEW}/",
        "inside": f"../elsewhere/{'c' * 40}_33333333/{IMAGE}",
        "dangling": "gone",
    }.items():
        (folder / name).symlink_to(target)
    (folder / NEW / "link").symlink_to("not-in-the-root")
    found = named_by_links(server)
    assert {OLD, NEW, "c" * 40 + "_33333333", "gone"} <= found
    assert "not-in-the-root" not in found


def test_a_link_that_moves_meanwhile_is_no_answer(
    server: ImageServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / LABEL).symlink_to(OLD)
    readlink = server.sftp.readlink

    def moved(path: str) -> str | None:
        (folder / LABEL).unlink()
        return readlink(path)

    monkeypatch.setattr(server.sftp, "readlink", moved)
    with pytest.raises(NotFoundError, match="internal: read the links of"):
        named_by_links(server)


def test_builds_are_folders_that_are_named_so(server: ImageServer, folder: Path) -> None:
    (folder / LABEL).symlink_to(OLD)
    (folder / ("d" * 40 + "_44444444")).symlink_to(OLD)
    (folder / ("e" * 40 + "_55555555")).write_text("a file")
    (folder / "lost+found").mkdir()
    os.utime(folder / OLD, (1, 1000))
    found = builds(server)
    assert found == {OLD: 1000, NEW: int((folder / NEW).stat().st_mtime)}


# --- how they go -----------------------------------------------------------------------------------------


def test_a_build_goes_with_its_images_and_what_interrupted_copies_left(
    server: ImageServer, folder: Path
) -> None:
    (folder / OLD / part("0" * 32)).write_text("half")
    (folder / OLD / "rhel.tar").write_text("x")
    assert remove_build(server, OLD, (IMAGE, "rhel.tar")) == ()
    assert [entry.name for entry in folder.iterdir()] == [NEW]
    assert len(list((folder / NEW).iterdir())) == 2


def test_of_a_build_with_something_unknown_in_it_nothing_goes(server: ImageServer, folder: Path) -> None:
    (folder / OLD / "logs").mkdir()
    (folder / OLD / "notes.txt").write_text("precious")
    (folder / OLD / f"{IMAGE}.old").symlink_to(IMAGE)
    before = sorted((folder / OLD).iterdir())
    assert remove_build(server, OLD, (IMAGE,)) == ("logs", "notes.txt", f"{IMAGE}.old")
    assert sorted((folder / OLD).iterdir()) == before


def test_a_link_with_an_images_name_is_unknown(server: ImageServer, folder: Path) -> None:
    (folder / OLD / IMAGE).unlink()
    (folder / OLD / IMAGE).symlink_to(folder / NEW / IMAGE)
    assert remove_build(server, OLD, (IMAGE,)) == (IMAGE,)


def test_a_removal_that_was_cut_off_leaves_no_build_and_is_swept_up(
    server: ImageServer, root: Path, folder: Path, sshd: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half removed would be the newest build of all."""
    remove = server.sftp.remove

    def cut(path: str) -> None:
        remove(path)
        kill_sessions(sshd)

    with monkeypatch.context() as patch:
        patch.setattr(server.sftp, "remove", cut)
        with pytest.raises(ServiceError, match=f"internal: remove {folder}/{OLD}: "):
            remove_build(server, OLD, (IMAGE,))
    (folder / ".removed.by-hand").mkdir()
    with login(lab.facts(root)) as sftp:
        assert list(builds(at(server, sftp))) == [NEW]
        assert {entry.name for entry in folder.iterdir()} == {NEW, f".removed.{OLD}", ".removed.by-hand"}
        sweep(at(server, sftp))
    assert {entry.name for entry in folder.iterdir()} == {NEW, ".removed.by-hand"}


def test_an_account_that_may_only_read_removes_nothing(
    server: ImageServer, root: Path, folder: Path, tmp_path: Path
) -> None:
    with (
        read_only(root, tmp_path) as port,
        login(lab.facts(root), port=port) as sftp,
        pytest.raises(AuthError, match="the server does not allow it"),
    ):
        remove_build(at(server, sftp), OLD, (IMAGE,))
    assert len(list((folder / OLD).iterdir())) == 2
