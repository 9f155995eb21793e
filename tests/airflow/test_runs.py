"""Runs of a release's Dag in a real Airflow, as an engineer on duty sees them."""

from __future__ import annotations

import hashlib
import re
import time

import pytest

from lab.dlrn import add_build
from lab.service import wait_for
from rdo_promoter.model.build import DlrnHash
from tests.airflow.world import Release, Run, World
from tests.engine.rdo import CONTAINERS, IMAGES

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(400)]

DONE = {"success", "failed", "skipped", "upstream_failed"}


def start(release: Release, **form: object) -> tuple[Run, DlrnHash]:
    """Start a run on a new build, and let CI's build job pass; return the run and the build."""
    build = release.build(extended=True)
    run = release.trigger(build, **form)
    run.wait_for("upstream.candidate")
    release.ci_builds(build)
    release.vote(build, "build")
    return run, build


def test_a_build_goes_from_consistent_through_both_stages(world: World) -> None:
    release = world.release("main")
    old = release.candidates(1)[0]
    release.ci_builds(old)
    release.promote(old)
    release.vote(old, "build", "test1", "test2")  # CI has done with it
    run, build = start(release)
    test1, test2 = "upstream.periodic-main-test1", "upstream.periodic-main-test2"

    # One test fails, and its rerun passes; for the other an alternative stands in.
    release.vote(build, "test1", success=False)
    run.wait(lambda tasks: tasks[test1].state == "up_for_retry", "a failed job is amber")
    assert release.state().label == old.full_hash
    release.vote(build, "periodic-main-test2-internal")
    release.vote(build, "test1")
    run.wait_for("upstream.promote.verify", deadline=150)
    # The gate has noticed the rerun itself; the row turns green when it is looked at again.
    tasks = run.wait_for(test1)
    assert tasks[test2].state == "skipped"
    assert run.reason(test2) == "replaced by periodic-main-test2-internal"

    state = release.state()
    assert (state.label, state.previous) == (build.full_hash, old.full_hash)
    assert (state.link, state.previous_link) == (build.full_hash, old.full_hash)
    assert state.tags == release.tags(build.full_hash)
    tested = release.tags("main-ci-testing")
    assert {place: tested[place] for place in ("rdo", "dockerhub")} == {
        place: state.tags[place] for place in ("rdo", "dockerhub")
    }
    assert set(tested["quay"].values()) == {None}  # no step pushes there what is only tested
    for container in CONTAINERS:
        digests = {
            hashlib.sha256(
                registry.inspect_raw(f"{release.namespace(registry.name)}/{container}", release.label)
            ).hexdigest()
            for registry in (world.lab.registries.rdo, world.lab.registries.dockerhub)
        }
        assert digests == {str(state.tags["rdo"][container]).removeprefix("sha256:")}

    release.vote(build, "weirdo-main-promote")
    assert run.end() == "success"
    phase1 = release.dlrn.current("main-current-rdo")
    assert phase1 is not None
    assert phase1.build == build
    assert release.tags("main-current-rdo") == state.tags
    assert (release.image_root / "main-current-rdo").readlink().as_posix() == build.full_hash
    assert (state.mirror_link, state.previous_mirror_link) == (build.full_hash, old.full_hash)

    (event,) = world.api.asset_events("main-current-rdo")
    assert (event["full_hash"], event["previous"]) == (build.full_hash, None)
    (event,) = world.api.asset_events("main-current")
    assert (event["full_hash"], event["previous"]) == (build.full_hash, old.full_hash)

    # The older build's run is over in seconds: nothing is left to win, and nobody is asked.
    late = release.trigger(old)
    assert late.end() == "success"
    reason = f"superseded by {build.full_hash}, which holds main-current and is not older"
    assert late.reason("upstream.builds.gate") == reason
    assert set(late.states().values()) <= {"success", "skipped"}
    assert release.state() == state


