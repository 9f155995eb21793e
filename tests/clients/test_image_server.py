"""The image server client against a real sshd: folders, checksums, links."""

from __future__ import annotations

import hashlib
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import paramiko
import pytest

from lab import image_server as lab
from lab.image_server import ImageServerFacts
from lab.service import wait_for
from rdo_promoter.clients import image_server, sftp_files
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError
from tests.clients.sshd_fixtures import IMAGE, LABEL, NEW, OLD, kill, login, read_only, running_sshd

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("sshd")
    with running_sshd(root):
        yield root


@pytest.fixture(scope="module")
def facts(root: Path) -> ImageServerFacts:
    return lab.facts(root)


@pytest.fixture(scope="module")
def sftp(facts: ImageServerFacts) -> Iterator[paramiko.SFTPClient]:
    with login(facts) as session:
        yield session


@pytest.fixture
def folder(root: Path, facts: ImageServerFacts) -> Path:
    """Return a release's folder of its own, with two builds."""
    release = f"release-{uuid4().hex[:8]}"
    for build in (OLD, NEW):
        lab.put_images(root, release, build, {IMAGE: 2000})
    return Path(facts.path(release))


@pytest.fixture
def server(sftp: paramiko.SFTPClient, folder: Path) -> ImageServer:
    return ImageServer(sftp, root=str(folder), name="images")


# --- reading ---------------------------------------------------------------------------------------------


def test_files_with_sizes(server: ImageServer, folder: Path) -> None:
    (folder / OLD / "logs").mkdir()
    (folder / OLD / "newest.tar").symlink_to(IMAGE)
    (folder / OLD / "gone.tar").symlink_to("nothing")
    size = (folder / OLD / IMAGE).stat().st_size
    md5_size = (folder / OLD / f"{IMAGE}.md5").stat().st_size
    assert server.files(OLD) == {IMAGE: size, f"{IMAGE}.md5": md5_size, "newest.tar": size}


def test_folder_that_does_not_exist_has_no_files(server: ImageServer, folder: Path) -> None:
    assert server.files("c" * 40) is None
    (folder / "empty").mkdir()
    assert server.files("empty") == {}


def test_files_behind_a_link(server: ImageServer, folder: Path) -> None:
    (folder / LABEL).symlink_to(OLD)
    assert server.files(LABEL) == server.files(OLD)
    (folder / "dangling").symlink_to("nothing")
    assert server.files("dangling") is None


@pytest.mark.parametrize("size", [0, 1, sftp_files.CHUNK, sftp_files.WINDOW + 1, 20 * 2**20])
def test_md5_is_computed_from_the_content(server: ImageServer, folder: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (folder / OLD / "big.tar").write_bytes(content)
    assert server.md5(OLD, "big.tar") == hashlib.md5(content).hexdigest()


def test_md5_sees_one_flipped_bit(server: ImageServer, folder: Path) -> None:
    assert server.md5(OLD, IMAGE) == server.declared_md5(OLD, IMAGE)
    content = bytearray((folder / OLD / IMAGE).read_bytes())
    content[-1] ^= 1
    (folder / OLD / IMAGE).write_bytes(content)
    assert server.md5(OLD, IMAGE) != server.declared_md5(OLD, IMAGE)


def test_md5_of_a_missing_file(server: ImageServer) -> None:
    with pytest.raises(NotFoundError, match=re.escape(f"{OLD}/nothing.tar: it does not exist")):
        server.md5(OLD, "nothing.tar")


def test_md5_of_a_file_that_grows(server: ImageServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = sftp_files._windows

    def upload_goes_on(sftp: paramiko.SFTPClient, path: str, size: int) -> Iterator[list[bytes]]:
        yield from windows(sftp, path, size)
        with Path(path).open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(sftp_files, "_windows", upload_goes_on)
    with pytest.raises(ServiceError, match="its upload has not ended"):
        server.md5(OLD, IMAGE)


@pytest.mark.parametrize(
    "content",
    [
        "{md5}  {name}\n",
        "{md5}",
        "{md5}\n",
        "{md5} *{name}\n",
        "{md5}  /tmp/build/{name}\n",
        "{MD5}  {name}\n",
    ],
)
def test_declared_md5(server: ImageServer, folder: Path, content: str) -> None:
    md5 = hashlib.md5(b"x").hexdigest()
    text = content.format(md5=md5, MD5=md5.upper(), name=IMAGE)
    (folder / OLD / f"{IMAGE}.md5").write_text(text)
    assert server.declared_md5(OLD, IMAGE) == md5


@pytest.mark.parametrize(
    "content",
    ["", "\n", "not found\n", "d41d8cd9", "<html>404</html>", "a" * 5000],
    ids=["empty", "blank", "words", "short", "page", "long"],
)
def test_declared_md5_that_is_none(server: ImageServer, folder: Path, content: str) -> None:
    (folder / OLD / f"{IMAGE}.md5").write_text(content)
    with pytest.raises(AnswerError, match=re.escape(f"{IMAGE}.md5: it is no line")):
        server.declared_md5(OLD, IMAGE)


def test_declared_md5_of_another_file(server: ImageServer, folder: Path) -> None:
    (folder / OLD / f"{IMAGE}.md5").write_text(f"{'0' * 32}  undercloud.tar\n")
    with pytest.raises(AnswerError, match="md5 of undercloud"):
        server.declared_md5(OLD, IMAGE)


def test_no_declared_md5(server: ImageServer, folder: Path) -> None:
    (folder / OLD / f"{IMAGE}.md5").unlink()
    assert server.declared_md5(OLD, IMAGE) is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "-rf", "a\nb", "a\0b", "a b"]
)
def test_names_that_could_lead_elsewhere(server: ImageServer, name: str) -> None:
    for call in (
        lambda: server.files(name),
        lambda: server.md5(name, IMAGE),
        lambda: server.md5(OLD, name),
        lambda: server.declared_md5(OLD, name or "/"),
        lambda: server.link(name),
        lambda: server.set_link(name, OLD),
        lambda: server.set_link(LABEL, name),
    ):
        with pytest.raises(ConfigError, match=r"image server images: .* cannot be the name"):
            call()


