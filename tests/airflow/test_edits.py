"""Release files that are edited while runs wait: runs in flight move to the new structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.service import wait_for
from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.hooks.recipe import read_recipe
from rdo_promoter.model.ledger import unfinished
from rdo_promoter.release import load_release
from tests.airflow.test_runs import DONE, start
from tests.airflow.world import Run, World

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(400)]


def edit(world: World, name: str, change: Callable[[dict[str, Any]], None]) -> str:
    """Change a release file as a person does, whole and at once; return what it was before."""
    file = world.releases / f"{name}.yaml"
    before = file.read_text()
    content = yaml.safe_load(before)
    change(content)
    write(file, yaml.safe_dump(content, sort_keys=False))
    return before


def write(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}")
    draft.write_text(text)
    draft.replace(file)


def steps(content: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content["stages"][0]["steps"]
    return found


def look(world: World) -> Run:
    """Let the sentinel look, as a person does."""
    world.api.pause("promotions-sentinel", paused=False)
    run = Run(world.api, "promotions-sentinel", world.api.trigger("promotions-sentinel"))
    run.end()
    return run


def test_jobs_that_come_and_go_and_a_file_that_breaks_for_a_while(world: World) -> None:
    release = world.release("edited")
    run, build = start(release)
    test1, test2, test3 = (f"upstream.periodic-edited-test{n}" for n in (1, 2, 3))
    run.wait_for(test2, "deferred")

    # One test goes, another comes; and the push to docker.io is given up.
    def other_jobs(content: dict[str, Any]) -> None:
        wait = steps(content)[4]["wait_for"]
        wait["jobs"] = ["periodic-edited-test1", "periodic-edited-test3"]
        del wait["alternatives"], steps(content)[3]

    edit(world, "edited", other_jobs)
    run.wait(lambda tasks: test3 in tasks and tasks[test3].state == "deferred", "the new job is waited for")
    release.vote(build, "test1")
    tasks = run.wait_for(test1)
    assert tasks[test2].state == "removed"
    assert tasks["upstream.tests.gate"].state not in DONE, "the job that came is waited for"

    # The file breaks: its Dag gives way to one that says why, the run is frozen, the others go on.
    def typo(content: dict[str, Any]) -> None:
        content["stagse"] = content.pop("stages")

    good = edit(world, "edited", typo)
    world.api.wait_for_dag("broken-edited")
    wait_for(lambda: release.dag_id not in world.api.dag_ids(), "the Dag is gone")
    assert world.release("main").dag_id in world.api.dag_ids()
    release.vote(build, "test3")
    look(world)
    assert "did you mean 'stages'?" in str(look(world).reason("releases"))
    assert release.state().label is None

    # Mended, the run goes on, and ends by the text of the file that is in force.
    file = world.releases / "edited.yaml"
    write(file, good)
    run.wait_for("upstream.promote.verify", deadline=150)
    assert release.state().label == build.full_hash
    plan = world.api.xcom(run.dag_id, run.run_id, "upstream.promote.plan")
    assert plan["digest"] == load_release(file).digest
    facts = Ledger(world.ledger).facts(release.dag_id, release.label)
    assert {(type(fact).__name__, fact.digest) for fact in facts} == {
        ("Planned", plan["digest"]),
        ("Promoted", plan["digest"]),
    }
    assert "broken-edited" not in world.api.dag_ids()


def test_a_promotion_whose_step_is_removed_in_the_middle_is_not_left_half_done(world: World) -> None:
    release = world.release("cut")
    old = release.candidates(1)[0]
    release.ci_builds(old)
    release.promote(old)
    release.vote(old, "build", "test1", "test2")
    run, build = start(release)
    release.vote(build, "test1", "test2")
    hub = world.lab.registries.dockerhub.service.process()
    assert hub is not None
    plan_task = "upstream.promote.plan"
    run.wait_for(plan_task, deadline=150)
    hub.suspend()
    try:

        def no_promotion(content: dict[str, Any]) -> None:
            del content["stages"][1:], content["stages"][0]["steps"][5]
            # What no step uses is refused, too.
            del content["images"], content["image_servers"], content["registries"]["quay"]

        edit(world, "cut", no_promotion)
        run.wait(lambda tasks: tasks["upstream.promote.dlrn"].state == "removed", "the step is gone")
    finally:
        hub.resume()
    assert run.end() == "success"
    assert release.state().label == old.full_hash
    facts = Ledger(world.ledger).facts(release.dag_id, release.label)
    (plan,) = unfinished(facts)
    assert (plan.build, plan.by, read_recipe(plan.wanted)[0].build) == (build, run.run_id, build)

    sentinel = look(world)
    assert sentinel.states()["unfinished"] == "success"
    state = release.state()
    assert (state.label, state.previous) == (build.full_hash, old.full_hash)
    assert (state.link, state.previous_link) == (build.full_hash, old.full_hash)
    assert state.tags == release.tags(build.full_hash)
    assert unfinished(Ledger(world.ledger).facts(release.dag_id, release.label)) == ()


def test_a_release_that_is_renamed_is_reported_while_runs_of_it_are_frozen(world: World) -> None:
    release = world.release("renamed")
    run = release.trigger(release.build())
    run.wait_for("upstream.periodic-renamed-build", "deferred")
    look(world)  # it knows the release now
    before = edit(world, "renamed", lambda content: content.update(release="other"))
    world.api.wait_for_dag("centos7-other")
    wait_for(lambda: release.dag_id not in world.api.dag_ids(), "the Dag is gone")
    said = str(look(world).reason("releases"))
    assert "centos7-renamed: releases/renamed.yaml makes centos7-other now, and 1 run of it is frozen" in said

    write(world.releases / "renamed.yaml", before)
    world.api.wait_for_dag(release.dag_id)
    assert "centos7-renamed" not in str(look(world).reason("releases"))
    world.api.set_run_state(run.dag_id, run.run_id, "failed")
