"""The steps that start jobs: what a release file may say, what is refused, and the tasks they become."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import DAG, TaskGroup, TriggerRule
from airflow.serialization.serialized_objects import DagSerialization
from pydantic import TypeAdapter, ValidationError

from rdo_promoter.dag_factory import dags
from rdo_promoter.model.jobs import TESTED, TOLD
from rdo_promoter.operators.source import StartStageOperator
from rdo_promoter.steps import AnyStep, RunContainer, RunJenkins, RunSsh, Step
from tests.unit.releases import GOOD, problems, write

STEP: TypeAdapter[Step] = TypeAdapter(AnyStep)
JENKINS: dict[str, Any] = {"connection": "jenkins", "job": "a/b", "within": "1h"}
SSH: dict[str, Any] = {"connection": "ssh", "command": ["run-tests"], "within": "1h"}
CONTAINER: dict[str, Any] = {"connection": "docker", "image": "quay.io/rdo/tester:1", "within": "1h"}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "run_jenkins": (RunJenkins, JENKINS),
    "run_ssh": (RunSsh, SSH),
    "run_container": (RunContainer, CONTAINER),
}


def test_the_shortest_steps() -> None:
    jenkins = RunJenkins.model_validate(JENKINS)
    assert dict(jenkins.parameters) == {"RDO_FULL_HASH": "{full_hash}"}
    assert jenkins.tested.parameter == "RDO_FULL_HASH"
    ssh = RunSsh.model_validate(SSH)
    assert (dict(ssh.environment), ssh.tested) == (dict(TOLD), TESTED)
    container = RunContainer.model_validate(CONTAINER)
    assert (container.command, dict(container.environment)) == ((), dict(TOLD))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("keys", "held"),
    [
        ({}, True),
        ({"report_vote": "x"}, False),
        ({"gates": "nothing"}, False),
        ({"gates": "next", "report_vote": "x"}, True),
    ],
)
def test_what_a_job_holds_back(kind: str, keys: dict[str, str], held: bool) -> None:
    model, good = KINDS[kind]
    assert model.model_validate({**good, **keys}).holds_back is held


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("within", "0s", "greater than or equal to 1"),
        ("within", 60, "is no duration"),
        ("connection", "no such/id", "name an Airflow Connection by its id"),
        ("report_vote", "a b", "a job's name has letters"),
        ("gates", "something", "'next' or 'nothing'"),
    ],
)
def test_what_all_of_them_refuse(kind: str, key: str, value: object, said: str) -> None:
    model, good = KINDS[kind]
    with pytest.raises(ValidationError, match=said):
        model.model_validate({**good, key: value})


@pytest.mark.parametrize(
    ("kind", "key", "value", "said"),
    [
        ("run_jenkins", "job", "https://ci/job/a", "is no Jenkins job: write its name, with its folders"),
        ("run_jenkins", "job", "job/a/job/b", "is no Jenkins job"),
        ("run_jenkins", "job", "../x", "is no Jenkins job"),
        ("run_jenkins", "job", "a?b", "is no Jenkins job"),
        ("run_jenkins", "parameters", {"A": "{full_hsah}"}, "did you mean 'full_hash'"),
        ("run_jenkins", "parameters", {"A": "{full_hash!r}"}, "more than a name between braces"),
        ("run_jenkins", "parameters", {"A": "{full_hash"}, "cannot be filled in"),
        ("run_jenkins", "parameters", {"A": "{full_hash.__class__}"}, "is not known here"),
        ("run_jenkins", "parameters", {"A": "{}"}, "is not known here"),
        ("run_jenkins", "parameters", {"A-B": "x"}, "cannot be a name here"),
        ("run_jenkins", "parameters", {"RDO_PROMOTER_ID": "x"}, "is always passed on"),
        ("run_jenkins", "tested", {}, "nothing is named: write one of parameter, description and artifact"),
        ("run_jenkins", "tested", {"parameter": "A", "artifact": "b"}, "parameter and artifact is named"),
        ("run_jenkins", "tested", {"description": "on (.*)"}, "has no group named 'hash'"),
        ("run_jenkins", "tested", {"artifact": "../../secrets"}, "is no artifact"),
        ("run_jenkins", "tested", {"parameter": "A", "line": r"(?P<hash>\w+)"}, "line is for the lines of"),
        ("run_ssh", "command", [], "at least 1 item"),
        ("run_ssh", "command", "run-tests --now", "valid tuple"),
        ("run_ssh", "command", ["A=b", "x"], "is no program"),
        ("run_ssh", "command", ["-x"], "is no program"),
        ("run_ssh", "command", [""], "is no program"),
        ("run_ssh", "command", ["a\0b"], "a NUL character"),
        ("run_ssh", "command", ["x", "{labl}"], "did you mean 'label'"),
        ("run_ssh", "environment", {"LD PRELOAD": "x"}, "cannot be a name here"),
        ("run_ssh", "tested", "(", "is no regular expression"),
        ("run_ssh", "tested", "^tested (.*)$", "has no group named 'hash'"),
        ("run_container", "image", "tester", "is no image: write registry, name and a tag or digest"),
        ("run_container", "image", "quay.io/rdo/tester", "is no image"),
        ("run_container", "image", "rdo/tester:1", "is no image"),
        ("run_container", "image", "quay.io/rdo/tester:1 --privileged", "is no image"),
        ("run_container", "image", "https://quay.io/rdo/tester:1", "is no image"),
        ("run_container", "network", "container:other", "'bridge', 'host' or 'none'"),
    ],
)
def test_what_each_of_them_refuses(kind: str, key: str, value: object, said: str) -> None:
    model, good = KINDS[kind]
    with pytest.raises(ValidationError, match=said):
        model.model_validate({**good, key: value})


@pytest.mark.parametrize(
    "image",
    [
        "quay.io/rdo/tester:2026.1",
        "localhost:5000/t:1",
        "127.0.0.1:5000/a/b/c:x_y",
        "docker.io/library/busybox@sha256:" + "a" * 64,
    ],
)
def test_images_as_engines_know_them(image: str) -> None:
    assert RunContainer.model_validate({**CONTAINER, "image": image}).image == image


# --- in a release ---


def release(*steps: dict[str, Any]) -> str:
    """Return the good file with these steps before those of its second stage."""
    content = yaml.safe_load(GOOD)
    content["stages"][1]["steps"][:0] = steps
    return yaml.safe_dump(content, sort_keys=False)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [{"wait_for": {"jobs": ["ours"], "within": "1h"}}, {"run_ssh": {**SSH, "report_vote": "ours"}}],
            "a wait_for before this step waits for 'ours', which would be reported only after it",
        ),
        (
            [
                {"run_ssh": {**SSH, "report_vote": "ours"}},
                {"run_jenkins": {**JENKINS, "report_vote": "ours"}},
            ],
            "an earlier run_ssh of this stage reports 'ours' already",
        ),
        ([{"run_ssh": {**SSH, "report_vote": "consistent"}}], "'consistent' is DLRN's own mark and no job"),
        (
            [{"run_jenkins": {**JENKINS, "tested": {"parameter": "RDO_FULL_HSAH"}}}],
            "'RDO_FULL_HSAH' is not among the parameters; did you mean 'RDO_FULL_HASH'?",
        ),
        (
            [{"run_jenkins": {**JENKINS, "parameters": {"RDO_FULL_HASH": "{commit_hash}"}}}],
            "'{commit_hash}' is compared with the build's full hash: write '{full_hash}'",
        ),
        ([{"run_jenkins": {**JENKINS, "jbo": "x"}}], "did you mean 'job'?"),
        ([{"run_jenkin": JENKINS}], "did you mean 'run_jenkins'?"),
    ],
)
def test_what_cannot_be_in_a_release(tmp_path: Path, steps: list[dict[str, Any]], said: str) -> None:
    (problem,) = problems(write(tmp_path, release(*steps)))
    assert said in problem


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> DAG:
    return _dag(tmp_path_factory.mktemp("release"))


def _dag(folder: Path) -> DAG:
    text = release(
        {"run_jenkins": {**JENKINS, "report_vote": "ours"}},
        {"run_ssh": SSH},
        {"run_container": {**CONTAINER, "gates": "nothing"}},
    )
    return dags(write(folder, text).parent)["centos9-good"]


def test_a_job_whose_vote_decides_stands_beside_and_holds_up_nothing(dag: DAG) -> None:
    for name in ("phase1.run_jenkins", "phase1.run_container"):
        # Not even a gate, which could not ask a person while a job runs for hours.
        assert dag.get_task(name).downstream_task_ids == {f"{name}.ended"}
        ended = dag.get_task(f"{name}.ended")
        assert ended.trigger_rule is TriggerRule.ALL_DONE
        assert ended.downstream_task_ids == set()


def test_a_job_without_a_vote_has_to_pass_before_what_follows(dag: DAG) -> None:
    task = dag.get_task("phase1.run_ssh")
    assert task.upstream_task_ids == {"phase1.start"}
    assert task.trigger_rule is TriggerRule.ALL_SUCCESS
    assert "phase1.weirdo-packstack" in task.downstream_task_ids
    assert "phase1.run_container" in task.downstream_task_ids


def test_two_parses_give_the_same_dag(dag: DAG, tmp_path: Path) -> None:
    first, second = (
        json.dumps(DagSerialization.to_dict(each), sort_keys=True) for each in (dag, _dag(tmp_path))
    )
    assert first == second


def test_the_examples_of_the_how_to_can_be_used() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "start-jobs.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    kinds = [STEP.validate_python(step).kind for text in examples for step in yaml.safe_load(text)]
    assert kinds == list(KINDS)


def test_a_job_alone_is_no_criterion(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    content["stages"][1]["steps"][0] = {"run_ssh": SSH}
    (problem,) = problems(write(tmp_path, yaml.safe_dump(content, sort_keys=False)))
    assert "a promotion without criteria" in problem


# --- behind a promotion ---


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> DAG:
    """A stage of nothing but jobs that do not vote, between a promotion and another stage."""
    content = yaml.safe_load(GOOD)
    further = {"run_jenkins": {**JENKINS, "name": "further", "gates": "nothing"}}
    content["stages"] += [
        {"name": "downstream", "source": "current-good-rdo", "steps": [further]},
        {
            "name": "last",
            "source": "current-good-rdo",
            "steps": [
                {"wait_for": {"name": "last_tests", "jobs": ["last-job"], "within": "1h"}},
                {"promote": {"label": "current-good-last", "tag_in": ["rdo"]}},
            ],
        },
    ]
    path = write(tmp_path_factory.mktemp("behind"), yaml.safe_dump(content, sort_keys=False))
    return dags(path.parent)["centos9-good"]


def test_a_job_that_does_not_vote_starts_behind_the_promotion_and_says_so_in_its_row(behind: DAG) -> None:
    task = behind.get_task("downstream.further")
    assert behind.get_task("downstream.start").upstream_task_ids == {"source.build", "phase1.promote.verify"}
    assert task.upstream_task_ids == {"downstream.start"}
    assert task.task_display_name == "further (non-voting)"
    assert task.doc_md == (
        "builds `a/b` in Jenkins `jenkins` and waits up to 1h for its end; gates nothing, non-voting."
    )
    group = behind.task_group.get_child_by_label("downstream")
    assert isinstance(group, TaskGroup)
    assert group.tooltip == "current-good-rdo -> no promotion; gates nothing"


def test_a_stage_of_jobs_that_do_not_vote_blocks_nothing(behind: DAG) -> None:
    """Not even when it cannot start, for example because Jenkins refuses the login."""
    assert behind.get_task("last.start").upstream_task_ids == {"source.build", "phase1.promote.verify"}
    start = behind.get_task("last.start")
    assert isinstance(start, StartStageOperator)
    assert start.before == {"upstream": "upstream.promote.verify", "phase1": "phase1.promote.verify"}
    first = behind.get_task("last.promote.hold").get_flat_relative_ids(upstream=True)
    assert [name for name in first if name.startswith("downstream.")] == []
    assert {task.task_id for task in behind.leaves if task.task_id.startswith("downstream.")} == {
        "downstream.further.ended"
    }


@pytest.mark.parametrize("keys", [{}, {"report_vote": "x"}, {"gates": "next", "report_vote": "x"}])
def test_a_job_that_votes_or_holds_back_is_not_called_non_voting(keys: dict[str, str]) -> None:
    step = RunSsh.model_validate({**SSH, **keys})
    assert not step.non_voting
    assert "non-voting" not in step.describe()
