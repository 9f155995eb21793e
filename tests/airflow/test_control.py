"""What a person decides in Airflow's UI while a run is under way, and what the run makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lab.service import LabError
from tests.airflow.world import Run, World
from tests.lab.airflow_fixtures import api

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(500)]

DAG_ID = "promotions-control"
BUG = "https://bugs.launchpad.net/bugs/1800000"


def start(world: World, act: str, **form: object) -> Run:
    """Fill in the form, as the account that the API is used with."""
    conf = {"release": "centos7-held", "act": act, "reason": "see the bug", **form}
    return Run(world.api, DAG_ID, world.api.trigger(DAG_ID, conf))


def done(run: Run, task: str) -> dict[str, list[str]]:
    """Wait until it is written down, and return the task's result."""
    run.wait_for(task)
    found: dict[str, list[str]] = run.api.xcom(run.dag_id, run.run_id, task)
    return found


def test_runs_wait_for_what_people_decide_and_go_on_by_themselves(world: World) -> None:
    release, who = world.release("held"), world.flow.login[0]
    build = release.build(extended=True)
    wrong = start(world, "hold", label="held-curent", until="2019-03-14T15:00:00Z")
    held = start(world, "hold", label="held-ci-testing")
    assert f"held-ci-testing is held by {who} since" in done(held, "hold")["in_force"][0]
    assert held.end() == "success"
    states = held.states()
    assert {states[name] for name in ("waive", "lift", "mark_bad", "show")} == {"skipped"}
    wrong.wait_for("check", "failed")
    reason = str(wrong.reason("check"))
    assert "label: 'held-curent': centos7-held moves no such label; did you mean 'held-current'?" in reason
    assert "until: 2019-03-14 15:00:00Z is over" in reason
    assert len(list((world.ledger / "centos7-held" / "@decisions").iterdir())) == 1

    # CI's label does not move before the hold is lifted.
    run = release.trigger(build)
    run.wait_for("upstream.candidate", "up_for_reschedule")
    assert str(run.reason("upstream.candidate")).startswith(
        f"waiting: held-ci-testing is held by {who} since"
    )
    assert release.dlrn.current("held-ci-testing") is None
    # One candidate may be at work at a time in a Dag: who waits does not take that place.
    other = release.trigger(release.build())
    other.wait_for("upstream.candidate", "up_for_reschedule")
    world.api.set_run_state(other.dag_id, other.run_id, "failed")
    lifted = start(world, "lift", lift=["held-ci-testing"])
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    waived = start(
        world, "waive", jobs=["periodic-held-test1"], build=build.full_hash, reason=BUG, until=until
    )
    run.wait_for("upstream.candidate")
    assert run.reason("upstream.candidate") is None
    stopped = start(world, "hold", build=build.full_hash)
    assert not any("held-ci-testing" in line for line in done(lifted, "lift")["in_force"])

    # One job is waived, a person approves; then the promotion waits, until that hold is lifted, too.
    in_force = "\n".join(done(waived, "waive")["in_force"])
    assert f"periodic-held-test1 is waived for {build.full_hash} by {who} until" in in_force
    (entry,) = done(stopped, "hold")["written"]
    release.ci_builds(build)
    release.vote(build, "build", "test2")
    asked_by = "upstream.approve"
    run.wait_for(asked_by, "deferred")
    asked = world.api.question(run.dag_id, run.run_id, asked_by)
    assert asked is not None
    assert (asked["options"], asked["subject"]) == (
        ["Approve", "Do not promote"],
        f"{build.full_hash}: approve?",
    )
    assert [user["id"] for user in asked["assigned_users"]] == ["admin"]
    for stranger in (
        "operator",
        "viewer",
    ):  # may edit the Dag, but is not named by the step; may not even that
        with pytest.raises(LabError, match=": 403 "):
            api(world.flow, stranger).answer(run.dag_id, run.run_id, asked_by, "Approve", reason="mine")
    assert run.states()[asked_by] == "deferred"
    world.api.answer(run.dag_id, run.run_id, asked_by, "Approve", reason="looks well")
    run.wait_for("upstream.promote.hold", "up_for_reschedule")
    assert run.api.xcom(run.dag_id, run.run_id, asked_by)["approved_by"] == who
    assert run.states()["upstream.periodic-held-test1"] == "skipped"
    assert str(run.reason("upstream.periodic-held-test1")).startswith(f"waived by {who} until")
    assert release.state().label is None
    start(world, "lift", lift=[entry.rpartition("/")[2]])
    run.wait_for("upstream.promote.verify", deadline=150)
    assert release.state().label == build.full_hash
