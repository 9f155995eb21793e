"""Everything fails for a minute, twice, with runs in every phase; nobody does anything about it.

Airflow's own parts are killed, and its database is restarted, meanwhile; they come back as under systemd.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from lab.service import wait_for
from tests.airflow.test_runs import start
from tests.airflow.world import World

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

#: Seconds.
MINUTE = 60.0


@contextmanager
def broken(world: World, ways: Mapping[str, str]) -> Iterator[None]:
    """Break services until the block ends, but for a minute at least.

    :param ways: how, by the Connection's name.
    """
    assert set(ways) == set(world.outages)
    until = time.monotonic() + MINUTE
    for name, how in ways.items():
        world.outages[name].break_(how, seconds=20)
    yield
    wait_for(lambda: time.monotonic() > until, "the minute is over", deadline=MINUTE + 5)
    for outage in world.outages.values():
        outage.mend()


def test_runs_end_right_without_a_person_after_every_service_failed_for_a_minute_twice(world: World) -> None:
    early, middle, late = (world.release(f"outage{number}") for number in (1, 2, 3))
    first_run, first = start(late)
    late.vote(first, "test1", "test2", "weirdo-outage3-promote")
    second_run, second = start(middle)
    second_run.wait_for("upstream.periodic-outage2-test1", "deferred")
    first_run.wait_for("upstream.promote.hold", deadline=150)
    third = early.build(extended=True)

    # One run promotes, one waits for CI, one begins.
    down = {"dlrn_centos7_master": "503", "registry_rdo": "429", "registry_quay": "503", "repo": "503"}
    down |= {"images_rdo": "slow"}
    with broken(world, {name: down.get(name, "down") for name in world.outages}):
        third_run = early.trigger(third)
        middle.vote(second, "test1", "test2", "weirdo-outage2-promote")
        for component in ("triggerer", "scheduler"):
            world.flow.kill(component)
        world.flow.database.restart()
    third_run.wait_for("upstream.candidate", deadline=200)
    early.ci_builds(third)
    early.vote(third, "build")

    # One tags for CI, the others promote or have promoted.
    failing = {"dlrn_centos7_master": "429", "registry_rdo": "503", "repo": "slow", "images_rh1": "slow"}
    failing |= {"registry_quay": "slow", "tokens": "503"}
    with broken(world, {name: failing.get(name, "cut") for name in world.outages}):
        early.vote(third, "test1", "test2", "weirdo-outage1-promote")

    for release, run, build in (
        (late, first_run, first),
        (middle, second_run, second),
        (early, third_run, third),
    ):
        assert run.end(deadline=400) == "success"
        state = release.state()
        assert (state.label, state.link, state.rows) == (build.full_hash, build.full_hash, 1)
        assert state.tags == release.tags(build.full_hash)
        entries = release.dlrn.promotions(release.candidate_label)
        assert [row.build for row in entries] == [build]
        phase1 = release.dlrn.promotions(f"{release.label}-rdo")
        assert [row.build for row in phase1] == [build]
    tries = [task.try_number for task in world.api.tasks(third_run.dag_id, third_run.run_id).values()]
    assert max(tries) > 1
