"""Fixtures: one real DLRN in component mode for all tests of a process; a test has labels of its own.

A test module says ``pytest_plugins = ["tests.clients.component_fixtures"]``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.faults import FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from tests.clients.component_lab import ComponentDlrn, start_component_dlrn

# For `label`. Fixtures of plugins are everybody's, so the names here are others than those there.
pytest_plugins = ["tests.clients.dlrn_fixtures"]


@pytest.fixture(scope="session")
def component_dlrn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComponentDlrn]:
    yield from start_component_dlrn(tmp_path_factory.mktemp("components"))


@pytest.fixture
def components(component_dlrn: ComponentDlrn) -> Iterator[DlrnClient]:
    """A client of the DLRN in component mode."""
    with component_dlrn.client() as client:
        yield client


@pytest.fixture
def component_api(component_dlrn: ComponentDlrn) -> Iterator[FaultProxy]:
    """Stands before its API."""
    with FaultProxy(component_dlrn.facts.api_url) as proxy:
        yield proxy
        assert proxy.pending == 0, "planned faults did not happen"


@pytest.fixture
def component_repo(component_dlrn: ComponentDlrn) -> Iterator[FaultProxy]:
    """Stands before its repository tree."""
    with FaultProxy(component_dlrn.facts.repo_url) as proxy:
        yield proxy
        assert proxy.pending == 0, "planned faults did not happen"


@pytest.fixture
def shaky_components(
    component_dlrn: ComponentDlrn, component_api: FaultProxy, component_repo: FaultProxy
) -> Iterator[DlrnClient]:
    """A client behind both proxies."""
    with component_dlrn.client(component_api.url, component_repo.url) as client:
        yield client