def test_root_is_absolute(sftp: paramiko.SFTPClient) -> None:
    with pytest.raises(ConfigError, match="'master/rdo_trunk' is not absolute"):
        ImageServer(sftp, root="master/rdo_trunk", name="images")


# --- links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["{hash}", "./{hash}", "{hash}/", "../rdo_trunk/{hash}", "{root}/{hash}"])
def test_link_in_all_spellings(server: ImageServer, folder: Path, target: str) -> None:
    (folder / LABEL).symlink_to(target.format(hash=OLD, root=folder))
    assert server.link(LABEL) == OLD


def test_absolute_link_when_the_root_is_reached_over_a_link(
    sftp: paramiko.SFTPClient, folder: Path, tmp_path: Path
) -> None:
    (folder / LABEL).symlink_to(folder / OLD)
    (tmp_path / "www").symlink_to(folder)
    assert ImageServer(sftp, root=str(tmp_path / "www"), name="images").link(LABEL) == OLD


@pytest.mark.parametrize("target", ["../{hash}", "/elsewhere/{hash}", "{hash}/logs", "/", ".", ".."])
def test_link_that_leads_elsewhere(server: ImageServer, folder: Path, target: str) -> None:
    (folder / LABEL).symlink_to(target.format(hash=OLD))
    with pytest.raises(AnswerError, match="is no folder of"):
        server.link(LABEL)


def test_missing_and_dangling_links(server: ImageServer, folder: Path) -> None:
    assert server.link(LABEL) is None
    (folder / LABEL).symlink_to("purged")
    assert server.link(LABEL) == "purged"


def test_set_link_makes_and_moves_a_relative_link(server: ImageServer, folder: Path) -> None:
    assert server.set_link(LABEL, OLD) is True
    assert (folder / LABEL).readlink() == Path(OLD)
    assert server.set_link(LABEL, NEW) is True
    assert (folder / LABEL).readlink() == Path(NEW)
    assert (folder / LABEL / IMAGE).read_bytes() == (folder / NEW / IMAGE).read_bytes()
    assert sorted(entry.name for entry in folder.iterdir()) == [OLD, NEW, LABEL]


def test_set_link_twice_changes_nothing(server: ImageServer, folder: Path) -> None:
    server.set_link(LABEL, OLD)
    before = (folder / LABEL).lstat()
    assert server.set_link(LABEL, OLD) is False
    after = (folder / LABEL).lstat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_set_link_leaves_an_absolute_link_to_the_same_folder(server: ImageServer, folder: Path) -> None:
    (folder / LABEL).symlink_to(folder / OLD)
    assert server.set_link(LABEL, OLD) is False
    assert (folder / LABEL).readlink() == folder / OLD


def test_set_link_replaces_a_dangling_link(server: ImageServer, folder: Path) -> None:
    (folder / LABEL).symlink_to("purged")
    assert server.set_link(LABEL, NEW) is True
    assert server.link(LABEL) == NEW


def test_set_link_to_a_missing_folder(server: ImageServer, folder: Path) -> None:
    server.set_link(LABEL, OLD)
    with pytest.raises(
        NotFoundError, match=r"folder .*/nowhere does not exist; the images were not uploaded"
    ):
        server.set_link(LABEL, "nowhere")
    (folder / "file").write_text("")
    with pytest.raises(NotFoundError, match="is no folder"):
        server.set_link(LABEL, "file")
    assert server.link(LABEL) == OLD
    assert sorted(entry.name for entry in folder.iterdir()) == [OLD, NEW, LABEL, "file"]


