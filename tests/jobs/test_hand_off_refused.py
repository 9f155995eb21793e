"""What is not handed off, and what is said about it; nothing goes out then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lab import dlrn as lab_dlrn
from lab.fake_receiver import FakeReceiver
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AuthError, ConfigError
from rdo_promoter.hooks.handoff import HandoffKeyHook, HandoffReceiverHook
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.decisions import MarkedBad
from tests.engine.rdo import CONTAINERS, IMAGES
from tests.jobs.hand_off_world import DAG_ID, REGISTRIES, Connect, World, fact

pytest_plugins = ["tests.jobs.hand_off_fixtures"]
pytestmark = pytest.mark.lab


def test_a_build_that_no_longer_holds_the_label_is_not_handed_off(world: World, older: DlrnHash) -> None:
    dlrn, label = world.rdo.dlrn, world.row.label
    newer = world.rdo.build()
    lab_dlrn.add_promotions(
        world.rdo.lab.root, [lab_dlrn.PastPromotion(newer, label, world.row.timestamp + 1)]
    )
    with pytest.raises(AirflowSkipException, match=f"superseded by {newer.full_hash}"):
        world.desk().run()
    # Back to what held it before: no newer build has won.
    lab_dlrn.add_promotions(
        world.rdo.lab.root,
        [
            lab_dlrn.PastPromotion(older, label, world.row.timestamp - 100),
            lab_dlrn.PastPromotion(older, label, world.row.timestamp + 2),
        ],
    )
    assert dlrn.current(label).build == older  # type: ignore[union-attr]
    said = (
        f"{world.build.full_hash} is not handed off: {label} names {older.full_hash}, moved there by promoter"
    )
    with pytest.raises(AirflowFailException, match=said):
        world.desk().run()
    assert (world.receiver.kept, world.file.exists()) == ({}, False)


def test_a_label_that_moves_meanwhile_is_seen_before_anything_goes_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer, real = world.rdo.build(), DlrnClient.packages

    def packages(client: DlrnClient, build: DlrnHash) -> Any:
        moved = lab_dlrn.PastPromotion(newer, world.row.label, world.row.timestamp + 1)
        lab_dlrn.add_promotions(world.rdo.lab.root, [moved])
        return real(client, build)

    monkeypatch.setattr(DlrnClient, "packages", packages)
    with pytest.raises(AirflowSkipException, match=f"superseded by {newer.full_hash}"):
        world.desk().run()
    assert (world.receiver.kept, world.file.exists()) == ({}, False)


def test_a_receiver_that_forgot_it_is_told_and_gets_it_again(world: World, connect: Connect) -> None:
    connect("receiver", {**world.receiver.connection(), "conn_type": "http"})
    task = world.desk(within=600)
    said = "answered 404: no such hand-off; check the address in Connection 'receiver', or clear the task"
    with pytest.raises(AirflowFailException, match=said):
        task.run(between=world.receiver.kept.clear)
    task.clear()
    world.receiver.decides = {"acknowledged": True}
    assert task.run()["acknowledged"]


def test_a_promotion_that_the_ledger_does_not_know_is_not_handed_off(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "empty"))
    said = f"the ledger knows no promotion of {world.build.full_hash} to {world.row.label} by {DAG_ID} at "
    with pytest.raises(AirflowFailException, match=said):
        world.desk().run()
    # The first of those that tell of this row counts, whatever was verified after it.
    ledger().append(replace(fact(world.row), timestamp=world.row.timestamp - 10, file="another"))
    ledger().append(fact(world.row))
    world.desk().run()
    assert world.record().release_file == "releases/master.yaml"


def test_what_is_not_in_place_is_named_and_nothing_goes_out(world: World) -> None:
    task = world.desk(containers=(*CONTAINERS, "glance"), images=(*IMAGES, "undercloud.qcow2"))
    with pytest.raises(AirflowFailException) as refused:
        task.run()
    said = str(refused.value)
    assert "3 problem(s)" in said
    for name in REGISTRIES:
        assert f"registry {name}: " in said
    assert f"/{world.rdo.namespace('rdo')}/glance:{world.build.full_hash} does not exist" in said
    assert f"image server images: {world.file.parent}/undercloud.qcow2 does not exist" in said
    assert (world.receiver.kept, world.file.exists()) == ({}, False)


def test_a_build_that_is_marked_bad_is_not_handed_off(world: World) -> None:
    world.decide(MarkedBad, reason="nova eats disks")
    with pytest.raises(AirflowSkipException, match=r"is marked bad by ada since .*: nova eats disks"):
        world.desk().run()
    assert world.receiver.requests == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((400, {"reason": "no\nsuch release"}), r"AnswerError: receiver POST http.* answered 400: no\\nsuch"),
        ((302, {}), "and points to .*: write the receiver's own address into Connection 'receiver'"),
    ],
)
def test_a_refusal_fails_at_once_in_the_receivers_words(
    world: World, answer: tuple[int, dict[str, object]], said: str
) -> None:
    world.receiver.broken = answer
    with pytest.raises(AirflowFailException, match=said):
        world.desk().run()
    assert world.receiver.posts == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": ""}, "Connection 'key' has neither of password and extra 'private_key'"),
        ({"extra": {"private_key": "x"}}, "Connection 'key' has both of password and extra 'private_key'"),
        ({"login": " "}, "Connection 'key' has no login: write there how the key is called"),
        ({"password": "s3cret-key"}, "password of Connection 'key' is no private key in PEM"),
        ({"conn_type": "ssh"}, "Connection 'key' has type ssh; it has to be handoff_key"),
    ],
)
def test_a_key_that_cannot_sign_is_told_before_anything_goes_out(
    world: World, connect: Connect, changes: dict[str, Any], said: str
) -> None:
    content = {"conn_type": "handoff_key", "login": "rdo-2026", "password": "x", **changes}
    connect("key", content)
    with pytest.raises(AirflowFailException, match=said) as refused:
        world.desk().run()
    assert "s3cret-key" not in str(refused.value)
    assert (world.receiver.requests, world.file.exists()) == ([], False)


def test_the_buttons_tell_whether_key_and_receiver_can_be_used(
    world: World, connect: Connect, receiver: FakeReceiver
) -> None:
    good, said = HandoffKeyHook("key").test_connection()
    assert good
    assert world.key.line in said
    hook = HandoffReceiverHook("receiver")
    assert hook.test_connection() == (True, f"Receiver({receiver.url}) lets us in; nothing was handed off")
    connect("receiver", receiver.connection(token=True))
    assert hook.test_connection()[0]
    connect("receiver", {**receiver.connection(), "password": "wrong"})
    good, said = hook.test_connection()
    assert not good
    assert "answered 401: who are you?; check the login, or the token, of Connection 'receiver'" in said
    connect("receiver", {**receiver.connection(), "password": ""})
    assert hook.test_connection() == (
        False,
        "Connection 'receiver' has a login and no password: set both, or a token as password alone",
    )
    assert receiver.kept == {}


def test_the_stages_start_can_ask_for_key_and_receiver(world: World, connect: Connect) -> None:
    task = world.operator()
    task.check()
    connect("receiver", {**world.receiver.connection(), "password": "wrong"})
    with pytest.raises(AuthError, match="check the login, or the token, of Connection 'receiver'"):
        task.check()
    connect("key", {"conn_type": "handoff_key", "login": "x", "password": "no key"})
    with pytest.raises(ConfigError, match="is no private key"):
        task.check()
    assert world.receiver.kept == {}
