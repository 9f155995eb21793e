"""Jobs that a release starts itself, on machines of the lab; Jenkins is a fake."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import jobs
from rdo_promoter.clients.handoff_key import read_key
from rdo_promoter.model.handoff import read_envelope, read_handoff
from tests.airflow.test_runs import start
from tests.airflow.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(500)]

JOB = "periodic-started-phase1"


@pytest.mark.usefixtures("machines")
def test_started_jobs_are_started_once_over_restarts_and_their_votes_promote(world: World) -> None:
    release = world.release("started")
    jobs.add_jenkins_job(world.lab.root, "phase1-tests", "RDO_PROMOTER_ID", "RDO_FULL_HASH", takes=40)
    run, build = start(release)
    release.vote(build, "test1", "test2")
    run.wait_for("upstream.run_jenkins", "deferred")
    world.flow.kill("triggerer")  # it comes back by itself
    run.wait_for("upstream.run_ssh", deadline=150)
    run.wait_for("upstream.promote.verify", deadline=200)

    assert release.state().label == build.full_hash
    (vote,) = (each for each in release.dlrn.votes(build) if each.job == JOB)
    assert (vote.success, vote.url.startswith("http")) == (True, True)
    started = jobs.jenkins_builds(world.lab.root, "phase1-tests")
    assert [each["RDO_FULL_HASH"] for each in started] == [build.full_hash]
    assert f"tested {build.full_hash}" in run.log("upstream.run_ssh")

    # What was promoted is handed off; the receiver acknowledges when the triggerer asks.
    run.wait_for("osp.hand_off", deadline=150)
    label = release.label
    folder = Path(world.lab.images.path("started")) / build.full_hash
    envelope = read_envelope((folder / f"handoff-{label}.json").read_bytes())
    read_key("lab", jobs.handoff_key(world.lab.root), "the lab").public.verify(envelope)
    record = read_handoff(envelope.record)
    assert (record.build, record.label, record.release_file) == (build, label, "releases/started.yaml")
    assert JOB in [each.job for each in record.votes]
    (event,) = world.api.asset_events(f"{label}/handoff")
    assert (event["sha256"], event["acknowledged"]) == (record.key, True)
