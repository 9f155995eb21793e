"""Promotions of aggregates in a real DLRN in component mode, also when its answers are lost."""

from __future__ import annotations

import json

import pytest

from lab import dlrn_components
from lab.faults import Fault, FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    ConflictError,
    NotFoundError,
    ServiceError,
)
from rdo_promoter.model.build import AggregateHash
from tests.clients.component_lab import ComponentDlrn

pytest_plugins = ["tests.clients.component_fixtures"]
pytestmark = pytest.mark.lab

UNKNOWN = AggregateHash("0" * 32)


def check_names(components: DlrnClient, label: str, build: AggregateHash) -> None:
    """Compare everything that tells what a label names."""
    row = components.aggregates.current(label)
    assert row is not None
    assert row.build == components.aggregates.label_hash(label) == build
    for member in components.aggregates.read(build, label).members:
        assert components.label_hash(f"component/{member.component}/{label}") == member


def check_untouched(components: DlrnClient, component_dlrn: ComponentDlrn, label: str) -> None:
    """Compare everything that a promotion would have changed."""
    assert components.promotions(label) == []
    assert not (component_dlrn.tree / label).exists()
    assert list(component_dlrn.tree.glob(f"component/*/{label}")) == []


def test_promote(
    component_dlrn: ComponentDlrn, shaky_components: DlrnClient, component_api: FaultProxy, label: str
) -> None:
    build = component_dlrn.aggregate("network", "common")
    row = shaky_components.promote_aggregate(build, label, source_label="consistent")
    assert (row.build, row.label, row.user) == (build, label, "promoter")
    check_names(shaky_components, label, build)
    assert shaky_components.aggregates.entries(label, build) == [row]
    (post,) = component_api.seen("POST")
    assert post.path == "/api/promote-batch"
    assert post.headers["Content-Type"] == "application/json"
    items = json.loads(post.body)
    members = shaky_components.aggregates.read(build, "consistent").members
    assert [item["commit_hash"] for item in items] == [member.commit_hash for member in members]
    assert [item.get("extended_hash") for item in items] == [member.extended_hash for member in members]
    assert {item["promote_name"] for item in items} == {label}


