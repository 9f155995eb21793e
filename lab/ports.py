"""Ports of a lab: chosen once, distinct, and out of the way of outgoing connections."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import tempfile
from collections.abc import Collection
from pathlib import Path

HOST = "127.0.0.1"

#: Below the range from which Linux takes the ports of outgoing connections (32768-60999): a service that
#: is started again must not find one of those on its port.
PORTS = range(20_000, 32_000)

_given: set[int] = set()


class LabError(RuntimeError):
    """The lab cannot do what was asked; the message says what to do."""


def free_port(taken: Collection[int] = ()) -> int:
    """Return a port that nothing listens on at the moment, and that this process has not been given before.

    :param taken: ports that somebody may start to listen on.
    :raises LabError: when there is none.
    """
    for port in random.sample(PORTS, min(200, len(PORTS))):
        if port in taken or port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise LabError(f"no free port from {PORTS.start} to {PORTS.stop - 1}: end some programs and try again")


def kept_port(file: Path) -> int:
    """Return the port that the file keeps; the first question chooses one that no file beside it keeps."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        taken = {int(other.read_text()) for other in file.parent.glob("*.port")}
        # Linked, so that it is never half there and never replaced: whoever is first decides.
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}-") as fresh:
            fresh.write(str(free_port(taken)))
            fresh.flush()
            with contextlib.suppress(FileExistsError):
                os.link(fresh.name, file)
    return int(file.read_text())
