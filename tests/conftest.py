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
from lab.proxy import bypass_proxy
from tests.abandoned import end_abandoned

pytest_plugins = ["tests.no_skips"]

# Airflow reads its settings when it is imported, which is before any fixture.
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="rdo-promoter-tests-")
atexit.register(shutil.rmtree, _AIRFLOW_HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

bypass_proxy()

# No test is timed, and a machine may be busy.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")


@pytest.fixture(scope="session", autouse=True)
def _earlier_sessions(tmp_path_factory: pytest.TempPathFactory) -> None:
    """End what the tests of killed sessions have left running: they could not do it themselves."""
    end_abandoned(_session_folder(tmp_path_factory).parent)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A seeded lab; the first worker that asks for it starts it, the last one that is done ends it.

    Tests share it: work under the names of `namespace`, on builds of your own, and leave its services
    alone. The labels `consistent` and `current` move whenever any test makes a build.
    """
    folder = _session_folder(tmp_path_factory)
    shared, users = Lab(folder / "lab"), folder / "lab-users"
    users.mkdir(exist_ok=True)
    with locked(folder / "lab.lock"):
        (users / str(os.getpid())).touch()
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


def _session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the whole session; each of xdist's workers has one of its own in it."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
