"""Processes of a lab whose state file is gone or stale: found by a marker in their environment, and ended."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from lab.service import MARK, LabError

_SSHD = re.compile(r"sshd: .* -f (?P<root>/.+?)(/images/sshd)?/sshd_config( |$)")


def orphans(root: Path, *, known: Iterable[int] = ()) -> list[psutil.Process]:
    """Return the lab's processes that belong to no running service.

    :param root: the lab's folder, absolute.
    :param known: pids of the running services, whose sessions are left alone.
    """
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    sessions = set(known)
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in ours and root_of(process) == str(root) and _session(process) not in sessions
    ]


def sweep(root: Path, *, known: Iterable[int] = (), deadline: float = 5.0) -> int:
    """Kill the lab's orphans; return how many there were.

    :param deadline: seconds until they have to be gone.
    :raises LabError: when one outlives that.
    """
    left = orphans(root, known=known)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(left, timeout=deadline)
    if alive:
        raise LabError(f"processes {[process.pid for process in alive]} of {root} do not end; see ps")
    return len(left)


def root_of(process: psutil.Process) -> str | None:
    """Return the folder of the lab that a living process belongs to, None when it belongs to none."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if mark := process.environ().get(MARK):
            return mark
        # These write their title over their environment. The title still names sshd's configuration, and
        # Airflow works in its own folder.
        title = " ".join(process.cmdline())
        if found := _SSHD.match(title):
            return found["root"]
        folder = Path(process.cwd())
        return str(folder.parent) if title.startswith("airflow ") and folder.name == "airflow" else None
    except (psutil.Error, OSError):
        # Ended meanwhile, or somebody else's.
        return None


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None


def listening(processes: Iterable[psutil.Process]) -> Iterator[int]:
    """Return the ports on which the processes listen."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    yield connection.laddr.port
