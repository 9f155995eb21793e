"""The hand_off step: what a release file may say, what is refused, and the task it becomes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.serialization.serialized_objects import DagSerialization
from pydantic import TypeAdapter

from rdo_promoter.dag_factory import dags
from rdo_promoter.engine.handoff import Scope
from rdo_promoter.operators.handoff import HandOffOperator, Way
from rdo_promoter.operators.source import StartStageOperator
from rdo_promoter.steps import AnyStep, HandOff, Step
from tests.unit.releases import GOOD, problems, write

STEP: TypeAdapter[Step] = TypeAdapter(AnyStep)
HAND_OFF: dict[str, Any] = {"key": "handoff_key", "receiver": "osp_builds"}
FULL = {
    **HAND_OFF,
    "label": "current-good-rdo",
    "registries": ["rdo", "quay"],
    "store_on": ["images"],
    "acknowledged_within": "24h",
}


def release(*steps: dict[str, Any], source: str = "current-good-rdo", **changes: Any) -> str:
    content = yaml.safe_load(GOOD) | changes
    content["stages"].append({"name": "osp", "source": source, "steps": list(steps)})
    return yaml.safe_dump(content, sort_keys=False)


def task(folder: Path, step: dict[str, Any], **changes: Any) -> HandOffOperator:
    dag = dags(write(folder, release({"hand_off": step}, **changes)).parent)["centos9-good"]
    found = dag.get_task("osp.hand_off")
    assert isinstance(found, HandOffOperator)
    return found


def test_the_shortest_step_names_the_digests_where_the_build_job_pushes_to(tmp_path: Path) -> None:
    made = task(tmp_path, HAND_OFF)
    assert made.scope.label == "current-good-rdo"
    assert (made.scope.registries, made.scope.servers) == (("rdo",), ())
    assert list(made.services.registries) == ["rdo"]
    assert made.way == Way("handoff_key", "osp_builds", None)
    assert made.upstream_task_ids == {"osp.start"}


def test_the_task_has_what_the_step_names_and_no_other_connections(tmp_path: Path) -> None:
    made = task(tmp_path, FULL)
    assert made.scope == Scope(
        label="current-good-rdo",
        containers=made.scope.containers,
        registries=("rdo", "quay"),
        images=("overcloud-full.tar", "ironic-python-agent.tar"),
        servers=("images",),
        criteria=made.scope.criteria,
    )
    assert "openstack-nova-api" in made.scope.containers
    required = {job for criteria in made.scope.criteria for job in criteria.jobs}
    assert {"standalone", "weirdo-packstack"} <= required
    assert list(made.services.servers) == ["images"]
    assert made.way == Way("handoff_key", "osp_builds", 86_400)
    (asset,) = made.outlets
    assert (asset.name, asset.uri) == (
        "centos9-good/current-good-rdo/handoff",
        "dlrn://dlrn.example.org/centos9-good/current-good-rdo/handoff",
    )


def test_a_release_without_containers_names_none(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    steps = content["stages"][0]["steps"]
    content["stages"] = [
        {**content["stages"][0], "steps": [*steps[:2], {"promote": {"label": "current-good"}}]},
    ]
    for key in ("containers", "registries", "images", "image_servers"):
        del content[key]
    content["stages"].append({"name": "osp", "source": "current-good", "steps": [{"hand_off": HAND_OFF}]})
    dag = dags(write(tmp_path, yaml.safe_dump(content)).parent)["centos9-good"]
    made = dag.get_task("osp.hand_off")
    # What its Connections say is asked hours before it is needed.
    start = dag.get_task("osp.start")
    assert isinstance(start, StartStageOperator)
    assert start.jobs == ("osp.hand_off",)
    assert isinstance(made, HandOffOperator)
    assert (made.scope.containers, made.scope.registries, made.scope.images) == ((), (), ())


@pytest.mark.parametrize(
    ("steps", "source", "said"),
    [
        ([{**HAND_OFF, "lable": "x"}], "current-good-rdo", "did you mean 'label'?"),
        ([{"key": "k"}], "current-good-rdo", "receiver"),
        ([{**HAND_OFF, "key": "no such/id"}], "current-good-rdo", "name an Airflow Connection by its id"),
        ([{**HAND_OFF, "acknowledged_within": 60}], "current-good-rdo", "60 is no duration"),
        ([{**HAND_OFF, "acknowledged_within": "0s"}], "current-good-rdo", "out of range: write at least 1s"),
        (
            [HAND_OFF],
            "consistent",
            "nothing is promoted yet where stage 'osp' starts: put the step into a stage whose `source:`",
        ),
        (
            [{**HAND_OFF, "label": "current-good"}],
            "current-good-rdo",
            "'current-good' is not what stage 'osp' starts from: write 'current-good-rdo', or put the step",
        ),
        ([{**HAND_OFF, "registries": ["quya"]}], "current-good-rdo", "unknown registry 'quya'; did you mean"),
        ([{**HAND_OFF, "store_on": ["image"]}], "current-good-rdo", "unknown image server 'image'; did you"),
        ([{**HAND_OFF, "store_on": ["images"] * 2}], "current-good-rdo", "images is listed more than once"),
        (
            [FULL, {**HAND_OFF, "receiver": "other", "store_on": ["images"]}],
            "current-good-rdo",
            "an earlier hand_off of this stage stores the same file on images: remove it here",
        ),
    ],
)
def test_what_cannot_be_in_a_release(
    tmp_path: Path, steps: list[dict[str, Any]], source: str, said: str
) -> None:
    text = release(*({"hand_off": step} for step in steps), source=source)
    (problem,) = problems(write(tmp_path, text))
    assert said in problem


def test_two_parses_give_the_same_dag(tmp_path: Path) -> None:
    first, second = (
        json.dumps(DagSerialization.to_dict(task(tmp_path / name, FULL).dag), sort_keys=True)
        for name in ("one", "two")
    )
    assert first == second


def test_the_example_of_the_how_to_can_be_used() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "hand-off.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (stage,) = yaml.safe_load(text)
    (step,) = [STEP.validate_python(step) for step in stage["steps"]]
    assert isinstance(step, HandOff)
    assert step.label == stage["source"]
