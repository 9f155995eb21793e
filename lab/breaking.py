"""Services of a running lab, broken on purpose: each stays at its address, and is mended there.

What only a proxy can do is done by one: the service is started again on another port, and an `Outage`, in a
process of its own, takes its place. A full disk needs none: the kernel lets the running process write no
byte more. OpenSSH and distribution then answer what they answer without space (both were compared).
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from lab import airflow, dlrn, image_server
from lab.certificates import server_files
from lab.kept import hold
from lab.outage import MODES, TCP_MODES, Outage
from lab.ports import kept_port
from lab.registries import LabRegistries
from lab.service import HOST, LabError, Service, listens

#: Those that a service does not have to know of.
HTTP_MODES = tuple(mode for mode in MODES if mode != "full")

SECONDS = 5.0


@dataclass(frozen=True)
class Breakage:
    """How a service is broken.

    :param seconds: by how much its answers come late, when it is slow.
    """

    how: str
    seconds: float = SECONDS

    def __str__(self) -> str:
        return f"slow, by {self.seconds:g} s" if self.how == "slow" else self.how


@dataclass(frozen=True)
class Target:
    """A service that can be broken.

    :param modes: how.
    :param tls: certificate and key, when it speaks TLS with them.
    :param http: whether it speaks HTTP.
    :param full: called with True while it runs to let it find its disk full, with False for the end of that.
    :param down: called with True to keep it from running, with False for the end of that; by default its
        process is ended, and started again.
    """

    service: Service
    modes: tuple[str, ...]
    tls: tuple[Path, Path] | None = None
    http: bool = True
    full: Callable[[bool], None] | None = None
    down: Callable[[bool], None] | None = None

    @property
    def behind(self) -> Service:
        """The service on the port that it has while a proxy has its own."""
        port = kept_port(self.service.run / f"{self.service.name}.behind.port")
        # Its own question whether it is ready may go to its own port.
        return dataclasses.replace(self.service, at=port, ready=listens)

    def put(self, breakage: Breakage | None, proxy: Service) -> None:
        """Let it be broken in this way, or in none, whatever it was before.

        :param proxy: the process that takes its port.
        """
        how = breakage.how if breakage else None
        if self.down:
            self.down(how == "down")
            return
        if self.full:
            self.full(False)
        proxy.stop()
        if how == "down":
            self.service.stop(signal.SIGKILL)
            return
        proxied = how is not None and how != "full"
        service = self.behind if proxied else self.service
        if service.running_at != service.port:
            service.stop()
            service.ensure()
        if proxied:
            proxy.ensure()
        if self.full and how == "full":
            self.full(True)


def limit_files(service: Service, full: bool) -> None:
    """Let the processes of a service write no byte to any file, or lift that."""
    for process in service.members():
        with contextlib.suppress(psutil.NoSuchProcess):
            _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (0 if full else hard, hard))


def targets(root: Path, registries: LabRegistries, ci: Service) -> dict[str, Target]:
    """Return the services of a lab that can be broken, by name."""
    api, tree = dlrn.services(root)
    found = [
        Target(api, tuple(MODES), full=partial(dlrn.fill_disk, root)),
        Target(tree, HTTP_MODES),
    ]
    for registry in registries:
        tls = server_files(registry.folder) if registry.ca else None
        found.append(Target(registry.service, tuple(MODES), tls, full=partial(limit_files, registry.service)))
        if registry.issuer:
            found.append(Target(registry.issuer.service, HTTP_MODES, tls))
    for name in image_server.SERVERS:
        service = image_server.service(root, name)
        found.append(Target(service, (*TCP_MODES, "full"), http=False, full=partial(limit_files, service)))
    found.append(Target(ci, ("down",)))
    if (root / "airflow").exists():
        found += [
            Target(service, ("down",), down=partial(hold, service)) for service in airflow.services(root)
        ]
    return {target.service.name: target for target in found}


def forget(root: Path) -> None:
    """Leave nothing of what was broken, where all processes are ended anyway."""
    dlrn.fill_disk(root, False)
    for note in (root / "run").glob("*.broken"):
        note.unlink()


@dataclass(frozen=True)
class Breakages:
    """What is broken in a lab.

    :param root: the lab's folder.
    :param targets: the services that can be broken, by name.
    """

    root: Path
    targets: Mapping[str, Target]

    def all(self) -> dict[str, Breakage]:
        """Return what is broken, by the service's name."""
        return {
            name: Breakage(**json.loads(self._note(name).read_text()))
            for name in self.targets
            if self._note(name).exists()
        }

    def break_(self, name: str, how: str, seconds: float = SECONDS) -> Breakage:
        """Break a service that runs, or break it in another way.

        :raises LabError: when there is no such service or way, or it does not run.
        """
        target = self.targets[self._known(name)]
        if how not in target.modes:
            raise LabError(f"{name} cannot be broken by {how!r}, only by {', '.join(target.modes)}")
        if not self._note(name).exists() and target.service.process() is None:
            raise LabError(f"{name} does not run, so there is nothing to break: run `python -m lab up`")
        breakage = Breakage(how, seconds)
        # Noted first: interrupted, it is known to need mending.
        self._note(name).write_text(json.dumps(dataclasses.asdict(breakage)))
        target.put(breakage, self._proxy(name))
        return breakage

    def mend(self, name: str | None = None) -> list[str]:
        """Mend a service, or all; return the names of those that were broken."""
        names = list(self.targets) if name is None else [self._known(name)]
        broken = [name for name in names if self._note(name).exists()]
        for each in broken:
            self.targets[each].put(None, self._proxy(each))
            self._note(each).unlink()
        return broken

    def serve(self, name: str) -> None:
        """Be the proxy of a service until told to end."""
        target = self.targets[self._known(name)]
        breakage = self.all()[name]
        stop = threading.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: stop.set())
        port = target.service.port
        with Outage(HOST, target.behind.port, target.tls, http=target.http, listen=port) as outage:
            outage.break_(breakage.how, seconds=breakage.seconds)
            stop.wait()

    def _known(self, name: str) -> str:
        if name not in self.targets:
            near = difflib.get_close_matches(name, self.targets, n=1, cutoff=0.4)
            hint = f", did you mean {near[0]}" if near else ""
            raise LabError(f"no service is called {name!r}{hint}; there are {', '.join(self.targets)}")
        return name

    def _note(self, name: str) -> Path:
        return self.root / "run" / f"{name}.broken"

    def _proxy(self, name: str) -> Service:
        service = self.targets[name].service

        def command(_: int) -> list[str]:
            return [sys.executable, "-m", "lab", "--root", str(self.root), "outage", name]

        project = Path(__file__).resolve().parent.parent
        env = {"PYTHONPATH": os.pathsep.join([str(project), str(project / "include")])}
        return Service(f"outage-{name}", service.run, command, env=env, cwd=self.root, at=service.port)
