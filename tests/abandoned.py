"""Labs of test sessions that were killed: found by their processes, and ended."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from lab.lab import Lab
from lab.sweep import root_of


def end_abandoned(base: Path) -> list[Path]:
    """End every process of a lab in the folder of a session that has ended; return those labs' folders.

    :param base: where pytest makes a folder for each session.
    """
    session = re.compile(rf"{re.escape(str(base.resolve()))}/pytest-\d+(?=/)")
    roots = {root for process in psutil.process_iter() if (root := root_of(process))}
    abandoned = sorted(
        Path(root)
        for root in roots
        if (own := session.match(root)) and not _runs(Path(own.group(0)) / ".lock")
    )
    for folder in abandoned:
        Lab(folder).down()
    return abandoned


def _runs(lock: Path) -> bool:
    """Tell whether the session that made the lock lives: pytest writes its pid there, and removes it last."""
    try:
        process = psutil.Process(int(lock.read_text()))
        # A process that is younger than the lock only has the session's number.
        return process.create_time() <= lock.stat().st_mtime + 1
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return False
