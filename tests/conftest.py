"""One lab for the whole test session, shared by all of pytest's workers."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

from lab.dlrn_env import locked
from lab.lab import Lab

# Airflow reads its settings when it is imported, which is before any fixture.
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="rdo-promoter-tests-")
atexit.register(shutil.rmtree, _AIRFLOW_HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

# No test is timed, and a machine may be busy.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A seeded lab; the first worker that asks for it starts it, the last one that is done ends it.

    Tests share it: work under the names of `namespace`, on builds of your own, and leave its services
    alone. The labels `consistent` and `current` move whenever any test makes a build.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each worker has a folder of its own in the session's.
        folder = folder.parent
    shared, users = Lab(folder / "lab"), folder / "lab-users"
    users.mkdir(exist_ok=True)
    with locked(folder / "lab.lock"):
        (users / str(os.getpid())).touch()
        _end_abandoned(folder)
        shared.up()
    yield shared
    with locked(folder / "lab.lock"):
        (users / str(os.getpid())).unlink()
        if not _used(users):
            shared.down()


@pytest.fixture
def namespace() -> str:
    """A name that no other test has: for labels, registry namespaces, releases and image folders."""
    return f"t{uuid.uuid4().hex[:8]}"


def _used(users: Path) -> bool:
    """Tell whether any worker still uses a lab; one that was killed does not."""
    return any(psutil.pid_exists(int(user.name)) for user in users.iterdir())


def _end_abandoned(folder: Path) -> None:
    """End the labs of earlier sessions that were killed, and so could not do it themselves."""
    for users in folder.parent.glob("pytest-*/lab-users"):
        if users.parent != folder and not _used(users):
            Lab(users.parent / "lab").down()
