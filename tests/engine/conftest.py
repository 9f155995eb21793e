from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.engine.alone import Alone, open_alone
from tests.engine.phases import Run, begin
from tests.engine.rdo import Rdo
from tests.engine.world import World, open_world


@pytest.fixture
def rdo(lab: Lab, namespace: str) -> Iterator[Rdo]:
    with lab.dlrn_client() as dlrn:
        yield Rdo(lab, namespace, dlrn)


@pytest.fixture(scope="session")
def world(lab: Lab) -> Iterator[World]:
    """What the runs of a worker share; ask for `run`."""
    with open_world(lab, f"w{uuid.uuid4().hex[:8]}") as world:
        yield world


@pytest.fixture
def run(world: World) -> Iterator[Run]:
    """A run whose services can be broken."""
    yield begin(world)
    for outage in world.outages.values():
        outage.mend()


@pytest.fixture
def alone(world: World) -> Iterator[Alone]:
    """A promotion in DLRN alone, whose API can be made to fail at a single request."""
    with open_alone(world) as alone:
        yield alone
