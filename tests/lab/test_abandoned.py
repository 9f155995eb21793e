"""What a killed test session has left running is ended by the next one, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import image_server
from lab.lab import Lab
from lab.service import HOST, Service, wait_for
from lab.sweep import orphans
from tests.abandoned import end_abandoned

pytestmark = pytest.mark.lab


def server(root: Path) -> Service:
    return Service(
        "web", root / "run", lambda port: [sys.executable, "-m", "http.server", "-b", HOST, str(port)]
    )


def session(folder: Path, pid: int) -> Path:
    """Make the folder of a test session; return that of a lab in it."""
    folder.mkdir()
    (folder / ".lock").write_text(str(pid))
    return folder / "test-0" / "lab"


def test_labs_of_killed_sessions_are_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    killed, gone, living = (
        session(tmp_path / f"pytest-{number}", pid) for number, pid in enumerate((ended.pid, 1, os.getpid()))
    )
    (gone.parents[1] / ".lock").unlink()
    services = [
        server(killed),
        image_server.service(killed, image_server.MIRROR),
        server(gone),
        server(living),
    ]
    try:
        for service in services:
            service.start()
        for service in services:
            service.wait_ready()
        processes = [service.process() for service in services]
        # sshd is the one that cannot be known by its environment.
        (killed / "run" / "sshd-rh1.json").unlink()
        shutil.rmtree(gone.parents[1])

        assert end_abandoned(tmp_path) == [killed, gone]

        wait_for(lambda: not any(p.is_running() for p in processes[:3] if p), "they are gone")
        assert services[3].process() is not None
        assert end_abandoned(tmp_path) == []
    finally:
        for service in services:
            service.stop()
        for root in (killed, gone, living):
            Lab(root).down()
            assert orphans(root) == []
