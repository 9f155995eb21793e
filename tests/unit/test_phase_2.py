"""The stages of the how-to of phase 2, behind phase 1 of the release that runs: what they become."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG

from rdo_promoter.dag_factory import dags
from rdo_promoter.operators.images import FetchImagesOperator
from rdo_promoter.operators.promotion import PlanOperator
from rdo_promoter.operators.source import StartStageOperator

PROJECT = Path(__file__).resolve().parents[2]
RELEASES = PROJECT / "include" / "releases"
PAGE = (PROJECT / "docs" / "how-to" / "phase-2.md").read_text()
PHASE_1: dict[str, Any] = {
    "name": "phase1",
    "source": "current-tripleo",
    "steps": [
        {
            "wait_for": {
                "name": "phase1_tests",
                "jobs": ["weirdo-master-promote-packstack-scenario001"],
                "within": "1d",
            }
        },
        {"promote": {"label": "current-tripleo-rdo", "tag_in": ["rdo"], "link_on": ["images"]}},
    ],
}


OSP = {
    "name": "osp",
    "source": "current-tripleo-rdo-internal",
    "steps": [{"hand_off": {"key": "handoff_key", "receiver": "osp_builds", "store_on": ["internal"]}}],
}


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> DAG:
    servers, stages = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    folder = tmp_path_factory.mktemp("phase2") / "releases"
    shutil.copytree(RELEASES, folder)
    content = yaml.safe_load((folder / "master.yaml").read_text())
    content["image_servers"] |= servers["image_servers"]
    content["stages"] += [*([] if len(content["stages"]) > 1 else [PHASE_1]), *stages, OSP]
    (folder / "master.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return dags(folder)["centos7-master"]


def upstream(dag: DAG, task_id: str) -> set[str]:
    return dag.get_task(task_id).upstream_task_ids


def test_the_order_of_phase_2(dag: DAG) -> None:
    assert upstream(dag, "phase2.start") == {"source.build", "phase1.promote.verify"}
    assert upstream(dag, "phase2.fetch_images") == {"phase2.start"}
    assert upstream(dag, "phase2.rhel_image") == {"phase2.fetch_images"}
    before = dag.get_task("phase2.wait_for.gate").get_flat_relative_ids(upstream=True)
    assert {"phase2.fetch_images", "phase2.rhel_image"} <= before
    assert upstream(dag, "phase2.promote.hold") == {"phase2.wait_for.gate"}
    assert upstream(dag, "phase2.promote.dlrn") == {
        f"phase2.promote.{name}" for name in ("tag_rdo", "link_images", "link_internal")
    }
    assert upstream(dag, "downstream.start") == {"source.build", "phase2.promote.verify"}


def test_what_is_copied_and_what_may_be_removed(dag: DAG) -> None:
    fetch = dag.get_task("phase2.fetch_images")
    assert isinstance(fetch, FetchImagesOperator)
    assert fetch.wanted == {
        "source": "images",
        "target": "internal",
        "images": ("overcloud-full.tar",),
        "keep": 10,
        "known": (
            *("overcloud-full.tar", "ironic-python-agent.tar", "overcloud-full-rhel.tar"),
            "handoff-current-tripleo-rdo-internal.json",
        ),
    }
    assert set(fetch.services.servers) == {"images", "internal"}
    assert fetch.services.servers["internal"][:2] == ("images_internal", "/srv/ci-images/master")
    assert fetch.max_active_tis_per_dag == 1


def test_the_rhel_image_is_wanted_on_the_internal_server_alone(dag: DAG) -> None:
    plan = dag.get_task("phase2.promote.plan")
    assert isinstance(plan, PlanOperator)
    assert plan.coordinates["own_images"] == {"internal": ("overcloud-full.tar", "overcloud-full-rhel.tar")}
    assert plan.coordinates["images"] == ("overcloud-full.tar", "ironic-python-agent.tar")


def test_the_jobs_behind_it_do_not_vote(dag: DAG) -> None:
    assert dag.get_task("downstream.run_jenkins").task_display_name == "run_jenkins (non-voting)"
    start = dag.get_task("downstream.start")
    assert isinstance(start, StartStageOperator)
    assert start.before["phase2"] == "phase2.promote.verify"


def test_the_path_with_a_folder_of_a_label_is_one(tmp_path: Path) -> None:
    """As the page says `$BUILD_SYS/$PIN` is written."""
    (path,) = re.findall(r"`(/var/www/html/images/\{release\}/rdo_trunk/current-tripleo)`", PAGE)
    shutil.copytree(RELEASES, tmp_path / "releases")
    file = tmp_path / "releases" / "master.yaml"
    text = file.read_text()
    file.write_text(text.replace('path: "/var/www/html/images/{release}/rdo_trunk"', f'path: "{path}"'))
    link = dags(file.parent)["centos7-master"].get_task("upstream.promote.link_images")
    root = "/var/www/html/images/master/rdo_trunk/current-tripleo"
    assert link.services.servers["images"][1] == root  # type: ignore[union-attr]
