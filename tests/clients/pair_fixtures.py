"""Where the image job uploads, and a mirror, each a real sshd; and the end of a copy in its middle."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import paramiko
import pytest

from lab import image_server as lab
from lab.service import Service
from rdo_promoter.clients import sftp_files
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.model.layout import by_label
from tests.clients.sshd_fixtures import IMAGE, login, running_sshd

AGENT, AGENT_THERE = "ironic-python-agent.tar", "ipa_images.tar"
LAYOUT = by_label({AGENT: AGENT_THERE})
KIB = 2**10
#: Bytes that are under way at once in these tests; a small image has several windows then.
WINDOW = 8 * sftp_files.CHUNK


@dataclass
class Host:
    """One sshd and the folder that stands for a release's on it."""

    root: Path
    service: Service
    folder: Path


@dataclass
class Pair:
    """Where the image job uploads, and a mirror."""

    images: Host
    rh1: Host
    source: ImageServer
    mirror: ImageServer

    def upload(self, build: str, content: bytes, image: str = IMAGE) -> str:
        """Do what the image job does; return the md5."""
        lab.put_images(self.images.root, self.images.folder.parent.name, build, {image: content})
        return hashlib.md5(content).hexdigest()

    def held(self, build: str) -> Path:
        """Return the mirror's folder of a build."""
        return self.rh1.folder / ".builds" / build


@contextmanager
def two_sshds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Service]]:
    """Run both servers."""
    roots = [tmp_path_factory.mktemp(name) for name in ("images", "rh1")]
    with ExitStack() as stack:
        yield {root: stack.enter_context(running_sshd(root)) for root in roots}


@contextmanager
def new_pair(sshds: dict[Path, Service]) -> Iterator[Pair]:
    """Make a folder on each, which nobody else has, with windows that are small."""
    release = f"release-{uuid4().hex[:8]}"
    images, rh1 = (Host(root, sshd, Path(lab.facts(root).path(release))) for root, sshd in sshds.items())
    rh1.folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, logged_in(images, rh1) as pair:
        patch.setattr(sftp_files, "WINDOW", WINDOW)
        yield pair


@contextmanager
def logged_in(images: Host, rh1: Host) -> Iterator[Pair]:
    """Log in to both, as each try of a task does."""
    with login(lab.facts(images.root)) as here, login(lab.facts(rh1.root)) as there:
        source = ImageServer(here, root=str(images.folder), name="images")
        mirror = ImageServer(there, root=str(rh1.folder), name="rh1", layout=LAYOUT)
        yield Pair(images, rh1, source, mirror)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def some(size: int, seed: int = 0) -> bytes:
    return random.Random(f"{size} {seed}").randbytes(size)


def part(md5: str) -> str:
    """Return the name of a file that is not whole."""
    return f".{IMAGE}.{md5}"


def after_window(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> None:
    """Do something when so many windows of files have been read."""
    windows = sftp_files._windows
    read: list[bool] = []

    def interrupted(sftp: paramiko.SFTPClient, path: str, size: int) -> Iterator[list[bytes]]:
        for window in windows(sftp, path, size):
            yield window
            read.append(True)
            if len(read) == number:
                act()

    monkeypatch.setattr(sftp_files, "_windows", interrupted)