def test_set_link_to_itself(server: ImageServer, folder: Path) -> None:
    (folder / LABEL).symlink_to(OLD)
    with pytest.raises(ConfigError, match="cannot name itself"):
        server.set_link(LABEL, LABEL)
    assert server.link(LABEL) == OLD


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_something_real_in_the_place_of_the_link(server: ImageServer, folder: Path, kind: str) -> None:
    place = folder / LABEL
    place.mkdir() if kind == "folder" else place.write_text("precious")
    with pytest.raises(AnswerError, match=f"it is a {kind}, no link"):
        server.link(LABEL)
    with pytest.raises(AnswerError, match=f"it is a {kind}, no link"):
        server.set_link(LABEL, OLD)
    assert place.is_dir() if kind == "folder" else place.read_text() == "precious"
    assert sorted(entry.name for entry in folder.iterdir()) == [OLD, NEW, LABEL]


def test_folder_that_appears_while_the_link_is_made(
    server: ImageServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = server._check_folder

    def race(path: str, what: str) -> None:
        check(path, what)
        (folder / LABEL).mkdir()

    monkeypatch.setattr(server, "_check_folder", race)
    with pytest.raises(ServiceError, match=f"link .*{LABEL}: Failure"):
        server.set_link(LABEL, OLD)
    assert sorted(entry.name for entry in folder.iterdir()) == [OLD, NEW, LABEL]
    assert (folder / LABEL).is_dir()


def test_somebody_else_moves_the_link_meanwhile(
    server: ImageServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = server.sftp.posix_rename

    def race(old: bytes | str, new: bytes | str) -> None:
        rename(old, new)
        (folder / LABEL).unlink()
        (folder / LABEL).symlink_to(OLD)

    monkeypatch.setattr(server.sftp, "posix_rename", race)
    with pytest.raises(AnswerError, match=f"it names {OLD} after it was moved to {NEW}"):
        server.set_link(LABEL, NEW)


def test_a_reader_never_finds_the_link_missing(server: ImageServer, folder: Path) -> None:
    contents = {build: (folder / build / IMAGE).read_bytes() for build in (OLD, NEW)}
    server.set_link(LABEL, OLD)
    stop = threading.Event()
    seen: set[bytes] = set()
    failures: list[OSError] = []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add((folder / LABEL / IMAGE).read_bytes())
            except OSError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for target in [NEW, OLD] * 100:
            assert server.set_link(LABEL, target) is True
        wait_for(lambda: seen >= set(contents.values()), "the reader has seen both builds")
    finally:
        stop.set()
        reader.join()
    assert failures == []
    assert seen == set(contents.values())


def test_what_a_crash_left_is_removed_by_a_later_move(server: ImageServer, folder: Path) -> None:
    stale = folder / f".{LABEL}.{uuid4().hex}"
    fresh = folder / f".{LABEL}.{uuid4().hex}"
    other = folder / f".{LABEL}-rdo.{uuid4().hex}"
    odd = folder / f".{LABEL}.backup"
    for link in (stale, fresh, other, odd):
        link.symlink_to(OLD)
    no_link = folder / f".{LABEL}.{uuid4().hex}"
    no_link.write_text("")
    long_ago = time.time() - image_server.STALE - 60
    for path in (stale, other, odd, no_link):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)

    assert server.link(LABEL) is None
    server.set_link(LABEL, OLD)

    left = {entry.name for entry in folder.iterdir() if entry.name.startswith(".")}
    # `fresh` may belong to a move that is under way; the others are none of ours.
    assert left == {fresh.name, other.name, odd.name, no_link.name}


# --- failures of the service -----------------------------------------------------------------------------


def test_server_is_killed(tmp_path: Path) -> None:
    with running_sshd(tmp_path) as service:
        facts = lab.facts(tmp_path)
        lab.put_images(tmp_path, "master", OLD, {IMAGE: 2000})
        with login(facts) as sftp:
            server = ImageServer(sftp, root=facts.path("master"), name="images")
            assert server.set_link(LABEL, OLD) is True
            kill(service)
            for call in (
                lambda: server.files(OLD),
                lambda: server.md5(OLD, IMAGE),
                lambda: server.declared_md5(OLD, IMAGE),
                lambda: server.link(LABEL),
                lambda: server.set_link(LABEL, OLD),
            ):
                with pytest.raises(ServiceError, match="image server images: "):
                    call()
        with pytest.raises(ServiceError, match="does not answer"), login(facts):
            pytest.fail("logged in")
        service.start()
        service.wait_ready()
        with login(facts) as sftp:
            assert ImageServer(sftp, root=facts.path("master"), name="images").link(LABEL) == OLD


def test_account_that_may_only_read(
    root: Path, facts: ImageServerFacts, folder: Path, tmp_path: Path
) -> None:
    with read_only(root, tmp_path) as port, login(facts, port=port) as sftp:
        server = ImageServer(sftp, root=str(folder), name="images")
        assert server.link(LABEL) is None
        with pytest.raises(AuthError, match="the server does not allow it"):
            server.set_link(LABEL, OLD)
    assert not (folder / LABEL).is_symlink()
