"""Services whose command a keeper starts again when it ends; see `keeper`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from lab.service import LabError, Service, end, wait_for

_KEEPER = Path(__file__).with_name("keeper.py")


def kept(words: Sequence[str]) -> list[str]:
    """Return the words of a service that keeps a command running."""
    return [sys.executable, "-I", str(_KEEPER), *words]


def command(service: Service) -> psutil.Process | None:
    """Return the process that is kept, None when there is none at the moment."""
    keeper = service.process()
    try:
        found = keeper.children() if keeper else []
        return next((one for one in found if one.status() != psutil.STATUS_ZOMBIE), None)
    except psutil.NoSuchProcess:
        return None


def kill(service: Service) -> None:
    """End the command as a crash would: at once, with everything that it has started; it comes back.

    :raises LabError: when it does not run.
    """
    if command(service) is None:
        raise LabError(f"{service.name} does not run, so it cannot be killed")
    keeper = service.process()
    end([process for process in service.members() if process != keeper], signal.SIGKILL)


def hold(service: Service, held: bool) -> None:
    """Kill the command and keep it from running, or let it run again and wait until it is ready.

    :raises LabError: when nobody keeps it, or it is not ready in time.
    """
    keeper = service.process()
    if keeper is None:
        if held:
            raise LabError(f"{service.name} does not run: start it first")
        return
    keeper.send_signal(signal.SIGUSR1 if held else signal.SIGUSR2)
    if held:
        # What the command has started ends a moment after it.
        wait_for(lambda: service.members() in ([keeper], []), f"{service.name} has ended")
    else:
        wait_for(lambda: command(service) is not None, f"{service.name} runs")
        service.wait_ready()
