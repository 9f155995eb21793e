"""What a release becomes: its Dag's tasks, their order, and what is read while parsing."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest
from airflow.sdk import DAG, TriggerRule
from airflow.serialization.serialized_objects import DagSerialization

from rdo_promoter import dag_factory
from rdo_promoter.dag_factory import dags
from rdo_promoter.operators.gate import GateOperator
from rdo_promoter.operators.repo_check import CheckRepoOperator
from rdo_promoter.release import Release, load_release
from rdo_promoter.sensors.job import JobSensor
from rdo_promoter.steps.context import short_names
from tests.unit.releases import changed, write

PROJECT = Path(__file__).resolve().parents[2]
RELEASES = PROJECT / "include" / "releases"
GROUP = "upstream.promote"
#: What the second gate of the good release waits for.
TESTS = ("standalone", "scenario001")


@pytest.fixture(scope="module")
def dag() -> DAG:
    return dags(RELEASES)["centos7-master"]


def upstream(dag: DAG, task_id: str) -> set[str]:
    """Return everything that comes before a task."""
    return {task.task_id for task in dag.get_task(task_id).get_flat_relatives(upstream=True)}


def test_the_promotion_groups_order(dag: DAG) -> None:
    order = [
        ("hold",),
        ("plan",),
        ("copy_dockerhub", "mirror_rh1"),
        ("check_copies",),
        ("tag_rdo", "tag_dockerhub", "link_images", "link_rh1"),
        ("dlrn",),
        ("verify",),
    ]
    for before, after in itertools.pairwise(order):
        for task in after:
            direct = dag.get_task(f"{GROUP}.{task}").upstream_task_ids
            assert direct == {f"{GROUP}.{name}" for name in before}


def test_nothing_that_acts_runs_whatever_came_before(dag: DAG) -> None:
    rules = {task.task_id: task.trigger_rule for task in dag.tasks}
    joins = {"upstream.builds.votes_in", "upstream.tests.votes_in", "upstream.tests.settled"}
    assert {name for name, rule in rules.items() if rule is not TriggerRule.ALL_SUCCESS} == {
        *joins,
        "upstream.start",
    }
    assert {dag.get_task(name).task_type for name in joins} == {"EmptyOperator"}
    assert rules["upstream.start"] is TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS


def test_a_candidate_enters_ci_only_behind_the_knock_at_every_door(dag: DAG) -> None:
    """What `start` refuses is refused before any label has moved."""
    assert dag.get_task("upstream.candidate").upstream_task_ids == {"upstream.start"}


def test_each_gate_waits_itself_behind_the_step_before(dag: DAG) -> None:
    builds, tests = (dag.get_task(f"upstream.{name}.gate").upstream_task_ids for name in ("builds", "tests"))
    assert builds == {"upstream.candidate"}
    assert tests == {"upstream.tests.settled", "upstream.tag_containers"}


def test_the_push_that_gates_nothing_is_awaited_by_the_next_decision_alone(dag: DAG) -> None:
    push = dag.get_task("upstream.push_containers")
    assert push.upstream_task_ids == {"upstream.tag_containers"}
    assert push.downstream_task_ids == {"upstream.tests.settled"}


def test_no_sensor_or_push_is_a_leaf(dag: DAG) -> None:
    """A leaf's failure fails the run; `holding` never fails."""
    joins = {f"upstream.{name}.votes_in" for name in ("builds", "tests")}
    assert {task.task_id for task in dag.leaves} == {f"{GROUP}.verify", "source.holding", *joins}


def test_jobs_are_rows_under_their_own_names_and_start_in_the_triggerer(dag: DAG) -> None:
    jobs = [task for task in dag.tasks if task.task_type == "JobSensor"]
    assert len(jobs) == 14
    assert {task.task_id for task in jobs} == {
        f"upstream.{task.job}" for task in jobs if isinstance(task, JobSensor)
    }
    assert all(task.start_from_trigger for task in jobs)


def test_every_change_of_a_promotion_comes_after_every_gate(dag: DAG) -> None:
    gates = [task for task in dag.tasks if isinstance(task, GateOperator)]
    assert {task.task_id for task in gates} < upstream(dag, f"{GROUP}.hold")
    jobs = {job for gate in gates for job in gate.terms.criteria.jobs}
    assert {f"upstream.{job}" for job in jobs} == {
        task.task_id for task in dag.tasks if task.task_type == "JobSensor"
    }


def test_tasks_that_move_a_label_run_one_at_a_time(dag: DAG) -> None:
    alone = {task.task_id for task in dag.tasks if task.max_active_tis_per_dag == 1}
    assert alone == {
        "upstream.candidate",
        "upstream.tag_containers",
        "upstream.push_containers",
        f"{GROUP}.hold",
    }


def test_the_label_is_an_asset(dag: DAG) -> None:
    (outlet,) = dag.get_task(f"{GROUP}.verify").outlets
    assert outlet.uri == "dlrn://trunk.rdoproject.org/centos7-master/current-tripleo"


def test_the_form(dag: DAG) -> None:
    assert dag.params.dump() == {"hash": None, "stages": None, "dry_run": False, "retest": False}
    hash_ = dag.params.get_param("hash")
    full = f"{'a' * 40}_{'b' * 8}_{'c' * 8}_{'d' * 8}"
    assert hash_.resolve(full) == full
    for wrong in ("current-tripleo", full[:-3] + "/..", "a" * 40):
        with pytest.raises(ValueError, match="does not match"):
            hash_.resolve(wrong)


