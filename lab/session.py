"""Processes that a service has started, found also after the service itself was killed.

A service leads a session (`setsid`), and its descendants stay in it, in whatever process groups they are:
Airflow's task runners, for one, make groups of their own. While a session has members the kernel does not
give its number to a new process, so a member is never somebody else's.
"""

from __future__ import annotations

import json
import os

import psutil

from lab.service import LabError, Service


def members(service: Service) -> list[psutil.Process]:
    """Return the living processes of the service's session, the service itself among them."""
    try:
        state = json.loads((service.run / f"{service.name}.json").read_text())
        leader, created = int(state["pid"]), float(state["created"])
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return []
    if psutil.pid_exists(leader) and abs(psutil.Process(leader).create_time() - created) >= 1.0:
        return []  # the session ended long ago, and its number went to a stranger
    return [process for process in psutil.process_iter() if _session(process) == leader]


def end(service: Service, *, deadline: float = 5.0) -> None:
    """Kill what is left of the service's session.

    :param deadline: seconds until the kernel has to have removed the processes.
    :raises LabError: when one outlives that.
    """
    left = members(service)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(left, timeout=deadline)
    if survivors := [process.pid for process in alive if _session(process) is not None]:
        raise LabError(f"processes {survivors} of {service.name} do not end; look at them with ps")


def _session(process: psutil.Process) -> int | None:
    """Return the process's session, None when it is dead."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None
