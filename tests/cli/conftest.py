from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.lab import Lab
from tests.cli.desk import Desk, Nursery
from tests.engine.rdo import Rdo


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    started = Nursery()
    yield started
    started.close()


@pytest.fixture
def desk(lab: Lab, namespace: str, tmp_path: Path, nursery: Nursery) -> Iterator[Desk]:
    with lab.dlrn_client() as dlrn:
        yield Desk(Rdo(lab, namespace, dlrn), tmp_path, nursery)
