"""Ports of a lab: chosen once, distinct, and out of the way of outgoing connections."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable

from lab.service import HOST, LabError, Service

#: Below the range from which Linux takes the ports of outgoing connections (32768-60999): a service that
#: is started again must not find one of those on its port.
PORTS = range(20_000, 32_000)


def assign(services: Iterable[Service]) -> None:
    """Give each service without a port one that is free; it keeps it for the lab's life."""
    for service in services:
        file = service.run / f"{service.name}.port"
        if file.exists() and file.read_text().strip():
            continue
        service.run.mkdir(parents=True, exist_ok=True)
        taken = {int(other.read_text() or 0) for other in service.run.glob("*.port")}
        fresh = file.with_suffix(".port-new")
        fresh.write_text(str(_free(taken)))
        fresh.replace(file)


def _free(taken: set[int]) -> int:
    for port in random.sample(PORTS, 200):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise LabError(f"no free port from {PORTS.start} to {PORTS.stop - 1}: end some programs and try again")