def test_each_task_gets_the_connections_that_its_step_names_and_no_others(dag: DAG) -> None:
    named: dict[str, tuple[set[str], set[str]]] = {}
    for task in dag.tasks:
        if services := getattr(task, "services", None):
            named[task.task_id] = (set(services.registries), set(services.servers))
    everything = ({"rdo", "dockerhub"}, {"images", "rh1"})
    wanted = {name: everything for name in named if name.startswith((GROUP, "upstream.start"))}
    wanted |= {
        "upstream.tag_containers": ({"rdo"}, set()),
        "upstream.push_containers": ({"rdo", "dockerhub"}, set()),
    }
    assert named == {name: wanted.get(name, (set(), set())) for name in named}
    assert len(named) == len(wanted) + 5  # the build, what holds it, the candidate label and two gates
    for sensor in (task for task in dag.tasks if isinstance(task, JobSensor)):
        assert sensor.terms.where.dlrn_conn_id == "dlrn_centos7_master"
        assert not hasattr(sensor, "services")


def test_zuuls_connection_goes_to_what_looks_into_it_and_no_further(tmp_path: Path) -> None:
    """Also not to a stage whose builds no known pipeline tests."""
    text = changed("\nstages:\n", "\nzuul: {connection: zuul_rdo, pipeline: periodic}\nstages:\n")
    dag = dags(write(tmp_path, text).parent)["centos9-good"]
    with_services = {task.task_id: task.services for task in dag.tasks if hasattr(task, "services")}
    named = {name: services.zuul_conn_id for name, services in with_services.items() if services.zuul_conn_id}
    assert named == dict.fromkeys(
        ("upstream.start", "upstream.wait_for.gate", "upstream.wait_for_2.gate"), "zuul_rdo"
    )
    assert len(with_services) > 15
    told = {task.task_id for task in dag.tasks if isinstance(task, JobSensor) and task.terms.ci}
    assert told == {f"upstream.{job}" for job in ("build-containers", "build-images", *TESTS)}


def test_what_holds_consistent_is_told_beside_the_build_and_holds_up_nothing(dag: DAG) -> None:
    holding = dag.get_task("source.holding")
    assert holding.upstream_task_ids == holding.downstream_task_ids == set()
    assert [link.name for link in holding.operator_extra_links] == ["Builds in DLRN"]


def test_a_release_that_does_not_start_from_consistent_does_not_tell_of_it(tmp_path: Path) -> None:
    release = load_release(write(tmp_path))
    first = release.stages[0].model_copy(update={"source": "component-promoted"})
    dag = dag_factory.release_dag(release.model_copy(update={"stages": (first, *release.stages[1:])}))
    assert {task for task in dag.task_ids if task.startswith("source.")} == {"source.build"}


def test_a_label_is_checked_between_the_step_before_and_whatever_waits_for_ci(tmp_path: Path) -> None:
    source = "    source: current-good\n    steps:\n"
    text = changed(source, f"{source}      - check_repo: {{label: current-good}}\n")
    dag = dags(write(tmp_path, text).parent)["centos9-good"]
    check = dag.get_task("phase1.check_repo")
    assert check.upstream_task_ids == {"phase1.start"}
    assert check.downstream_task_ids == {"phase1.weirdo-packstack", "phase1.phase1_tests.gate"}
    assert isinstance(check, CheckRepoOperator)
    assert not check.services.registries
    assert not check.services.servers
    assert "- `check_repo`: fetches `current-good/delorean.repo` and makes sure that" in (dag.doc_md or "")


def test_two_parses_give_the_same_dag() -> None:
    first, second = (
        json.dumps(DagSerialization.to_dict(dags(RELEASES)["centos7-master"]), sort_keys=True)
        for _ in range(2)
    )
    assert first == second


def test_parsing_reads_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(conn_id: str) -> None:
        raise AssertionError(f"read {conn_id}")

    monkeypatch.setattr("airflow.sdk.bases.hook.BaseHook.get_connection", refuse)
    assert dags(RELEASES)["centos7-master"].tasks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(RELEASES, tmp_path / "releases")
    return tmp_path / "releases"


def test_a_broken_file_becomes_a_dag_that_shows_its_error_and_stops_no_other(folder: Path) -> None:
    (folder / "pike.yaml").write_text("release: pike\nstagse: []\n")
    found = dags(folder)
    assert set(found) == {"centos7-master", "broken-pike", "promotions-sentinel", "promotions-control"}
    broken = found["broken-pike"]
    assert broken.schedule is None
    assert "unknown key; did you mean 'stages'?" in (broken.doc_md or "")


def test_an_error_of_ours_stops_one_release_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (folder / "master.yaml").read_text()
    pike = text.replace("release: master", "release: pike").replace("centos7-master\n", "centos7-pike\n")
    pike = pike.replace("path: /builds\n", "path: /builds/{release}\n")
    (folder / "pike.yaml").write_text(pike)
    good = dag_factory.release_dag

    def bad(release: Release) -> DAG:
        if release.release == "pike":
            raise RuntimeError("boom")
        return good(release)

    monkeypatch.setattr(dag_factory, "release_dag", bad)
    found = dags(folder)
    assert set(found) == {"centos7-master", "broken-pike", "promotions-sentinel", "promotions-control"}
    assert "RuntimeError: boom; please report this as a bug" in (found["broken-pike"].doc_md or "")


def test_names_lose_what_all_of_them_begin_with() -> None:
    jobs = [f"periodic-tripleo-ci-centos-7-scenario00{n}-standalone-master" for n in (1, 2)]
    assert list(short_names(jobs).values()) == [
        "…scenario001-standalone-master",
        "…scenario002-standalone-master",
    ]
    assert short_names(["periodic-a-build"]) == {"periodic-a-build": "periodic-a-build"}
    assert short_names(["abc-1", "abd-2"]) == {"abc-1": "abc-1", "abd-2": "abd-2"}