def test_the_next_stage_stays_untouched_when_a_stage_failed_and_goes_on_when_that_is_mended(
    world: World,
) -> None:
    release = world.release("failed")
    run, build = start(release)
    release.vote(build, "test1", success=False)
    assert run.end() == "failed"
    states = run.states()
    assert states["upstream.periodic-failed-test1"] == states["upstream.periodic-failed-test2"] == "failed"
    assert states["upstream.tests.gate"] == "failed"
    after = [name for name in states if name.startswith(("upstream.promote", "phase1."))]
    # votes_in joins what failed; it does nothing.
    joins = {name for name in after if name.endswith(".votes_in")}
    assert {states[name] for name in set(after) - joins} == {"upstream_failed"}
    log = run.log("upstream.tests.gate")
    assert re.search(rf"{build.full_hash} does not meet the criteria until .+Z: 0 of 2 jobs passed", log)
    assert "periodic-failed-test1: failed, https://logs.example.org/periodic-failed-test1/abc1234" in log
    assert "periodic-failed-test2: missing" in log
    assert release.state().label is None
    assert release.dlrn.current("failed-current-rdo") is None

    release.vote(build, "test1", "test2", "weirdo-failed-promote")
    world.api.clear(run.dag_id, run.run_id, ["upstream.tests.gate"], downstream=True)
    run.wait_for("upstream.promote.verify", deadline=150)
    assert release.state().label == build.full_hash


def test_a_promotion_that_was_killed_in_the_middle_is_completed_without_anybody(world: World) -> None:
    release = world.release("killed")
    old = release.candidates(1)[0]
    release.ci_builds(old)
    release.promote(old)
    release.vote(old, "build", "test1", "test2")  # CI has done with it
    run, build = start(release)
    release.vote(build, "test1", "test2", "weirdo-killed-promote")
    hub = world.lab.registries.dockerhub.service.process()
    assert hub is not None
    run.wait_for("upstream.promote.plan", deadline=150)
    hub.suspend()  # the copy or the tags hang now, whatever the run has come to
    try:
        run.wait(
            lambda tasks: any(
                tasks[f"upstream.promote.{task}"].state == "running"
                for task in ("copy_dockerhub", "check_copies", "tag_dockerhub", "dlrn")
            ),
            "the promotion hangs at the registry",
        )
        before = release.dlrn.current(release.label)
        assert before is not None
        assert before.build == old
        world.flow.kill("scheduler")  # and its workers with it; it comes back by itself
    finally:
        hub.resume()
    tasks = run.wait_for("upstream.promote.verify", deadline=200)
    assert max(task.try_number for name, task in tasks.items() if name.startswith("upstream.promote")) > 1
    state = release.state()
    assert (state.label, state.previous, state.rows) == (build.full_hash, old.full_hash, 3)
    assert (state.link, state.previous_link) == (build.full_hash, old.full_hash)
    assert state.tags == release.tags(build.full_hash)

    # A task that is cleared alone does nothing twice.
    again = tasks["upstream.promote.dlrn"].try_number
    world.api.clear(run.dag_id, run.run_id, ["upstream.promote.dlrn"])
    run.wait(
        lambda tasks: (
            tasks["upstream.promote.dlrn"].state == "success"
            and tasks["upstream.promote.dlrn"].try_number > again
        ),
        "the cleared task has run again",
    )
    assert release.state() == state

    # When another run has held the label since, it does not even begin.
    newer, newest = start(release)
    release.vote(newest, "test1", "test2", "weirdo-killed-promote")
    newer.wait_for("upstream.promote.verify", deadline=150)
    state = release.state()
    world.api.clear(run.dag_id, run.run_id, ["upstream.promote.tag_rdo"])
    run.wait_for("upstream.promote.tag_rdo", "failed")
    said = (
        f"killed-current is held by {newer.run_id} of centos7-killed: clear the whole group upstream.promote"
    )
    assert said in str(run.reason("upstream.promote.tag_rdo"))
    assert release.state() == state


def test_a_dry_run_prints_every_change_and_makes_none(world: World) -> None:
    release = world.release("dry")
    old, new = release.candidates(2)
    for build in (old, new):
        release.ci_builds(build)
    release.promote(old)
    release.vote(new, "build", "test1")
    before = release.state()
    run = release.trigger(new, dry_run=True, stages=["upstream"])
    assert run.end() == "success"
    assert release.state() == before
    states = run.states()
    assert states["upstream.periodic-dry-test1"] == "success"
    assert states["upstream.promote.plan"] == states["upstream.promote.verify"] == "skipped"
    waits = run.reason("upstream.periodic-dry-test2")
    assert waits == "dry run: would wait for periodic-dry-test2: it has not voted yet"
    assert str(run.reason("upstream.promote.plan")).startswith(
        f"dry run: {2 * len(CONTAINERS)} containers to copy, {len(IMAGES)} images to copy, "
        f"{3 * len(CONTAINERS)} tags to move, 4 links to move, 2 DLRN labels to move; nothing was changed"
    )
    log = run.log("upstream.promote.plan")
    assert f"DLRN: dry-current {old.full_hash} -> {new.full_hash}" in log
    assert f"images: link previous-dry-current nothing -> {old.full_hash}" in log
    assert run.reason("phase1.start") == "stage phase1 was not chosen in the run's form"


