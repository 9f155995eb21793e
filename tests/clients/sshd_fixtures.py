"""What the tests of the image server share: a running sshd, and logging in to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko
import psutil

from lab import image_server
from lab.image_server import ImageServerFacts
from lab.service import Service
from rdo_promoter.clients.ssh import connect

OLD, NEW = ("a" * 40 + "_11111111", "b" * 40 + "_22222222")
IMAGE = "overcloud-full.tar"
LABEL = "current-tripleo"


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """Start a server and end it, sessions included, afterwards."""
    service.start()
    try:
        service.wait_ready()
        yield service
    finally:
        kill(service)


def running_sshd(root: Path) -> AbstractContextManager[Service]:
    """Run the sshd of a lab in this folder."""
    return running(image_server.service(root))


def read_only(root: Path, run: Path) -> AbstractContextManager[int]:
    """Run a second sshd for the lab in `root`, which lets nobody write; yield its port."""
    return restricted(root, run, "-R")


@contextmanager
def restricted(root: Path, run: Path, option: str) -> Iterator[int]:
    """Run a second sshd for the lab in `root`, with an option of internal-sftp; yield its port."""
    text = (root / "images" / "sshd" / "sshd_config").read_text()
    text = text.replace("PidFile", "#PidFile").replace("internal-sftp\n", f"internal-sftp {option}\n")
    config = run / "sshd_config"

    def command(port: int) -> list[str]:
        config.write_text(text)
        return [*image_server.service(root).command(port)[:-1], str(config)]

    with running(Service(name="restricted", run=run, command=command)) as service:
        yield service.port


@contextmanager
def small_disk(root: Path, run: Path, size: int, server: str = image_server.IMAGES) -> Iterator[int]:
    """Run a second sshd for the lab in `root`, for which no file may grow larger; yield its port.

    To a client this looks as a full disk does: writing ends with the status "Failure".

    :param size: bytes, a multiple of 512.
    :param server: whose account and folders it has.
    """
    text = (root / server / "sshd" / "sshd_config").read_text()
    config = run / "sshd_config"

    def command(port: int) -> list[str]:
        config.write_text(text.replace("PidFile", "#PidFile"))
        sshd = [*image_server.service(root, server).command(port)[:-1], str(config)]
        # Without the trap the limit ends the process instead of the write.
        return ["sh", "-c", f'trap "" XFSZ; ulimit -f {size // 512}; exec "$@"', "sh", *sshd]

    with running(Service(name="small-disk", run=run, command=command)) as service:
        yield service.port


def kill_sessions(service: Service) -> None:
    """Kill the sessions of a server, which goes on."""
    process = service.process()
    sessions = process.children(recursive=True) if process else []
    assert sessions
    for session in sessions:
        with suppress(psutil.NoSuchProcess):
            session.kill()
    psutil.wait_procs(sessions, timeout=10)


def login(facts: ImageServerFacts, **changes: Any) -> AbstractContextManager[paramiko.SFTPClient]:
    """Log in to a lab's sshd, with what is right for it or with changes to that."""
    settings = {"key_file": facts.key_file, "host_key": facts.host_key, **changes}
    address = [settings.pop(name, getattr(facts, name)) for name in ("host", "port", "username")]
    return connect(*address, **settings)


def kill(service: Service) -> None:
    """Kill a server and all of its sessions, each of which is in a process group of its own."""
    process = service.process()
    family = [*process.children(recursive=True), process] if process else []
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=10)
    service.stop()
