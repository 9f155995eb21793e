"""Promotions in a real DLRN, also when its answers are lost."""

from __future__ import annotations

import json

import pytest

from lab import dlrn
from lab.faults import Fault, FaultProxy
from lab.service import wait_for
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    ConflictError,
    NotFoundError,
    ServiceError,
)
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.promotions import PromotionRow
from tests.clients.dlrn_lab import LabDlrn

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab

LONG = "1" * 40 + "_" + "e" * 40


def wait_until_after(row: PromotionRow, client: DlrnClient) -> None:
    """Wait for DLRN's clock: rows have no id, so two of a build in one second are one to their readers."""
    wait_for(lambda: client.now() > row.timestamp, "DLRN's clock is a second on")


@pytest.mark.parametrize(
    "extended", [False, "20180115", "rhel-8.1_z", "a" * 40, "b" * 48, LONG], ids=["none", *"12345"]
)
def test_promote(lab_dlrn: LabDlrn, client: DlrnClient, label: str, extended: bool | str) -> None:
    build = lab_dlrn.add(extended=extended)
    row = client.promote(build, label)
    assert (row.build, row.label, row.user) == (build, label, "promoter")
    assert abs(row.timestamp - client.now()) <= 2
    assert client.current(label) == row
    assert client.label_hash(label) == build
    assert client.entries(label, build) == [row]


