"""Copies from one image server to a mirror, each a real sshd: whole or not at all, whatever happens."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko
import pytest

from lab import image_server as lab
from lab.service import Service, wait_for
from rdo_promoter.clients import sftp_files
from rdo_promoter.clients.image_copy import copy_image
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.errors import AnswerError, AuthError, NotFoundError, PermanentError, ServiceError
from tests.clients.pair_fixtures import (
    AGENT,
    AGENT_THERE,
    KIB,
    LAYOUT,
    WINDOW,
    Pair,
    after_window,
    logged_in,
    names,
    new_pair,
    part,
    some,
    two_sshds,
)
from tests.clients.sshd_fixtures import (
    IMAGE,
    LABEL,
    NEW,
    OLD,
    kill_sessions,
    login,
    read_only,
    small_disk,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def sshds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Service]]:
    with two_sshds(tmp_path_factory) as running:
        yield running


@pytest.fixture
def pair(sshds: dict[Path, Service]) -> Iterator[Pair]:
    with new_pair(sshds) as pair:
        yield pair


# --- whole copies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, sftp_files.CHUNK, WINDOW, 20 * WINDOW + 1])
def test_a_copy_has_the_same_bytes_and_its_md5_beside_it(pair: Pair, size: int) -> None:
    md5 = pair.upload(NEW, content := some(size))
    assert copy_image(pair.source, pair.mirror, NEW, IMAGE, md5) == size
    assert (pair.held(NEW) / IMAGE).read_bytes() == content
    assert pair.mirror.declared_md5(NEW, IMAGE) == md5
    assert names(pair.held(NEW)) == [IMAGE, f"{IMAGE}.md5"]
    assert names(pair.rh1.folder) == [".builds"]
    assert pair.mirror.files(NEW) == pair.source.files(NEW)


def test_a_file_may_have_another_name_there_and_its_md5_names_it_so(pair: Pair) -> None:
    md5 = pair.upload(NEW, b"agent", AGENT)
    copy_image(pair.source, pair.mirror, NEW, AGENT, md5)
    assert names(pair.held(NEW)) == [AGENT_THERE, f"{AGENT_THERE}.md5"]
    check = ["md5sum", "-c", f"{AGENT_THERE}.md5"]
    assert subprocess.run(check, cwd=pair.held(NEW), check=True, capture_output=True, text=True).stdout == (
        f"{AGENT_THERE}: OK\n"
    )


def test_a_copy_needs_a_few_windows_of_memory_however_large_the_image_is(pair: Pair) -> None:
    size = 24 * WINDOW
    md5 = pair.upload(NEW, some(size))
    tracemalloc.start()
    try:
        copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 2


def test_an_image_uploaded_again_replaces_the_copy(pair: Pair) -> None:
    for content in (b"first", b"second"):
        md5 = pair.upload(NEW, content)
        copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
        assert (pair.held(NEW) / IMAGE).read_bytes() == content
        assert pair.mirror.declared_md5(NEW, IMAGE) == md5


# --- readers ---------------------------------------------------------------------------------------------


class Reader:
    """Reads a file of a label in a loop, as people's installers do, and remembers what it got."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: set[str] = set()
        self.failures: list[OSError] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                self.seen.add(hashlib.md5(self.path.read_bytes()).hexdigest())
            except OSError as error:
                self.failures.append(error)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_reader_of_a_label_gets_whole_files_only(pair: Pair) -> None:
    """While builds are copied, links move, and the image of a build that is linked is copied anew."""
    builds = {build: pair.upload(build, some(400 * KIB, number)) for number, build in enumerate((OLD, NEW))}
    copy_image(pair.source, pair.mirror, OLD, IMAGE, builds[OLD])
    pair.mirror.set_link(LABEL, OLD)
    again = set()
    with Reader(pair.rh1.folder / LABEL / IMAGE) as reader:
        copy_image(pair.source, pair.mirror, NEW, IMAGE, builds[NEW])
        assert reader.seen <= {builds[OLD]}
        for target in [NEW, OLD] * 20:
            pair.mirror.set_link(LABEL, target)
        wait_for(lambda: reader.seen >= set(builds.values()), "the reader has seen both builds")
        for number in range(4):
            again.add(md5 := pair.upload(OLD, some(400 * KIB, 10 + number)))
            copy_image(pair.source, pair.mirror, OLD, IMAGE, md5)
        wait_for(lambda: bool(reader.seen & again), "the reader has seen a new image of its build")
    assert reader.failures == []
    assert reader.seen <= {*builds.values(), *again}


