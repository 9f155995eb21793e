"""Processes of a lab whose state file is gone: found by a marker in their environment, and ended."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from lab.service import MARK, LabError, end

_SSHD = re.compile(r"sshd: .* -f (?P<root>/.+?)(/[^/]+/sshd)?/sshd_config( |$)")


def orphans(root: Path, *, known: Iterable[psutil.Process] = ()) -> list[psutil.Process]:
    """Return the lab's processes that belong to no running service.

    :param root: the lab's folder, absolute.
    :param known: the members of the running services, which are left alone.
    """
    spared = {os.getpid(), *(process.pid for process in (*psutil.Process().parents(), *known))}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and root_of(process) == str(root)
    ]


def sweep(root: Path, *, known: Iterable[psutil.Process] = ()) -> None:
    """Kill the lab's orphans.

    :raises LabError: when one outlives that.
    """
    left = orphans(root, known=known)
    if alive := end(left, signal.SIGKILL):
        raise LabError(f"processes {[process.pid for process in alive]} of {root} do not end; see ps")


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