def test_from_label_to_label_and_back(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    older, newer = component_dlrn.aggregate("compute"), component_dlrn.aggregate("common")
    promoted = f"{label}-promoted"
    for build in (older, newer):
        components.promote_aggregate(build, label, source_label="consistent")
        row = components.promote_aggregate(build, promoted, source_label=label)
        check_names(components, promoted, build)
    back = components.promote_aggregate(older, promoted, source_label=promoted, expected=row)
    assert back.build == older
    check_names(components, promoted, older)
    check_names(components, label, newer)


def test_an_unknown_aggregate_changes_nothing(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    with pytest.raises(NotFoundError, match=f"{UNKNOWN} is not under consistent"):
        components.promote_aggregate(UNKNOWN, label, source_label="consistent")
    check_untouched(components, component_dlrn, label)


@pytest.mark.parametrize("flagged", [True, False])
def test_a_purged_member_changes_nothing(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str, flagged: bool
) -> None:
    build = component_dlrn.aggregate("network")
    (network,) = [
        member
        for member in components.aggregates.read(build, "consistent").members
        if member.component == "network"
    ]
    component_dlrn.add("network")
    dlrn_components.purge(component_dlrn.root, network, flagged=flagged)
    with pytest.raises(NotFoundError, match=network.path):
        components.promote_aggregate(build, label, source_label="consistent")
    check_untouched(components, component_dlrn, label)


def test_a_member_whose_files_are_not_those_of_the_aggregate(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    build = component_dlrn.aggregate()
    member = components.aggregates.read(build, "consistent").members[0]
    file = component_dlrn.tree / member.path / "delorean.repo"
    content = file.read_bytes()
    for changed, error, said in ((b"x=1\n", AnswerError, "make"), (None, NotFoundError, member.path)):
        file.write_bytes(changed) if changed else file.unlink()
        with pytest.raises(error, match=said):
            components.promote_aggregate(build, label, source_label="consistent")
    file.write_bytes(content)
    check_untouched(components, component_dlrn, label)


def test_a_member_that_dlrn_would_mistake_for_a_newer_build(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    component_dlrn.add("common", name=label)
    build = component_dlrn.aggregate()
    component_dlrn.add("common", name=label, extended="20180115")
    with pytest.raises(AnswerError, match="20180115"):
        components.promote_aggregate(build, label, source_label="consistent")
    check_untouched(components, component_dlrn, label)


def test_a_component_that_would_mix_is_refused_before_anything_is_changed(
    component_dlrn: ComponentDlrn, shaky_components: DlrnClient, component_api: FaultProxy, label: str
) -> None:
    component = component_dlrn.unused()
    without = component_dlrn.aggregate("compute")
    having = component_dlrn.aggregate(component)
    shaky_components.promote_aggregate(having, label, source_label="consistent")
    with pytest.raises(
        ConflictError, match=f"{label} holds {component}, which {without} does not have.*nothing was"
    ):
        shaky_components.promote_aggregate(without, label, source_label="consistent")
    check_names(shaky_components, label, having)
    assert len(component_api.seen("POST")) == 1


def test_a_component_that_was_given_up_does_not_mix(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    component = component_dlrn.unused()
    having = component_dlrn.aggregate(component)
    components.promote_aggregate(having, label, source_label="consistent")
    dlrn_components.give_up(component_dlrn.root, component)
    without = component_dlrn.aggregate("compute")
    assert component not in components.aggregates.read(without, "consistent").components
    components.promote_aggregate(without, label, source_label="consistent")
    check_names(components, label, without)


def test_another_aggregate_in_the_answer_is_no_success(
    component_dlrn: ComponentDlrn, shaky_components: DlrnClient, component_api: FaultProxy, label: str
) -> None:
    """Somebody else puts one more component under the label at the last moment: DLRN mixes the two."""
    component = component_dlrn.unused()
    build = component_dlrn.aggregate("compute")
    having = component_dlrn.aggregate("compute", component)
    with component_dlrn.client() as other:
        component_api.add(
            Fault(
                "/api/promote-batch",
                "POST",
                through=True,
                effect=lambda: other.promote_aggregate(having, label, source_label="consistent"),
            )
        )
        with pytest.raises(AnswerError, match="instead, made of more or other components than") as caught:
            shaky_components.promote_aggregate(build, label, source_label="consistent")
    mixed = shaky_components.aggregates.label_hash(label)
    assert mixed not in (build, having, None)
    assert f"DLRN promoted {mixed} to {label} instead" in str(caught.value)
    with pytest.raises(ConflictError, match=component):
        shaky_components.promote_aggregate(build, label, source_label="consistent")
    assert len(component_api.seen("POST")) == 1, "once more would make the same mixture"


def test_a_dlrn_that_is_not_in_component_mode_any_more(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    build = component_dlrn.aggregate()
    ini = component_dlrn.tree.parent.parent / "projects.ini"
    text = ini.read_text()
    ini.write_text(text.replace("use_components=true", "use_components=false"))
    try:
        with pytest.raises(AnswerError, match=rf"DLRN promoted [0-9a-f]{{40}}_.* to {label} instead"):
            components.promote_aggregate(build, label, source_label="consistent")
    finally:
        ini.write_text(text)
        (component_dlrn.tree / label).unlink()


@pytest.mark.parametrize("name", ["consistent", "current", "a/b", "../x", "foo bar", "-rf", ""])
def test_labels_that_are_refused_before_dlrn_is_asked(shaky_components: DlrnClient, name: str) -> None:
    with pytest.raises(ConfigError, match="label"):
        shaky_components.promote_aggregate(UNKNOWN, name, source_label="consistent")
    assert shaky_components.requests_made == 0


def test_wrong_login_changes_nothing(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    build = component_dlrn.aggregate()
    facts = component_dlrn.facts
    for changes in (
        {"password": "wrong-secret"},
        {"username": facts.reader_username, "password": facts.reader_password},
    ):
        with component_dlrn.client(**changes) as stranger, pytest.raises(AuthError) as caught:
            stranger.promote_aggregate(build, label, source_label="consistent")
        assert changes["password"] not in str(caught.value)
    check_untouched(components, component_dlrn, label)


@pytest.mark.parametrize("answer", [None, 500, 504])
def test_answer_that_is_lost_after_dlrn_did_it(
    component_dlrn: ComponentDlrn,
    shaky_components: DlrnClient,
    component_api: FaultProxy,
    label: str,
    answer: int | None,
) -> None:
    build = component_dlrn.aggregate()
    component_api.add(Fault("/api/promote-batch", "POST", forward=True, answer=answer))
    row = shaky_components.promote_aggregate(build, label, source_label="consistent")
    check_names(shaky_components, label, build)
    assert len(component_api.seen("POST")) == 1, "it was done: not to be posted again"
    assert list(shaky_components.aggregates.history(label)) == [row]


@pytest.mark.parametrize("answer", [None, 503])
def test_failure_before_dlrn_did_it_is_posted_again(
    component_dlrn: ComponentDlrn,
    shaky_components: DlrnClient,
    component_api: FaultProxy,
    label: str,
    answer: int | None,
) -> None:
    build = component_dlrn.aggregate()
    component_api.add(Fault("/api/promote-batch", "POST", answer=answer))
    row = shaky_components.promote_aggregate(build, label, source_label="consistent")
    check_names(shaky_components, label, build)
    assert len(component_api.seen("POST")) == 2
    assert list(shaky_components.aggregates.history(label)) == [row]


def test_a_promotion_that_stopped_in_the_middle_is_completed(
    component_dlrn: ComponentDlrn, shaky_components: DlrnClient, component_api: FaultProxy, label: str
) -> None:
    """The disk is full: DLRN answers 500 when it has moved a link and cannot write its row."""
    root = component_dlrn.root
    build = component_dlrn.aggregate()
    links: list[int] = []

    def mend() -> None:
        links.append(len(list(component_dlrn.tree.glob(f"component/*/{label}"))))
        dlrn_components.fill_disk(root, False)

    component_api.add(
        Fault("promote-batch", "POST", through=True, effect=lambda: dlrn_components.fill_disk(root, True)),
        Fault("promote-batch", "POST", through=True, effect=mend),
    )
    row = shaky_components.promote_aggregate(build, label, source_label="consistent")
    assert links == [1], "a link of one component, no row and no aggregate"
    check_names(shaky_components, label, build)
    assert list(shaky_components.aggregates.history(label)) == [row]


def test_posts_are_bounded(
    component_dlrn: ComponentDlrn, shaky_components: DlrnClient, component_api: FaultProxy, label: str
) -> None:
    build = component_dlrn.aggregate()
    component_api.add(Fault("/api/promote-batch", "POST", answer=500, times=3))
    with pytest.raises(ServiceError, match=rf"promote-batch of {build} to {label} failed 3 times"):
        shaky_components.promote_aggregate(build, label, source_label="consistent")
    check_untouched(shaky_components, component_dlrn, label)


def test_when_dlrn_cannot_be_asked_what_it_did(
    component_dlrn: ComponentDlrn,
    shaky_components: DlrnClient,
    component_api: FaultProxy,
    component_repo: FaultProxy,
    label: str,
) -> None:
    build = component_dlrn.aggregate()
    component_api.add(
        Fault(
            "/api/promote-batch",
            "POST",
            forward=True,
            effect=lambda: component_repo.add(Fault(f"/{label}/delorean.repo.md5", answer=500, times=3)),
        )
    )
    with pytest.raises(ServiceError, match=r"what it did is not known.*trying again finds out"):
        shaky_components.promote_aggregate(build, label, source_label="consistent")
    shaky_components.promote_aggregate(build, label, source_label="consistent")
    check_names(shaky_components, label, build)


@pytest.mark.parametrize("forward", [False, True])
def test_somebody_else_moves_the_label_while_the_answer_is_lost(
    component_dlrn: ComponentDlrn,
    shaky_components: DlrnClient,
    component_api: FaultProxy,
    label: str,
    forward: bool,
) -> None:
    build, theirs = component_dlrn.aggregate(), component_dlrn.aggregate()
    with component_dlrn.client() as other:
        component_api.add(
            Fault(
                "/api/promote-batch",
                "POST",
                forward=forward,
                effect=lambda: other.promote_aggregate(theirs, label, source_label="consistent"),
            )
        )
        with pytest.raises(ConflictError, match=f"{label} was moved to {theirs} by 'promoter' while {build}"):
            shaky_components.promote_aggregate(build, label, source_label="consistent")
    check_names(shaky_components, label, theirs)
    assert len(component_api.seen("POST")) == 1


def test_a_label_that_moved_since_the_caller_looked_is_left(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    old, build = component_dlrn.aggregate(), component_dlrn.aggregate()
    nothing = components.aggregates.current(label)
    first = components.promote_aggregate(old, label, source_label="consistent", expected=nothing)
    with pytest.raises(ConflictError, match=f"{label} was moved to {old} by 'promoter' since"):
        components.promote_aggregate(build, label, source_label="consistent", expected=nothing)
    check_names(components, label, old)
    components.promote_aggregate(build, label, source_label="consistent", expected=first)
    check_names(components, label, build)