# --- links -----------------------------------------------------------------------------------------------


def test_links_lead_into_the_hidden_folder(pair: Pair) -> None:
    copy_image(pair.source, pair.mirror, NEW, IMAGE, pair.upload(NEW, b"x"))
    assert pair.mirror.set_link(LABEL, NEW) is True
    assert (pair.rh1.folder / LABEL).readlink() == Path(".builds", NEW)
    assert pair.mirror.link(LABEL) == NEW
    assert pair.mirror.set_link(LABEL, NEW) is False
    with pytest.raises(NotFoundError, match=r"folder .*/\.builds/nowhere does not exist"):
        pair.mirror.set_link(LABEL, "nowhere")
    assert names(pair.rh1.folder) == [".builds", LABEL]


@pytest.mark.parametrize("target", ["{hash}", ".builds", ".builds/{hash}/logs", "../.builds/{hash}"])
def test_link_that_leads_elsewhere(pair: Pair, target: str) -> None:
    (pair.rh1.folder / LABEL).symlink_to(target.format(hash=NEW))
    with pytest.raises(AnswerError, match=r"is no folder of .*/\.builds; let it name a build's folder"):
        pair.mirror.link(LABEL)


def test_a_folder_in_the_place_of_the_link_can_be_moved_over_as_the_message_says(pair: Pair) -> None:
    place = pair.rh1.folder / LABEL
    place.mkdir()
    (place / IMAGE).write_text("of a build that nobody knows")
    with pytest.raises(AnswerError, match="it is a folder, no link; a mirror that somebody else") as refused:
        pair.mirror.link(LABEL)
    subprocess.run(["sh", "-c", str(refused.value).partition("in one go: ")[2]], check=True)
    assert (place / IMAGE).read_text() == "of a build that nobody knows"
    assert pair.mirror.link(LABEL) == f"old-{LABEL}"
    assert pair.mirror.files(f"old-{LABEL}") is not None
    copy_image(pair.source, pair.mirror, NEW, IMAGE, pair.upload(NEW, b"known"))
    pair.mirror.set_link(f"previous-{LABEL}", f"old-{LABEL}")
    pair.mirror.set_link(LABEL, NEW)
    assert (place / IMAGE).read_text() == "known"
    assert (pair.rh1.folder / f"previous-{LABEL}" / IMAGE).read_text() == "of a build that nobody knows"


def test_a_file_in_the_place_of_the_link(pair: Pair) -> None:
    (pair.rh1.folder / LABEL).write_text("precious")
    with pytest.raises(AnswerError, match="it is a file, no link; find out who put it there"):
        pair.mirror.link(LABEL)


def test_whether_the_root_is_there(pair: Pair) -> None:
    assert pair.mirror.exists()
    assert not ImageServer(pair.mirror.sftp, root=f"{pair.rh1.folder}/{IMAGE}", name="rh1").exists()


# --- what goes wrong -------------------------------------------------------------------------------------


def test_another_md5_at_the_source_is_permanent_and_leaves_what_was_there(pair: Pair) -> None:
    md5 = pair.upload(NEW, b"whole")
    copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    (pair.images.folder / NEW / IMAGE).write_bytes(b"other")
    with pytest.raises(AnswerError, match="let the image job upload it again") as refused:
        copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert isinstance(refused.value, PermanentError)
    assert f"image server images: read {pair.images.folder}/{NEW}/{IMAGE}: it has md5 " in str(refused.value)
    assert (pair.held(NEW) / IMAGE).read_bytes() == b"whole"
    assert names(pair.held(NEW)) == [IMAGE, f"{IMAGE}.md5"]


def test_an_image_that_is_gone_from_the_source(pair: Pair) -> None:
    md5 = pair.upload(NEW, b"whole")
    (pair.images.folder / NEW / IMAGE).unlink()
    with pytest.raises(NotFoundError, match=r"image server images: read .*: it does not exist"):
        copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert names(pair.held(NEW)) == []


