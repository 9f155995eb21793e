"""Looking on while a promotion works: readers of its links, and what its process does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

#: What Python tells of before it starts another program.
_PROGRAMS = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.forkpty"})


@dataclass
class Process:
    """What this process did while it was looked on.

    :param programs: that it started.
    :param addresses: host and port, or file, of each connection that it made.
    """

    programs: list[str] = field(default_factory=list)
    addresses: set[tuple[str, int] | str] = field(default_factory=set)


_watched: list[Process] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    for process in _watched:
        if event in _PROGRAMS:
            process.programs.append(f"{event} {arguments}")
        elif event == "socket.connect":
            _, address = arguments
            if isinstance(address, tuple):
                process.addresses.add((str(address[0]), int(address[1])))
            else:
                process.addresses.add(str(address))


_hooked: list[bool] = []


@contextmanager
def this_process() -> Iterator[Process]:
    """Take down which programs this process starts and where it connects to."""
    if not _hooked:
        # There is no way to take a hook away again; without anybody in `_watched` it does nothing.
        sys.addaudithook(_hook)
        _hooked.append(True)
    process = Process()
    _watched.append(process)
    try:
        yield process
    finally:
        _watched.remove(process)


@contextmanager
def reading(path: Path) -> Iterator[tuple[set[bytes], list[OSError]]]:
    """Read a file over and over; yield what was read so far and what went wrong."""
    seen: set[bytes] = set()
    failures: list[OSError] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(path.read_bytes())
            except OSError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen, failures
    finally:
        stop.set()
        reader.join()


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Take down the command lines of all processes of this machine, over and over."""
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            for process in psutil.process_iter(["cmdline"]):
                seen.add("\0".join(process.info["cmdline"] or ()))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield seen
    finally:
        stop.set()
        looker.join()
