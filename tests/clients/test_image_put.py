"""A small file put into a build's folder on a real sshd: whole for every reader, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import image_server as lab
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.errors import AuthError, ConfigError, NotFoundError, ServiceError
from rdo_promoter.model.layout import by_label
from tests.clients.sshd_fixtures import IMAGE, OLD, login, read_only, running_sshd, small_disk

pytestmark = pytest.mark.lab

FILE = "handoff-current-tripleo.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("sshd")
    with running_sshd(root):
        yield root


@pytest.fixture
def folder(root: Path, namespace: str) -> Path:
    """A release's folder of its own, with a build."""
    lab.put_images(root, namespace, OLD, {IMAGE: 2000})
    return Path(lab.facts(root).path(namespace))


@pytest.fixture
def server(root: Path, folder: Path) -> Iterator[ImageServer]:
    with login(lab.facts(root)) as sftp:
        yield ImageServer(sftp, root=str(folder), name="images")


def hidden(folder: Path) -> list[str]:
    return [each.name for each in (folder / OLD).iterdir() if each.name.startswith(".")]


def test_it_is_put_once_and_replaced_when_it_differs(server: ImageServer, folder: Path) -> None:
    path = folder / OLD / FILE
    large = b"x" * 200_000
    assert server.put(OLD, FILE, large)
    assert path.read_bytes() == large
    before = path.stat().st_ino
    assert not server.put(OLD, FILE, large)
    assert path.stat().st_ino == before
    # What is there begins as this does, and is longer.
    assert server.put(OLD, FILE, large[:-1])
    assert path.read_bytes() == large[:-1]
    assert hidden(folder) == []


def test_a_mirror_has_it_where_readers_look(server: ImageServer, folder: Path) -> None:
    mirror = ImageServer(server.sftp, root=str(folder), name="rh1", layout=by_label({}))
    (folder / ".builds" / OLD).mkdir(parents=True)
    mirror.put(OLD, FILE, b"1")
    mirror.set_link("current-tripleo", OLD)
    assert (folder / "current-tripleo" / FILE).read_bytes() == b"1"


def test_no_reader_sees_a_part_or_nothing(server: ImageServer, folder: Path) -> None:
    path, seen, stop = folder / OLD / FILE, set[bytes](), threading.Event()
    contents = [bytes([65 + number]) * 100_000 for number in range(2)]
    server.put(OLD, FILE, contents[1])

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(20):
            server.put(OLD, FILE, contents[number % 2])
    finally:
        stop.set()
        reader.join()
    assert seen <= set(contents)


def test_a_folder_that_does_not_exist_is_not_made(server: ImageServer, folder: Path) -> None:
    with pytest.raises(NotFoundError, match=f"write .*/{'c' * 40}/{FILE}: folder .* does not exist"):
        server.put("c" * 40, FILE, b"1")
    with pytest.raises(ConfigError, match="cannot be the name of a link, folder or file"):
        server.put(OLD, "../x", b"1")


def test_a_server_that_lets_nobody_write_is_named(root: Path, folder: Path, tmp_path: Path) -> None:
    with read_only(root, tmp_path) as port, login(lab.facts(root), port=port) as sftp:
        server = ImageServer(sftp, root=str(folder), name="images")
        with pytest.raises(AuthError, match=f"image server images: write .*/{FILE}: the server does not"):
            server.put(OLD, FILE, b"1")


def test_a_full_disk_leaves_what_was_there(root: Path, folder: Path, tmp_path: Path) -> None:
    (folder / OLD / FILE).write_bytes(b"old")
    with small_disk(root, tmp_path, 32_768) as port, login(lab.facts(root), port=port) as sftp:
        server = ImageServer(sftp, root=str(folder), name="images")
        with pytest.raises(ServiceError, match="most often the disk is full"):
            server.put(OLD, FILE, b"x" * 100_000)
    assert (folder / OLD / FILE).read_bytes() == b"old"
    assert hidden(folder) == []
