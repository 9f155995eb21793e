from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.lab import Lab
from tests.bad_input.world import Spoilt
from tests.cli.conftest import desk, nursery

__all__ = ["desk", "nursery", "rdo"]


@pytest.fixture
def rdo(lab: Lab, namespace: str) -> Iterator[Spoilt]:
    with lab.dlrn_client() as dlrn:
        yield Spoilt(lab, namespace, dlrn)