def test_an_upload_that_goes_on(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = pair.upload(NEW, some(2 * WINDOW))

    def grow() -> None:
        with (pair.images.folder / NEW / IMAGE).open("ab") as file:
            file.write(b"more")

    after_window(monkeypatch, 1, grow)
    with pytest.raises(ServiceError, match="its upload has not ended"):
        copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert names(pair.held(NEW)) == [part(md5)]
    copy_image(pair.source, pair.mirror, NEW, IMAGE, pair.upload(NEW, some(2 * WINDOW) + b"more"))
    assert names(pair.held(NEW)) == [IMAGE, f"{IMAGE}.md5"]


def test_a_disk_that_returns_something_else(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    resume = sftp_files.resume

    def bad_disk(sftp: paramiko.SFTPClient, path: str, windows: Iterator[Sequence[bytes]]) -> tuple[int, int]:
        written = resume(sftp, path, windows)
        with Path(path).open("r+b") as file:
            file.write(b"\0")
        return written

    monkeypatch.setattr(sftp_files, "resume", bad_disk)
    md5 = pair.upload(NEW, b"whole")
    with pytest.raises(AnswerError, match=rf"rh1: read back .*: it has md5 .*, {md5} was written; look at"):
        copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert names(pair.held(NEW)) == []


@pytest.mark.parametrize("size", [WINDOW + 1, 3 * WINDOW], ids=["in the last window", "before"])
def test_a_full_disk_is_named_and_what_was_written_is_removed(pair: Pair, tmp_path: Path, size: int) -> None:
    md5 = pair.upload(NEW, some(size))
    with (
        small_disk(pair.rh1.root, tmp_path, WINDOW) as port,
        login(lab.facts(pair.rh1.root), port=port) as sftp,
    ):
        mirror = ImageServer(sftp, root=str(pair.rh1.folder), name="rh1", layout=LAYOUT)
        with pytest.raises(ServiceError, match=r"rh1: write .*: Failure; .* the disk is full"):
            copy_image(pair.source, mirror, NEW, IMAGE, md5)
    assert names(pair.held(NEW)) == []


def test_an_account_that_may_only_read(pair: Pair, tmp_path: Path) -> None:
    md5 = pair.upload(NEW, b"whole")
    with (
        read_only(pair.rh1.root, tmp_path) as port,
        login(lab.facts(pair.rh1.root), port=port) as sftp,
    ):
        mirror = ImageServer(sftp, root=str(pair.rh1.folder), name="rh1", layout=LAYOUT)
        with pytest.raises(AuthError, match="the server does not allow it"):
            copy_image(pair.source, mirror, NEW, IMAGE, md5)
    assert names(pair.rh1.folder) == []


def test_of_two_tries_at_a_time_one_is_to_be_made_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = pair.upload(NEW, content := some(2 * WINDOW))
    with logged_in(pair.images, pair.rh1) as other, monkeypatch.context() as patch:
        after_window(patch, 1, lambda: copy_image(other.source, other.mirror, NEW, IMAGE, md5))
        with pytest.raises(ServiceError, match="another try to write it has removed what this one wrote"):
            copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert (pair.held(NEW) / IMAGE).read_bytes() == content
    copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert names(pair.held(NEW)) == [IMAGE, f"{IMAGE}.md5"]


def test_an_md5_never_stands_beside_something_else(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut between the moves of a file and of its md5: the old md5 must not vouch for the new file."""
    copy_image(pair.source, pair.mirror, NEW, IMAGE, pair.upload(NEW, b"first"))
    rename = pair.mirror.sftp.posix_rename
    moved: list[str] = []

    def cut(old: bytes | str, new: bytes | str) -> None:
        if moved:
            kill_sessions(pair.rh1.service)
        moved.append(str(new))
        rename(old, new)

    monkeypatch.setattr(pair.mirror.sftp, "posix_rename", cut)
    with pytest.raises(ServiceError):
        copy_image(pair.source, pair.mirror, NEW, IMAGE, pair.upload(NEW, b"other"))
    assert (pair.held(NEW) / IMAGE).read_bytes() == b"other"
    assert not (pair.held(NEW) / f"{IMAGE}.md5").exists()


def test_names_of_temporary_files_are_nobodys() -> None:
    made = sftp_files.temporary(f"/builds/.builds/{NEW}/{IMAGE}")
    folder, _, name = made.rpartition("/")
    assert folder == f"/builds/.builds/{NEW}"
    assert sftp_files.TEMPORARY.fullmatch(name)
    assert sftp_files.TEMPORARY.fullmatch(Path(sftp_files.partial(f"/builds/{NEW}/{IMAGE}", "0a" * 16)).name)
    assert not re.fullmatch(sftp_files.TEMPORARY, IMAGE)
    assert not re.fullmatch(sftp_files.TEMPORARY, ".hidden.md5")
