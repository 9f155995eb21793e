from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.lab import Lab


@pytest.fixture(scope="session")
def spare_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of this worker alone, to be broken: tests call `up` first and leave its data."""
    spare = Lab(tmp_path_factory.mktemp("spare-lab"))
    yield spare
    spare.down(purge=True)
