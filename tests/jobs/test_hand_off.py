"""A promoted build handed off: from the lab's DLRN, registries and image server to a fake receiver."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lab import dlrn as lab_dlrn
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.receiver import Receiver
from rdo_promoter.model.decisions import Waived
from rdo_promoter.model.handoff import WaivedJob
from tests.engine.rdo import CONTAINERS, IMAGES
from tests.jobs.desk import Cuts, Killed
from tests.jobs.hand_off_world import DAG_ID, REGISTRIES, World, vote

pytest_plugins = ["tests.jobs.hand_off_fixtures"]
pytestmark = pytest.mark.lab


def test_the_record_says_what_dlrn_the_ledger_and_the_servers_say(world: World) -> None:
    then, later = world.row.timestamp, world.row.timestamp + 100
    expires = then + 1000
    task = world.desk()
    ours = task.ti.run_id
    world.decide(Waived, job="scenario001", expires=expires)
    world.decide(Waived, job="standalone", expires=expires)  # it has passed
    world.decide(Waived, job="replaced", expires=expires)  # standalone stands in for it
    world.decide(Waived, job="elsewhere", expires=expires)  # nobody requires it
    world.decide(Waived, job="container-build", expires=then - 1)
    world.approve("phase2.approve", at=then - 10, run_id="another")
    world.approve("approve", at=later, run_id=ours)
    world.approve("approve", at=later, run_id="another")
    world.approve("afterwards", at=later, run_id=ours)
    result = task.run()

    record, build = world.record(), world.build
    assert (record.release, record.label, record.build) == (DAG_ID, world.row.label, build)
    assert record.repo_url == f"{world.rdo.lab.dlrn.repo_url}/{build.path}"
    assert (record.promoted_at, record.release_file) == (then, "releases/master.yaml")
    assert record.release_digest == "d" * 64
    nova = next(package for package in record.packages if package.project == "openstack-nova")
    assert (nova.commit_hash, nova.distro_hash) == (build.commit_hash, build.distro_hash)
    assert nova.nvr.startswith("openstack-nova-1.0-0.")
    assert [(each.at, each.job, each.success) for each in record.votes] == [
        (1000, "standalone", True),
        (2000, "scenario001", False),
    ]
    assert record.waivers == (WaivedJob("scenario001", "ada", "https://bugs/1", expires),)
    assert [(each.at, each.step) for each in record.approvals] == [
        (then - 10, "phase2.approve"),
        (later, "approve"),
    ]
    tags = world.rdo.tags(build.full_hash)
    for name in REGISTRIES:
        host = getattr(world.rdo.lab.registries, name).host
        names = {
            f"{host}/{world.rdo.namespace(name)}/{container}": tags[name][container]
            for container in CONTAINERS
        }
        assert names.items() <= {each.image: each.digest for each in record.containers}.items()
    assert len(record.containers) == len(REGISTRIES) * len(CONTAINERS)
    folder = world.file.parent
    assert {Path(each.path): each.md5 for each in record.images} == {
        folder / image: hashlib.md5((folder / image).read_bytes()).hexdigest() for image in IMAGES
    }
    assert result == {
        "label": record.label,
        "full_hash": build.full_hash,
        "sha256": record.key,
        "acknowledged": False,
        "image_servers": ["images"],
    }
    assert task.events[world.asset].extra == result


def test_done_again_it_is_the_same_record(world: World) -> None:
    task = world.desk()
    key = task.run()["sha256"]
    stored = world.file.stat()
    # What comes later changes nothing of it.
    later = world.row.timestamp + 100
    vote(world.rdo, world.build, "scenario001", at=later)
    world.decide(Waived, at=later, job="scenario001", expires=later + 1000)
    task.clear()
    assert task.run()["sha256"] == key
    world.receiver.conflicts = True
    assert world.desk().run()["sha256"] == key
    assert world.receiver.posts == 3
    world.record()
    assert (world.file.stat().st_ino, world.file.stat().st_mtime_ns) == (stored.st_ino, stored.st_mtime_ns)


def test_killed_at_any_moment_it_is_handed_off_once(world: World) -> None:
    moments = 0
    while True:
        cuts = Cuts(moments)
        with pytest.MonkeyPatch.context() as patch:
            cuts.around(patch, ImageServer, "put")
            cuts.around(patch, Receiver, "post")
            try:
                world.desk().run()
            except Killed:
                moments += 1
                continue
        break
    assert moments == 4
    world.record()
    assert [each.name for each in world.file.parent.glob(".handoff*")] == []


def test_the_acknowledgement_is_awaited_without_a_worker(world: World) -> None:
    task = world.desk(within=600)
    assert task.execute() is None
    assert task.waiting is not None
    assert world.asset not in task.events
    (key,) = world.receiver.kept
    result = task.go_on(between=lambda: world.receiver.acknowledge(key))
    assert result["acknowledged"]
    assert task.events[world.asset].extra == result


def test_what_was_posted_is_settled_though_the_label_has_moved_on_since(world: World) -> None:
    """A retry: the receiver was down for a moment when it had acknowledged."""
    task = world.desk(within=600)
    assert task.execute() is None
    (key,) = world.receiver.kept
    world.receiver.acknowledge(key)
    newer = lab_dlrn.PastPromotion(world.rdo.build(), world.row.label, world.row.timestamp + 1)
    lab_dlrn.add_promotions(world.rdo.lab.root, [newer])
    assert task.execute()["acknowledged"]
    assert world.receiver.posts == 1
    # A person's clear hands off anew.
    task.clear()
    with pytest.raises(AirflowSkipException, match="superseded by"):
        task.execute()


def test_what_is_acknowledged_at_once_is_not_awaited(world: World) -> None:
    world.receiver.decides = {"acknowledged": True}
    task = world.desk(within=600)
    assert task.execute()["acknowledged"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_rejection_fails_with_the_receivers_reason(world: World, at_once: bool) -> None:
    if at_once:
        world.receiver.decides = {"rejected": True, "reason": "nova 1.0 is\nknown to be bad"}
    task = world.desk(within=None if at_once else 600)

    def reject() -> None:
        (key,) = world.receiver.kept
        world.receiver.reject(key, "nova 1.0 is\nknown to be bad")

    said = r"rejects hand-off [0-9a-f]{64}: nova 1.0 is\\nknown to be bad; when that is mended"
    with pytest.raises(AirflowFailException, match=said):
        task.run(between=reject)
    assert world.asset not in task.events


def test_without_an_acknowledgement_in_time_it_fails_and_a_clear_waits_anew(world: World) -> None:
    task = world.desk(within=1)
    with pytest.raises(
        AirflowFailException, match=r"has not acknowledged hand-off .* within 1 s: ask its people"
    ):
        task.run()
    # A retry waits no longer.
    with pytest.raises(AirflowFailException, match="has not acknowledged"):
        task.execute()
    task.clear()
    assert task.execute() is None
    (key,) = world.receiver.kept
    world.receiver.acknowledge(key)
    assert task.go_on()["acknowledged"]


def test_a_dry_run_stores_and_posts_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    # A success would be an event of the asset, on which other Dags are scheduled.
    with pytest.raises(AirflowSkipException, match="dry run: nothing was stored or posted"):
        world.desk(dry_run=True).run()
    said = capsys.readouterr().out
    assert (world.receiver.requests, world.file.exists()) == ([], False)
    assert f"{world.build.short}   8 digests of containers, 2 checksums of images" in said
    assert f"{world.build.short} hand-off {world.desk().run()['sha256']}" in said
