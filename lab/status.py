"""How the services of a lab are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import airflow, kept
from lab.service import Service, listens


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """How a service is.

    :param pid: None when it does not run.
    :param answers: whether something answers on its port; of a component of Airflow, whether it is healthy.
    :param broken: how it is broken on purpose, None when it is not.
    """

    name: str
    port: int
    pid: int | None
    answers: bool
    broken: str | None = None

    @property
    def up(self) -> bool:
        """Whether it runs and answers."""
        return self.pid is not None and self.answers


def statuses(services: Iterable[Service], broken: Mapping[str, str]) -> list[ServiceStatus]:
    """Return how services are.

    :param broken: how they are broken, by name.
    """
    found = [(service, service.process()) for service in services]
    return [
        ServiceStatus(
            service.name,
            service.port,
            process.pid if process else None,
            listens(service.port),
            broken.get(service.name),
        )
        for service, process in found
    ]


def airflow_statuses(root: Path, broken: Mapping[str, str]) -> list[ServiceStatus]:
    """Return how the parts of the lab's Airflow are, nothing when it has none or none that runs."""
    if not (root / "airflow").exists() or not any(part.process() for part in airflow.services(root)):
        return []
    database = airflow.database(root).service
    well = {airflow.service(root, component).name for component in airflow.healthy(root)}
    well |= {database.name} if listens(database.port) else set()
    found = [(service, kept.command(service)) for service in airflow.services(root)]
    return [
        ServiceStatus(
            service.name,
            service.port,
            process.pid if process else None,
            service.name in well,
            broken.get(service.name),
        )
        for service, process in found
    ]
