"""A build that is named in a run's form and cannot be carried."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lab import dlrn as lab_dlrn
from lab.lab import Lab
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.operators.source import PinBuildOperator
from tests.unit.tasks import Ti, context, made

pytestmark = pytest.mark.lab


def _built(lab: Lab, _: Path) -> str:
    return lab_dlrn.add_build(lab.root, when=int(time.time())).full_hash


def _absent(lab: Lab, folder: Path) -> str:
    """The build with another distro hash, as of another branch of its distgit."""
    commit_hash, _, distro_hash = _built(lab, folder).partition("_")
    return f"{commit_hash}_{distro_hash[::-1]}"


def _purged(lab: Lab, _: Path) -> str:
    build = lab_dlrn.add_build(lab.root, when=int(time.time()))
    lab_dlrn.purge(lab.root, build)
    return build.full_hash


def _of_a_second_dlrn(_: Lab, folder: Path) -> str:
    lab_dlrn.ensure_environment(folder)
    lab_dlrn.stage(folder)
    return lab_dlrn.add_build(folder, when=int(time.time()) - 12_345).full_hash


def pin(lab: Lab, full_hash: str, ti: Ti) -> None:
    """Let the first task of a run pin a build.

    :param ti: gets what the task leaves for the others.
    """
    with lab.dlrn_client() as dlrn:
        operator = made(PinBuildOperator, dlrn, source="consistent", candidate_label="testing")
        operator.execute(context(ti, run_type="manual", hash=f" {full_hash}\n"))


def rows(lab: Lab) -> list[PromotionRow]:
    """Return DLRN's rows of the label that CI would test."""
    with lab.dlrn_client() as dlrn:
        return dlrn.promotions("testing")


@pytest.mark.parametrize("named", [_absent, _purged, _of_a_second_dlrn])
def test_a_build_that_is_not_there_is_refused_before_the_run_carries_it(
    lab: Lab, tmp_path: Path, named: Callable[[Lab, Path], str]
) -> None:
    full_hash, ti, before = named(lab, tmp_path), Ti(), rows(lab)
    with pytest.raises(AirflowFailException) as refused:
        pin(lab, full_hash, ti)
    said = (
        f"NotFoundError: build {full_hash}: DLRN has no directory for it below {lab.dlrn.repo_url}. It is of"
    )
    assert said in str(refused.value)
    assert "another release, or it was purged, or never built" in str(refused.value)
    # No later task finds a build to work on.
    assert "build" not in ti.pushed
    assert rows(lab) == before


def test_a_build_that_is_there_is_carried(lab: Lab, tmp_path: Path) -> None:
    """So that the ones above are refused for what is wrong with them."""
    full_hash, ti = _built(lab, tmp_path), Ti()
    pin(lab, full_hash, ti)
    assert full_hash.split("_")[0] in str(ti.pushed["build"])
