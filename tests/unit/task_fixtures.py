"""What operators need besides a context: the name of their Dag, and a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdo_promoter.operators.kept import PatientOperator
from rdo_promoter.operators.source import PinBuildOperator, StartStageOperator


@pytest.fixture
def in_a_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (PatientOperator, PinBuildOperator, StartStageOperator):
        monkeypatch.setattr(kind, "dag_id", "centos7-master")


@pytest.fixture
def a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
