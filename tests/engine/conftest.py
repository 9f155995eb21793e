from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.engine.rdo import Rdo


@pytest.fixture
def rdo(lab: Lab, namespace: str) -> Iterator[Rdo]:
    with lab.dlrn_client() as dlrn:
        yield Rdo(lab, namespace, dlrn)
