"""A small RDO on one machine: its services, its folder, and what was in it before anybody looked."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from lab import (
    airflow,
    breaking,
    container_engine,
    dlrn,
    dlrn_components,
    image_server,
    jobs,
    overlay,
    prerequisites,
    registries,
    seed,
)
from lab.dlrn_env import locked
from lab.service import MARK, LabError, Service
from lab.status import ServiceStatus, airflow_statuses, statuses
from lab.sweep import sweep
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import DlrnHash

PROJECT = Path(__file__).resolve().parent.parent

Progress = Callable[[str], None]


class Lab:
    """One lab, known by its folder.

    :param root: its folder; made by `up`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @property
    def exists(self) -> bool:
        """Whether `up` has made the lab."""
        return self._seeded

    def __repr__(self) -> str:
        return f"Lab({self.root})"

    @cached_property
    def release(self) -> overlay.LabRelease:
        """The release that the lab plays."""
        return overlay.read()

    @cached_property
    def registries(self) -> registries.LabRegistries:
        """The container registries."""
        return registries.registries(self.root)

    @property
    def dlrn(self) -> dlrn.DlrnFacts:
        """Addresses and users of the lab's DLRN."""
        return dlrn.facts(self.root)

    @property
    def images(self) -> image_server.ImageServerFacts:
        """Address and keys of the image server that CI uploads to."""
        return image_server.facts(self.root)

    @property
    def mirror(self) -> image_server.ImageServerFacts:
        """Address and keys of the mirror for images, which has what promotions copy there."""
        return image_server.facts(self.root, image_server.MIRROR)

    @property
    def image_folder(self) -> Path:
        """Where the release's builds and links are on the image server; the server is this machine."""
        return Path(self.images.path(self.release.name))

    @property
    def mirror_folder(self) -> Path:
        """Where the release's labels are on the mirror, RDO's ``/builds``."""
        return self.mirror.images / "builds"

    @property
    def releases(self) -> Path:
        """The lab's release files."""
        return overlay.releases_folder(self.root)

    def dlrn_client(self, *, ci: bool = False, components: bool = False) -> DlrnClient:
        """Return a client of the lab's DLRN.

        :param ci: log in as CI instead of as the promoter.
        :param components: of the DLRN in component mode, see `start_components`.
        """
        facts = dlrn_components.facts(self.root) if components else self.dlrn
        login = (facts.ci_username, facts.ci_password) if ci else (facts.username, facts.password)
        return DlrnClient(facts.api_url, facts.repo_url, username=login[0], password=login[1], backoff=0.1)

    def connections(self) -> dict[str, str]:
        """Return the Airflow Connections of the lab's services by their id, each as JSON."""
        facts = self.dlrn
        found: dict[str, object] = {
            "dlrn_centos7_master": {
                "conn_type": "dlrn",
                "host": facts.api_url,
                "login": facts.username,
                "password": facts.password,
            },
            "images_rdo": self.images.connection(),
            "images_rh1": self.mirror.connection(),
            **jobs.connections(self.root),
        }
        for registry in self.registries:
            found[f"registry_{registry.name}"] = {
                "conn_type": "docker",
                "host": registry.url,
                "login": registry.username,
                "password": registry.password,
                "extra": {"ca": str(registry.ca)} if registry.ca else {},
            }
        return {name: json.dumps(connection) for name, connection in found.items()}

    @property
    def services(self) -> tuple[Service, ...]:
        """The services that `up` starts: CI is one of them from `start_ci` until `stop_ci` or `down`."""
        return (*self._servers, *([self.ci] if self._ci_options.exists() else []))

    @property
    def _servers(self) -> tuple[Service, ...]:
        return (
            *dlrn.services(self.root),
            *(service for registry in self.registries for service in registry.services),
            *(image_server.service(self.root, name) for name in image_server.SERVERS),
        )

    @property
    def ci(self) -> Service:
        """CI that votes."""

        def command(_: int) -> Sequence[str]:
            options = self._ci_options.read_text().split("\n") if self._ci_options.exists() else []
            return [sys.executable, "-m", "lab", "--root", str(self.root), "ci", *options]

        path = os.pathsep.join([str(PROJECT), str(PROJECT / "include")])
        env = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        return Service("ci", self.root / "run", command, env=env, cwd=self.root)

    @property
    def breakages(self) -> breaking.Breakages:
        """What is broken on purpose."""
        return breaking.Breakages(self.root, breaking.targets(self.root, self.registries, self.ci))

    def break_(self, name: str, how: str, seconds: float = breaking.SECONDS) -> breaking.Breakage:
        """Break a service, or break it in another way; clients find it at the same address.

        :param name: of the service.
        :param how: one of the ways that the service can be broken.
        :param seconds: by how much its answers come late when it is slow.
        :raises LabError: when there is no such service or way, or it does not run.
        """
        with self._locked():
            return self.breakages.break_(name, how, seconds)

    def mend(self, name: str | None = None) -> list[str]:
        """Mend a service, or all; return the names of those that were broken.

        :raises LabError: when there is no such service.
        """
        with self._locked():
            return self.breakages.mend(name)

    def up(self, progress: Progress = lambda _: None, prepared: Callable[[], None] = lambda: None) -> bool:
        """Start what does not run, mend what is broken, and seed a new lab; return False when all was well.

        :param progress: called with a line about each step that takes time.
        :param prepared: called as soon as addresses, logins and release files are there, before services run.
        :raises LabError: when something is missing, or does not start.
        """
        with locked(self.root / "lock"):
            mended = self._seeded and self.breakages.mend()
            if self._seeded and all(service.process() for service in self.services):
                prepared()
                return bool(mended)
            with self._marking():
                self._prepare(progress)
                prepared()
                self._start(progress)
        return True

    def _prepare(self, progress: Progress) -> None:
        for package in prerequisites.ensure():
            progress(f"installed {package}")
        dlrn.ensure_environment(self.root)
        services = (*self._servers, self.ci)
        if not self._seeded:
            for service in services:
                service.stop()
            breaking.forget(self.root)
        self._sweep()
        if not self._seeded:
            seed.wipe(self.root)
        if not self._seeded or dlrn.lacks_users(self.root):
            dlrn.stage(self.root)
        for name in image_server.SERVERS:
            image_server.prepare(self.root, name)
        overlay.write(
            self.root, repo_url=self.dlrn.repo_url, images=self.images.images, mirror=self.mirror_folder
        )

    def _start(self, progress: Progress) -> None:
        if not self._seeded:
            progress("making a week of builds")
        services = self._servers
        with ThreadPoolExecutor(8) as pool:
            others = {
                service.name: pool.submit(service.ensure)
                for service in services
                if "dlrn" not in service.name
            }
            work: list[Future[Any]] = list(others.values())
            if not self._seeded:
                work += self._seed(pool, others)
            work += [pool.submit(service.ensure) for service in services if "dlrn" in service.name]
            for future in work:
                future.result()
        # Written last: a lab whose seed was interrupted is filled again from the beginning.
        self._marker.write_text(f"{self.root}\n")
        if self._ci_options.exists():
            self.ci.ensure()

    def _seed(self, pool: ThreadPoolExecutor, started: Mapping[str, Future[bool]]) -> list[Future[Any]]:
        """Fill DLRN, whose services do not run yet, and begin to fill the others, which start meanwhile."""
        builds = seed.builds(int(time.time()))
        before, last = builds["seed-v"].build, builds["seed-w"].build

        def containers() -> None:
            started[self.registries.rdo.service.name].result()
            seed.seed_containers(self.registries, self.release, last)

        work = [pool.submit(containers)]
        seed.seed_dlrn(self.root, self.release, builds)
        seed.seed_images(self.root, self.release, before, last)
        seed.seed_mirror(self.mirror_folder, self.image_folder, self.release, before, last)
        return work

    def start_ci(self, scenario: str = "default", speed: float = 1.0) -> bool:
        """Start CI, or start it again when it runs with other settings; return whether it was started.

        :param scenario: a name, or a file.
        :param speed: how much faster than the scenario's times.
        """
        file = Path(scenario)
        options = f"--scenario\n{file.resolve() if file.is_file() else scenario}\n--speed\n{speed:g}"
        with locked(self.root / "lock"):
            same = self._ci_options.exists() and self._ci_options.read_text() == options
            if same and self.ci.process() is not None:
                return False
            self.ci.stop()
            self._ci_options.parent.mkdir(parents=True, exist_ok=True)
            self._ci_options.write_text(options)
            return self.ci.ensure()

    def start_jobs(self) -> None:
        """Start what the jobs run on that a release starts itself; `down` ends it."""
        with locked(self.root / "lock"):
            for service in jobs.services(self.root, insecure=[self.registries.rdo.host]):
                service.ensure()

    def start_components(self) -> None:
        """Start the DLRN in component mode, which `up` leaves out; `down` ends it."""
        with locked(self.root / "lock"):
            dlrn_components.start(self.root)

    def stop_ci(self) -> None:
        """End CI."""
        self.ci.stop()
        self._ci_options.unlink(missing_ok=True)

    def down(self, *, purge: bool = False) -> None:
        """End every process of the lab, its Airflow's and what earlier crashes have left.

        :param purge: remove the folder as well.
        """
        if not self.root.exists():
            # Somebody has removed it, but not what runs.
            sweep(self.root)
            return
        with locked(self.root / "lock"):
            if (self.root / "airflow").exists():
                airflow.down(self.root)
            breaking.forget(self.root)
            container_engine.remove_all(self.root)
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(Service.stop, _known(self.root)))
            sweep(self.root)
            self._ci_options.unlink(missing_ok=True)
            if purge:
                shutil.rmtree(self.root)

    def status(self) -> list[ServiceStatus]:
        """Return how each service is, the lab's Airflow included while anything of it runs."""
        broken = {name: str(breakage) for name, breakage in self.breakages.all().items()}
        return [*statuses(self.services, broken), *airflow_statuses(self.root, broken)]

    def add_build(self, *, extended: bool | str = False, failed: bool = False) -> DlrnHash:
        """Let DLRN's builder make a build; unless it failed, it becomes `consistent`."""
        return dlrn.add_build(self.root, when=int(time.time()), extended=extended, failed=failed)

    def check_exists(self) -> None:
        """Refuse to go on where no lab is.

        :raises LabError: when there is none.
        """
        if not self._seeded:
            raise LabError(f"there is no lab in {self.root}: run `python -m lab up`")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.check_exists()
        with locked(self.root / "lock"):
            yield

    def check_up(self) -> None:
        """Refuse to go on without the services.

        :raises LabError: with the names of those that do not run.
        """
        self.check_exists()
        broken = self.breakages.all()
        # Those that are broken on purpose are somebody's experiment, which goes on.
        absent = [
            service.name
            for service in self._servers
            if service.process() is None and service.name not in broken
        ]
        if absent:
            raise LabError(
                f"{', '.join(absent)} of the lab in {self.root} do not run: run `python -m lab up`"
            )

    @property
    def _marker(self) -> Path:
        return self.root / "seeded"

    @property
    def _seeded(self) -> bool:
        # Configurations hold absolute paths: a lab that was moved is filled again.
        return self._marker.exists() and self._marker.read_text().strip() == str(self.root)

    @property
    def _ci_options(self) -> Path:
        return self.root / "ci" / "options"

    @contextmanager
    def _marking(self) -> Iterator[None]:
        """Mark also what `up` runs for a moment: killed in the middle, it would leave a builder at work."""
        before = os.environ.get(MARK)
        os.environ[MARK] = str(self.root)
        try:
            yield
        finally:
            os.environ.pop(MARK) if before is None else os.environ.update({MARK: before})

    def _sweep(self) -> None:
        known = [
            process for service in _known(self.root) if service.process() for process in service.members()
        ]
        sweep(self.root, known=known)


def _known(root: Path) -> Iterable[Service]:
    """Return a handle on each service that has a state file, whoever started it."""
    run = root / "run"
    return [Service(file.stem, run, lambda _: ()) for file in sorted(run.glob("*.json"))]
