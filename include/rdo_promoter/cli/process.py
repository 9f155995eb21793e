"""The process of a promotion by hand: alone on its label, deaf to nobody, and ended by a person in order."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rdo_promoter.errors import TransientError
from rdo_promoter.model.clock import utc


def tell(lines: Iterable[str]) -> None:
    """Print lines; when nobody reads them any more (`| head`), work and exit code stay what they were."""
    try:
        for line in lines:
            print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress(line: str) -> None:
    """Print a line with the time."""
    tell([f"{utc(time.time())} {line}"])


@contextmanager
def alone(dag_id: str, label: str) -> Iterator[None]:
    """Keep a second command of the same person out; the lock ends with the process, however that ends.

    :param dag_id: the release's Dag.
    :param label: the label that is to be moved.
    :raises TransientError: when there is one.
    """
    path = Path(tempfile.gettempdir()) / f"rdo-promoter-{os.getuid()}-{dag_id}-{label}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TransientError(
                f"another command of yours on this machine promotes to {label} of {dag_id}: "
                "wait for it, or end it"
            ) from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def told_to_stop() -> Iterator[None]:
    """Answer the first Ctrl-C at once, though what is being written comes to its end first."""
    before = signal.getsignal(signal.SIGINT)

    def first(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        tell(["", "stopping after what is being written now; Ctrl-C again does not wait for it"])
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