def test_promoting_twice_is_two_rows_of_the_same_build(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    client.promote(build, label)
    client.promote(build, label)
    assert [row.build for row in client.promotions(label)] == [build, build]
    assert client.label_hash(label) == build


def test_moves_on_and_back(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    older, newer = lab_dlrn.build(), lab_dlrn.build()
    for build in (older, newer, older):
        row = client.promote(build, label)
        assert client.label_hash(label) == build
        wait_until_after(row, client)
    assert [row.build for row in client.promotions(label)] == [older, newer, older]
    assert len(client.entries(label, older)) == 2


def test_purged_build_changes_nothing(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    build = lab_dlrn.build(extended=True)
    assert client.has_directory(build)
    dlrn.purge(lab_dlrn.root, build)
    assert not client.has_directory(build)
    with pytest.raises(NotFoundError, match=r"purged.*nothing was changed"):
        client.promote(build, label)
    assert client.promotions(label) == []
    assert client.label_hash(label) is None


def test_build_whose_directory_was_lost_makes_no_dangling_link(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    dlrn.purge(lab_dlrn.root, build, flagged=False)
    with pytest.raises(NotFoundError, match="dangling"):
        client.promote(build, label)
    assert not (dlrn.tree_folder(lab_dlrn.root) / label).is_symlink()


def test_build_that_dlrn_knows_as_purged(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    build = lab_dlrn.build()
    dlrn.purge(lab_dlrn.root, build)
    folder = dlrn.tree_folder(lab_dlrn.root) / build.path
    folder.mkdir()
    (folder / "delorean.repo").touch()
    with pytest.raises(NotFoundError, match=r"410.*purged"):
        client.promote(build, label)
    assert client.promotions(label) == []


def test_unknown_and_failed_builds(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    failed = lab_dlrn.add(project=f"broken-{label}", failed=True)
    lab_dlrn.add(project=f"broken-{label}")
    for build in (DlrnHash("0" * 40, "1" * 40), failed):
        with pytest.raises(NotFoundError, match="no successful build"):
            client.promote(build, label)
    with pytest.raises(NotFoundError):
        client.promote(DlrnHash("0" * 40, "1" * 40, "x" * 40), label)
    assert client.promotions(label) == []


def test_build_that_dlrn_would_mistake_for_a_newer_one(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    plain = lab_dlrn.add(name=label)
    extended = lab_dlrn.add(name=label, extended="20180115")
    assert (plain.commit_hash, plain.distro_hash) == (extended.commit_hash, extended.distro_hash)
    with pytest.raises(AnswerError, match="20180115"):
        client.promote(plain, label)
    assert client.promotions(label) == []
    assert client.promote(extended, label).build == extended


def test_mistaken_build_that_nobody_voted_on_is_noticed_in_the_answer(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    # A package that does not build: the builds get no `consistent` vote, which would give them away.
    lab_dlrn.add(project=f"broken-{label}", failed=True)
    plain = lab_dlrn.add(name=label)
    lab_dlrn.add(name=label, extended="20180115")
    lab_dlrn.add(project=f"broken-{label}")
    with pytest.raises(AnswerError, match="instead"):
        client.promote(plain, label)


@pytest.mark.parametrize(
    "name",
    ["consistent", "current", "a/b", "../x", "foo bar", "-rf", "", "x\n", f"{'a' * 40}_{'b' * 8}"],
)
def test_labels_that_are_refused_before_dlrn_is_asked(
    shaky: DlrnClient, api_proxy: FaultProxy, name: str
) -> None:
    with pytest.raises(ConfigError, match="label"):
        shaky.promote(DlrnHash("0" * 40, "1" * 40), name)
    assert api_proxy.seen() == []
    assert shaky.requests_made == 0


def test_one_component_is_refused(client: DlrnClient, label: str) -> None:
    with pytest.raises(ConfigError, match="aggregate"):
        client.promote(DlrnHash("0" * 40, "1" * 40, component="compute"), label)
    assert client.requests_made == 0


@pytest.mark.parametrize(
    "changes", [{"password": "wrong-secret"}, {"username": "nobody"}, {"password": None}]
)
def test_wrong_login_changes_nothing(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str, changes: dict[str, str | None]
) -> None:
    build = lab_dlrn.build()
    with lab_dlrn.client(**changes) as stranger, pytest.raises(AuthError) as caught:
        stranger.promote(build, label)
    assert "wrong-secret" not in str(caught.value)
    assert lab_dlrn.facts.password not in str(caught.value)
    assert client.promotions(label) == []


def test_request_has_the_form_that_every_dlrn_takes(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str
) -> None:
    plain, extended = lab_dlrn.build(), lab_dlrn.build(extended=True)
    shaky.promote(plain, label)
    shaky.promote(extended, label)
    posts = api_proxy.seen("POST")
    assert [post.headers["Content-Type"] for post in posts] == ["application/json"] * 2
    assert "extended_hash" not in json.loads(posts[0].body)
    assert json.loads(posts[1].body)["extended_hash"] == extended.extended_hash
    for get in api_proxy.seen("GET"):
        assert "Content-Type" not in get.headers
        assert "Authorization" not in get.headers
        assert get.body == b""
    assert all("limit=" in get.path for get in api_proxy.seen("GET", "/api/promotions"))


@pytest.mark.parametrize("answer", [None, 500, 502, 504])
def test_answer_that_is_lost_after_dlrn_did_it(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str, answer: int | None
) -> None:
    build = lab_dlrn.build()
    api_proxy.add(Fault("/api/promote", "POST", forward=True, answer=answer))
    row = shaky.promote(build, label)
    assert (row.build, shaky.label_hash(label)) == (build, build)
    assert len(api_proxy.seen("POST")) == 1, "it was done: not to be posted again"
    assert shaky.promotions(label) == [row]


@pytest.mark.parametrize("answer", [None, 500, 503])
def test_failure_before_dlrn_did_it_is_posted_again(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str, answer: int | None
) -> None:
    for build in (lab_dlrn.build(), lab_dlrn.build()):
        posts = len(api_proxy.seen("POST"))
        before = shaky.promotions(label)
        api_proxy.add(Fault("/api/promote", "POST", answer=answer))
        row = shaky.promote(build, label)
        assert (row.build, shaky.label_hash(label)) == (build, build)
        assert shaky.promotions(label) == [row, *before]
        assert len(api_proxy.seen("POST")) == posts + 2


def test_link_that_moved_without_a_row_is_completed(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str
) -> None:
    build = lab_dlrn.build()
    link = dlrn.tree_folder(lab_dlrn.root) / label
    api_proxy.add(Fault("/api/promote", "POST", answer=500, effect=lambda: link.symlink_to(build.path)))
    assert shaky.promote(build, label).build == build
    assert len(api_proxy.seen("POST")) == 2
    assert len(shaky.promotions(label)) == 1


def test_row_alone_does_not_count_when_the_link_names_another_build(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str
) -> None:
    build, theirs = lab_dlrn.build(), lab_dlrn.build()
    shaky.promote(build, label)
    # A promotion of theirs moved the link and then failed to write its row.
    link = dlrn.tree_folder(lab_dlrn.root) / label
    link.unlink()
    link.symlink_to(theirs.path)
    api_proxy.add(Fault("/api/promote", "POST", answer=500))
    shaky.promote(build, label)
    assert shaky.label_hash(label) == build
    assert [row.build for row in shaky.promotions(label)] == [build, build]


def test_posts_are_bounded(lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str) -> None:
    build = lab_dlrn.build()
    api_proxy.add(Fault("/api/promote", "POST", answer=500, times=3))
    with pytest.raises(ServiceError, match="3 times") as caught:
        shaky.promote(build, label)
    assert caught.value.status == 500
    assert "<" not in str(caught.value), "no HTML in messages"
    assert shaky.promotions(label) == []


def test_when_dlrn_cannot_be_asked_what_it_did(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str
) -> None:
    build = lab_dlrn.build()
    shaky.promote(lab_dlrn.build(), label)
    api_proxy.add(
        Fault("/api/promote", "POST", forward=True),
        # The look before the post is let through; the looks after it are not.
        Fault("/api/promotions", through=True),
        Fault("/api/promotions", answer=500, times=3),
    )
    with pytest.raises(ServiceError, match="not known"):
        shaky.promote(build, label)
    assert shaky.promote(build, label).build == build, "trying again settles it"


@pytest.mark.parametrize("forward", [False, True])
def test_somebody_else_moves_the_label_while_the_answer_is_lost(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str, forward: bool
) -> None:
    build, theirs = lab_dlrn.build(), lab_dlrn.build(extended=True)
    with lab_dlrn.client() as other:
        api_proxy.add(
            Fault("/api/promote", "POST", forward=forward, effect=lambda: other.promote(theirs, label))
        )
        with pytest.raises(ConflictError, match="by 'promoter'"):
            shaky.promote(build, label)
    assert shaky.label_hash(label) == theirs, "their promotion stands"
    assert len(api_proxy.seen("POST")) == 1


def test_somebody_else_moves_the_label_right_after(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, label: str
) -> None:
    build, theirs = lab_dlrn.build(), lab_dlrn.build(extended=True)
    with lab_dlrn.client() as other:
        api_proxy.add(
            Fault("/api/promotions", through=True),
            Fault("/api/promotions", through=True, effect=lambda: other.promote(theirs, label)),
        )
        with pytest.raises(ConflictError, match="somebody else"):
            shaky.promote(build, label)
    assert shaky.label_hash(label) == theirs


def test_a_label_that_moved_since_the_caller_looked_is_left(
    lab_dlrn: LabDlrn, shaky: DlrnClient, repo_proxy: FaultProxy, label: str
) -> None:
    """Somebody else moves it while the client looks whether the build can be promoted."""
    old, build, theirs = lab_dlrn.build(), lab_dlrn.build(), lab_dlrn.build(extended=True)
    nothing = shaky.current(label)
    with lab_dlrn.client() as other:
        first = other.promote(old, label)
        with pytest.raises(ConflictError, match=f"{label} was moved to {old} by 'promoter' since"):
            shaky.promote(build, label, expected=nothing)
        repo_proxy.add(
            Fault("/delorean.repo", "HEAD", through=True, effect=lambda: other.promote(theirs, label))
        )
        with pytest.raises(ConflictError, match=f"{label} was moved to {theirs} by 'promoter' since"):
            shaky.promote(build, label, expected=first)
    assert [row.build for row in shaky.promotions(label)] == [theirs, old]
    assert shaky.label_hash(label) == theirs
    assert shaky.promote(build, label, expected=shaky.current(label)).build == build