def test_ticks_that_have_nothing_to_do_end_as_skipped_and_say_why(world: World) -> None:
    release = world.release("quiet")
    first = release.build()
    failed = add_build(world.lab.root, when=int(time.time()), project="quiet", failed=True)
    release.dlrn.promote(first, release.candidate_label)
    world.api.pause(release.dag_id, paused=False)  # the schedule brings a run at once
    tick = Run(world.api, release.dag_id, _first_run(world, release))
    assert tick.end() == "success"
    states = tick.states()
    assert states.pop("source.build") == "success"
    assert set(states.values()) == {"skipped"}
    assert str(tick.reason("source.build")).startswith(f"nothing new: consistent is {first.full_hash}, in ")
    assert tick.reason("source.holding") == "consistent is held back by 1 package: quiet (FAILED)"
    (held,) = world.api.xcom(tick.dag_id, tick.run_id, "source.holding", "holding")
    assert held["log"] == f"{world.lab.dlrn.repo_url}/{failed.path}/rpmbuild.log"
    assert held["told"] in tick.log("source.holding")
    add_build(world.lab.root, when=int(time.time()), project="quiet")  # it builds again

    busy = release.trigger(release.build())
    assert busy.end() == "success"
    assert busy.reason("upstream.candidate") == f"CI busy with {first.full_hash}"
    states = busy.states()
    assert {states.pop("source.build"), states.pop("upstream.start")} == {"success"}
    joins = [states.pop(name) for name in list(states) if name.endswith((".votes_in", ".settled"))]
    assert set(joins) == {"success"}  # empty tasks that do nothing
    assert set(states.values()) == {"skipped"}
    assert (
        release.dlrn.current(release.candidate_label)
        == release.dlrn.entries(release.candidate_label, first)[0]
    )


def test_a_build_that_was_displaced_before_any_vote_asks_nobody(world: World) -> None:
    release = world.release("displaced")
    build, other = release.build(), release.build()
    run = release.trigger(build)
    run.wait_for("upstream.periodic-displaced-build", "deferred")
    release.dlrn.promote(other, release.candidate_label)
    assert run.end() == "success"
    reason = f"not tested: displaced by {other.full_hash}"
    assert run.reason("upstream.periodic-displaced-build") == reason
    assert run.reason("upstream.builds.gate") == reason
    assert run.states()["upstream.promote.dlrn"] == "skipped"


def test_a_connection_that_is_missing_ends_a_run_before_any_label_has_moved(world: World) -> None:
    release = world.release("locked")
    run = release.trigger(release.build())
    assert run.end() == "failed"
    states = run.states()
    assert states["upstream.start"] == "failed"
    assert states["upstream.candidate"] == "upstream_failed"
    said = str(run.reason("upstream.start"))
    assert "in stage upstream is refused, nothing was changed; 2 problem(s):" in said
    assert "registry dockerhub: Connection 'registry_typo' does not exist: create it under Admin" in said
    assert "step upstream.run_jenkins: Connection 'jenkins_typo' does not exist: create it under" in said
    assert release.dlrn.promotions(release.candidate_label) == []


def test_a_file_that_cannot_be_used_becomes_a_dag_that_shows_why(world: World) -> None:
    world.api.wait_for_dag("broken-typo")
    assert world.api.import_errors() == {}
    world.api.pause("broken-typo", paused=False)
    run = Run(world.api, "broken-typo", world.api.trigger("broken-typo"))
    assert run.end() == "failed"
    assert "unknown key; did you mean 'retry_delay'?" in run.log("show_error")


def _first_run(world: World, release: Release) -> str:
    found: list[str] = []

    def scheduled() -> bool:
        found[:] = [run.run_id for run in world.api.runs(release.dag_id)]
        return bool(found)

    wait_for(scheduled, "the schedule's run")
    return found[-1]
