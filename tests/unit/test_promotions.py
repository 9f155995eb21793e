"""The command line promotes what the Dags promote, with the same services, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from rdo_promoter.dag_factory import dags
from rdo_promoter.engine import promote, whole
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.approve import ApproveOperator
from rdo_promoter.operators.candidate import CandidateOperator
from rdo_promoter.operators.gate import GateOperator
from rdo_promoter.operators.promotion import PlanOperator
from rdo_promoter.release import Release, load_release, load_releases
from rdo_promoter.release.promotions import (
    promote_step,
    promotion_of,
    services_of,
    stage_facts,
    subject_of,
)
from tests.unit.releases import FOLDER, changed, write
from tests.unit.strategies import build_number
from tests.unit.test_dag_factory import RELEASES

BUILD = build_number(1)

#: What the group's tasks call in the engine, with a name behind it.
CALLS = {"copy": "copy_to", "mirror": "mirror_to", "tag": "tag_in", "link": "link_on"}


def cases() -> list[Any]:
    """Every stage that promotes, of every release file that there is."""
    return [
        pytest.param(folder, release, stage, id=f"{release.dag_id}-{stage.name}")
        for folder in (RELEASES, FOLDER)
        for release in load_releases(folder)
        if isinstance(release, Release)
        for stage in release.stages
        if promote_step(stage)
    ]


def group_of(folder: Path, release: Release, stage: Any) -> tuple[DAG, PlanOperator]:
    """Return the release's Dag and the plan task of the stage's promotion group."""
    dag = dags(folder)[release.dag_id]
    name = next(name for name, step in stage.named_steps if step is promote_step(stage))
    plan = dag.get_task(f"{stage.name}.{name}.plan")
    assert isinstance(plan, PlanOperator)
    return dag, plan


def test_there_are_cases() -> None:
    assert len(cases()) >= 3


@pytest.mark.parametrize(("folder", "release", "stage"), cases())
def test_promotions_are_those_of_the_tasks(folder: Path, release: Release, stage: Any) -> None:
    _, plan = group_of(folder, release, stage)
    step = promote_step(stage)
    assert step is not None
    assert promotion_of(release, stage, step, BUILD) == Promotion(build=BUILD, **plan.coordinates)
    assert services_of(release).only(*stage_facts(release, stage).uses([step])) == plan.services


def test_who_asks_why_a_build_is_not_promoted_hears_of_every_task_that_people_answer(tmp_path: Path) -> None:
    text = changed("- promote: {", "- approve: {text: Look at it}\n      - promote: {")
    path = write(tmp_path, f"{text}waivers: waivers.yaml\n")
    path.with_name("waivers.yaml").write_text("[]\n")
    release = load_release(path)
    dag = dags(path.parent)[release.dag_id]
    (candidate,) = (task for task in dag.tasks if isinstance(task, CandidateOperator))
    subjects = [subject_of(release, stage) for stage in release.stages]
    for tasks, kind in (
        ([task for subject in subjects for task in subject.approvals], ApproveOperator),
        ([task for subject in subjects for task in subject.gates], GateOperator),
    ):
        assert tasks
        assert set(tasks) == {task.task_id for task in dag.tasks if isinstance(task, kind)}
    assert candidate.rules.asks == (*subjects[0].approvals, *subjects[0].gates)
    assert candidate.waivers_file == "waivers.yaml"


@pytest.mark.parametrize(("folder", "release", "stage"), cases())
def test_steps_are_those_of_the_tasks(
    folder: Path, release: Release, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's steps are replaced by fakes that note their names: their work is tested elsewhere."""
    called: list[str] = []
    for name in ("copy_to", "mirror_to", "tag_in", "link_on", "check_copies", "commit", "verify"):

        def note(promotion: Any, services: Any, *more: Any, name: str = name) -> None:
            called.append(f"{name} {more[0]}" if name in CALLS.values() else name)

        monkeypatch.setattr(promote, name, note)
    dag, plan = group_of(folder, release, stage)
    whole.carry_out(Promotion(build=BUILD, **plan.coordinates), plan.services, None, say=lambda _: None)
    tasks = {task.task_id: task for task in dag.tasks if task.task_id.startswith(f"{plan.group}.")}
    calls = {task_id: call_of(task_id.removeprefix(f"{plan.group}.")) for task_id in tasks}
    acting = {task_id: call for task_id, call in calls.items() if call not in ("hold", "plan")}
    assert sorted(called) == sorted(acting.values())
    for task_id, call in acting.items():
        for before in tasks[task_id].upstream_task_ids & set(acting):
            assert called.index(acting[before]) < called.index(call)


def call_of(task: str) -> str:
    """Return what a task calls in the engine: ``copy_to quay`` for ``copy_quay``."""
    kind, _, name = task.partition("_")
    return f"{CALLS[kind]} {name}" if kind in CALLS else task.replace("dlrn", "commit")
