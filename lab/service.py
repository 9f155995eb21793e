"""A service of the lab: one session of processes, known by a file, started once and ended for good.

A service leads a session (`setsid`), and its descendants stay in it, in whatever process groups they are:
Airflow's task runners, for one, make groups of their own. While a session has members the kernel does not
give its number to a new process, so they are found also after the service itself was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lab.ports import HOST, LabError, kept_port

__all__ = ["HOST", "MARK", "LabError", "Service", "end", "listens", "wait_for"]

#: Set in the environment of every process that a lab starts; names the lab's folder.
MARK = "RDO_LAB_ROOT"


def wait_for(
    condition: Callable[[], bool], what: str, *, deadline: float = 30.0, every: float = 0.05
) -> None:
    """Wait until the condition holds.

    :param deadline: seconds.
    :param every: seconds between two looks.
    :raises LabError: when it does not hold in time.
    """
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not so after {deadline:.0f} s")
        time.sleep(every)


def listens(port: int) -> bool:
    """Tell whether something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


@dataclass(frozen=True)
class Service:
    """A long-running process of the lab.

    Its state is a file `<run>/<name>.json` with pid, start time and port. A pid alone does not name a
    process for long, so the start time is compared as well. The port is chosen once and kept in
    `<run>/<name>.port`, so that a service that is started again answers at the same address.

    :param name: its name, unique in the lab.
    :param run: folder of state files and logs; the folder around it is the lab's.
    :param command: called with the port; returns the words to execute.
    :param ready: called with the port; True once the service answers.
    :param env: variables added to the environment.
    :param cwd: working directory.
    :param deadline: seconds to become ready.
    :param at: its port, when that is not its own to choose.
    """

    name: str
    run: Path
    command: Callable[[int], Sequence[str]]
    ready: Callable[[int], bool] = listens
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    deadline: float = 30.0
    at: int | None = None

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.run / f"{self.name}.log"

    @property
    def _state(self) -> Path:
        return self.run / f"{self.name}.json"

    @property
    def port(self) -> int:
        """The service's port, chosen at the first question and kept for the lab's life."""
        return kept_port(self.run / f"{self.name}.port") if self.at is None else self.at

    @property
    def running_at(self) -> int | None:
        """The port that the process was started for, None when it does not run."""
        return int(json.loads(self._state.read_text())["port"]) if self.process() else None

    def process(self) -> psutil.Process | None:
        """Return the running process, or None."""
        leader = self._leader()
        return leader if isinstance(leader, psutil.Process) else None

    def members(self) -> list[psutil.Process]:
        """Return the living processes of the service's session and their descendants, the service's first."""
        leader = self._leader()
        if leader is None:
            return []
        found: list[psutil.Process] = []
        if isinstance(leader, psutil.Process):
            with contextlib.suppress(psutil.NoSuchProcess):
                # Some, as sshd's sessions, have left the session of their parent.
                found = [leader, *leader.children(recursive=True)]
            leader = leader.pid
        found += [process for process in psutil.process_iter() if _session(process) == leader]
        return list(dict.fromkeys(found))

    def start(self) -> bool:
        """Start the process unless it runs; return True when it was started.

        What an earlier process that was killed has left of its session is ended first.
        """
        if self.process() is not None:
            return False
        self.stop(signal.SIGKILL)
        self.run.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                list(self.command(self.port)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env, MARK: str(self.run.resolve().parent)},
                cwd=self.cwd,
                start_new_session=True,
            )
        created = psutil.Process(child.pid).create_time()
        self._state.write_text(json.dumps({"pid": child.pid, "created": created, "port": self.port}))
        return True

    def ensure(self) -> bool:
        """Start the process unless it runs, and wait until it answers; return True when it was started.

        :raises LabError: when another program has its port, or it does not answer.
        """
        if self.process() is None and listens(self.port):
            raise LabError(
                f"port {self.port} of {self.name} was taken by another program meanwhile: end that, or "
                f"remove {self.run / (self.name + '.port')} and run `up` again for another port"
            )
        started = self.start()
        self.wait_ready()
        return started

    def wait_ready(self) -> None:
        """Wait until the service answers.

        :raises LabError: when it has ended or does not answer in time, with the last lines of its log.
        """

        def look() -> bool:
            if self.process() is None:
                raise LabError(
                    f"{self.name} ended while starting; its log {self.log} ends with:\n{self.tail()}"
                )
            return self.ready(self.port)

        try:
            wait_for(look, f"{self.name} answers on port {self.port}", deadline=self.deadline)
        except LabError as error:
            raise LabError(f"{error}\n{self.tail()}") from error

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, sig: signal.Signals = signal.SIGTERM, deadline: float = 10.0) -> None:
        """End every process of the service, gently first, and forget it.

        :param sig: the first signal; those that live on are killed.
        :param deadline: seconds until then.
        :raises LabError: when one outlives its killing.
        """
        family = self.members()
        # Killed is also what was started meanwhile.
        left = {*end(family, sig, deadline), *self.members()}
        if left := set(end(left, signal.SIGKILL)):
            pids = [process.pid for process in left]
            raise LabError(f"processes {pids} of {self.name} do not end; look at them with ps")
        self._state.unlink(missing_ok=True)

    def _leader(self) -> psutil.Process | int | None:
        """Return the service's process, its number when it has ended, None when nothing of it can run."""
        try:
            state = json.loads(self._state.read_text())
            pid, created = int(state["pid"]), float(state["created"])
        except (FileNotFoundError, json.JSONDecodeError, KeyError):
            return None
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - created) >= 1.0:
                return None  # the session ended long ago, and its number went to a stranger
            return process if process.status() != psutil.STATUS_ZOMBIE else pid
        except psutil.NoSuchProcess:
            return pid


def _session(process: psutil.Process) -> int | None:
    """Return the process's session, None when it is dead."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def end(
    processes: Iterable[psutil.Process], sig: signal.Signals, deadline: float = 5.0
) -> list[psutil.Process]:
    """Signal processes and wait for their end; return those that live on.

    Each is signalled by itself, as they need not be in one group.

    :param deadline: seconds.
    """
    alive = list(processes)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(sig)
    until = time.monotonic() + deadline
    while alive and time.monotonic() < until:
        _, alive = psutil.wait_procs(alive, timeout=0.1)
        # Dead is also a process whose parent has not yet asked how it ended.
        dead = [process for process in alive if _session(process) is None]
        psutil.wait_procs(dead, timeout=0)  # ... which may be us
        alive = [process for process in alive if process not in dead]
    return alive
