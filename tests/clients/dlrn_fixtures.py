"""Fixtures: one real DLRN for all tests of a process; a test has builds and labels of its own.

A test module says ``pytest_plugins = ["tests.clients.dlrn_fixtures"]``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from lab.faults import FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from tests.clients.dlrn_lab import LabDlrn, start_dlrn


@pytest.fixture(scope="session")
def lab_dlrn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabDlrn]:
    yield from start_dlrn(tmp_path_factory.mktemp("dlrn"))


@pytest.fixture
def client(lab_dlrn: LabDlrn) -> Iterator[DlrnClient]:
    with lab_dlrn.client() as client:
        yield client


@pytest.fixture
def label() -> str:
    return f"label-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def api_proxy(lab_dlrn: LabDlrn) -> Iterator[FaultProxy]:
    """Stands before the API."""
    with FaultProxy(lab_dlrn.facts.api_url) as proxy:
        yield proxy
        assert proxy.pending == 0, "planned faults did not happen"


@pytest.fixture
def repo_proxy(lab_dlrn: LabDlrn) -> Iterator[FaultProxy]:
    """Stands before the repository tree."""
    with FaultProxy(lab_dlrn.facts.repo_url) as proxy:
        yield proxy
        assert proxy.pending == 0, "planned faults did not happen"


@pytest.fixture
def shaky(lab_dlrn: LabDlrn, api_proxy: FaultProxy, repo_proxy: FaultProxy) -> Iterator[DlrnClient]:
    """A client behind both proxies."""
    with lab_dlrn.client(api_proxy.url, repo_proxy.url) as client:
        yield client
