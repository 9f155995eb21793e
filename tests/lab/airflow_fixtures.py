"""A real Airflow for tests. Starting one takes about ten seconds: share it, and add Dag files to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from lab.airflow import Airflow, down
from lab.airflow_api import AirflowApi
from lab.airflow_settings import USER, password


@contextmanager
def running_airflow(
    root: Path,
    connections: Mapping[str, str],
    *,
    dags: Path | None = None,
    plugins: Path | None = None,
    releases: Path | None = None,
    parallelism: int = 4,
) -> Iterator[Airflow]:
    """Run an Airflow until the end of the `with` block; folders that are not given are made, empty.

    :param root: the lab's folder; another lab's services may live in it.
    :param connections: Airflow Connections by their id.
    """

    def folder(name: str, given: Path | None) -> Path:
        made = given or root / "airflow-folders" / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    airflow = Airflow(
        root,
        dags_folder=folder("dags", dags),
        plugins_folder=folder("plugins", plugins),
        releases=folder("releases", releases),
        connections=connections,
        parallelism=parallelism,
    )
    try:
        airflow.up()
        yield airflow
    finally:
        down(root)
        assert left_behind(airflow) == []


def left_behind(airflow: Airflow) -> list[str]:
    """Return the command lines of processes that work in the Airflow's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(airflow.home):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def api(airflow: Airflow, user: str = USER) -> AirflowApi:
    """Return a client that is logged in.

    :param user: one of the accounts of the lab's Airflow.
    """
    return AirflowApi(airflow.url, user, password(airflow.root, user))
