"""Questions about aggregates to a real DLRN in component mode."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import dlrn_components
from lab.dlrn_orders import PastAggregate
from lab.faults import Fault, FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AnswerError, NotFoundError
from rdo_promoter.model.aggregate import Aggregate
from rdo_promoter.model.build import AggregateHash, DlrnHash
from tests.clients.component_lab import COMPONENTS, ComponentDlrn

pytest_plugins = ["tests.clients.component_fixtures"]
pytestmark = pytest.mark.lab

UNKNOWN = AggregateHash("0" * 32)
LOG = "https://logs.example.org/a1b2c3d"


def swap(file: Path, target: Path) -> None:
    """Let a link name something else, as DLRN does."""
    fresh = file.with_name(f"{file.name}_")
    fresh.symlink_to(os.path.relpath(target, file.parent))
    fresh.rename(file)


def test_consistent_and_what_it_is_made_of(component_dlrn: ComponentDlrn, components: DlrnClient) -> None:
    built = {build.component: build for build in component_dlrn.add("network", "common")}
    (built["compute"],) = component_dlrn.add("compute", extended=True)
    build = components.aggregates.consistent()
    aggregate = components.aggregates.read(build, "consistent")
    assert aggregate.build == build
    assert aggregate.components == tuple(sorted(aggregate.components))
    members = {member.component: member for member in aggregate.members}
    assert {name: members[name] for name in COMPONENTS} == built
    # commit.yaml spells both as strings.
    assert members["common"].extended_hash is None
    assert members["compute"].extended_hash is not None
    for member in aggregate.members:
        assert components.label_hash(f"component/{member.component}/consistent") == member
    components.aggregates.check_whole(aggregate)


def test_everything_is_asked_at_the_address_that_we_were_given(
    shaky_components: DlrnClient, component_repo: FaultProxy, component_dlrn: ComponentDlrn
) -> None:
    """The file names the tree's own address, which need not be ours."""
    assert component_dlrn.facts.repo_url != shaky_components.repo_url
    aggregate = shaky_components.aggregates.read(shaky_components.aggregates.consistent(), "consistent")
    assert len(component_repo.seen("GET", "/commit.yaml")) == len(aggregate.members) >= len(COMPONENTS)


def test_consistent_moves_on_between_the_two_questions(
    component_dlrn: ComponentDlrn, shaky_components: DlrnClient, component_repo: FaultProxy
) -> None:
    old = component_dlrn.aggregate("compute")
    new: list[AggregateHash] = []
    component_repo.add(
        Fault(
            f"/consistent/{old.path}/delorean.repo",
            through=True,
            effect=lambda: new.append(component_dlrn.aggregate("compute")),
        )
    )
    assert shaky_components.aggregates.consistent() == old
    assert [shaky_components.aggregates.consistent()] == new != [old]


def test_the_two_files_of_a_label_are_of_two_aggregates_for_a_moment(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    """DLRN swaps the list first and its md5 second; the md5 decides, and the list is read where it stays."""
    old, new = component_dlrn.aggregate("compute"), component_dlrn.aggregate("compute")
    components.promote_aggregate(new, label, source_label="consistent")
    components.promote_aggregate(old, label, source_label="consistent")
    folder = component_dlrn.tree / label
    swap(folder / "delorean.repo", folder / new.path / "delorean.repo")
    assert components.aggregates.label_hash(label) == old
    assert components.aggregates.read(old, label).build == old


@pytest.mark.parametrize("file", ["delorean.repo.md5", "{path}/delorean.repo"])
def test_a_file_that_is_just_being_written_is_read_again(
    component_dlrn: ComponentDlrn, shaky_components: DlrnClient, component_repo: FaultProxy, file: str
) -> None:
    """An aggregate that is made once more is written anew in its place."""
    build = component_dlrn.aggregate("compute")
    written = component_dlrn.tree / "consistent" / file.format(path=build.path)
    content = written.read_bytes()
    path = f"/consistent/{file.format(path=build.path)}"
    component_repo.add(
        Fault(path, through=True, effect=lambda: written.write_bytes(b"")),
        Fault(path, through=True, effect=lambda: written.write_bytes(content)),
    )
    assert shaky_components.aggregates.consistent() == build


def test_a_list_that_was_changed_is_refused(component_dlrn: ComponentDlrn, components: DlrnClient) -> None:
    build = component_dlrn.aggregate("compute")
    file = component_dlrn.tree / "consistent" / build.path / "delorean.repo"
    file.write_bytes(file.read_bytes() + b"\n")
    for ask in (components.aggregates.consistent, lambda: components.aggregates.read(build, "consistent")):
        with pytest.raises(AnswerError, match="was changed after DLRN wrote it; take another build"):
            ask()
    component_dlrn.add("compute")


def test_a_label_that_names_no_aggregate(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    assert components.aggregates.label_hash(label) is None
    folder = component_dlrn.tree / label
    folder.mkdir()
    (folder / "delorean.repo.md5").write_text("<html>maintenance</html>")
    with pytest.raises(
        AnswerError, match=f"{label}/delorean.repo.md5 is '<html>maintenance</html>' and no md5"
    ):
        components.aggregates.label_hash(label)


def test_a_tree_without_aggregates(component_dlrn: ComponentDlrn) -> None:
    with (
        component_dlrn.client(repo_url=f"{component_dlrn.facts.repo_url}/component/common") as components,
        pytest.raises(NotFoundError, match="whether this DLRN has components"),
    ):
        components.aggregates.consistent()


def test_consistent_whose_directory_was_removed(
    component_dlrn: ComponentDlrn, components: DlrnClient
) -> None:
    build = component_dlrn.aggregate("compute")
    (component_dlrn.tree / "consistent" / build.path / "delorean.repo").unlink()
    with pytest.raises(NotFoundError, match=f"{build}: .*/consistent names it, but it has no directory"):
        components.aggregates.consistent()
    component_dlrn.add("compute")


def test_an_unknown_aggregate(components: DlrnClient, label: str) -> None:
    assert not components.aggregates.has_directory(UNKNOWN, "consistent")
    assert components.aggregates.entries(label, UNKNOWN) == []
    assert components.votes(UNKNOWN) == []
    with pytest.raises(NotFoundError, match=f"{UNKNOWN} is not under consistent below .*: it never held"):
        components.aggregates.read(UNKNOWN, "consistent")


@pytest.mark.parametrize("flagged", [True, False])
def test_an_aggregate_of_which_a_build_was_purged(
    component_dlrn: ComponentDlrn, components: DlrnClient, flagged: bool
) -> None:
    build = component_dlrn.aggregate("network", "compute")
    compute, network = (
        member
        for member in components.aggregates.read(build, "consistent").members
        if member.component in ("compute", "network")
    )
    component_dlrn.add("network", "compute")
    for member in (network, compute):
        dlrn_components.purge(component_dlrn.root, member, flagged=flagged)
    with pytest.raises(
        NotFoundError, match=f"{build}: its {compute.path}, {network.path} are not below .*newer"
    ):
        components.aggregates.read(build, "consistent")
    assert components.aggregates.has_directory(build, "consistent"), "the list itself is still there"


def test_a_repository_that_was_changed_makes_another_aggregate(
    component_dlrn: ComponentDlrn, components: DlrnClient
) -> None:
    aggregate = components.aggregates.read(component_dlrn.aggregate("compute"), "consistent")
    file = component_dlrn.tree / aggregate.members[0].path / "delorean.repo"
    content = file.read_bytes()
    file.write_bytes(content + b"cost=1\n")
    with pytest.raises(AnswerError, match=f"{aggregate.build}: the repositories of its components .* make"):
        components.aggregates.check_whole(aggregate)
    file.unlink()
    with pytest.raises(NotFoundError, match=aggregate.members[0].path):
        components.aggregates.check_whole(aggregate)
    file.write_bytes(content)


def test_a_directory_of_another_build_is_refused(
    component_dlrn: ComponentDlrn, components: DlrnClient
) -> None:
    build = component_dlrn.aggregate("compute")
    common, compute = (
        component_dlrn.tree / member.path / "commit.yaml"
        for member in components.aggregates.read(build, "consistent").members
        if member.component in ("common", "compute")
    )
    own = compute.read_text()
    compute.write_text(common.read_text())
    with pytest.raises(
        AnswerError, match=r"compute/.*/commit.yaml is of build .*, whose directory is component/common"
    ):
        components.aggregates.read(build, "consistent")
    compute.write_text(own)


def test_a_promotion_of_an_aggregate_is_one_row(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    """DLRN writes a row a component, of which the last alone names the aggregate."""
    builds = [component_dlrn.add(*COMPONENTS) for _ in range(3)]
    now = components.now()
    first, second, third = dlrn_components.add_promotions(
        component_dlrn.root,
        [PastAggregate(made, label, now - 3600 * (3 - n)) for n, made in enumerate(builds)],
    )
    assert len(components.promotions(label)) == 3 * len(COMPONENTS)
    rows = list(components.aggregates.history(label))
    assert [(row.build, row.timestamp) for row in rows] == [
        (third, now - 3600),
        (second, now - 7200),
        (first, now - 10800),
    ]
    assert components.aggregates.newest(label, 2) == rows[:2]
    assert components.aggregates.current(label) == rows[0]
    assert components.aggregates.entries(label, second) == components.entries(label, second) == [rows[1]]
    assert [row.build for row in components.promotions(build=first)] == [first]
    assert components.aggregates.label_hash(label) == third


def test_a_label_that_nobody_promoted_to(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    assert components.aggregates.current(label) is None
    assert components.aggregates.newest(label, 3) == list(components.aggregates.history(label)) == []


def test_one_component_that_is_promoted_alone_makes_an_aggregate_as_well(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    """As a component's pipeline does it (``promoted-components``)."""
    (common,), (compute,) = component_dlrn.add("common"), component_dlrn.add("compute")
    for build in (common, compute):
        components._api.post(
            "promote",
            {"commit_hash": build.commit_hash, "distro_hash": build.distro_hash, "promote_name": label},
        )
    newest, before = components.aggregates.newest(label, 5)
    assert newest.build == components.aggregates.label_hash(label) != before.build
    assert isinstance(newest.build, AggregateHash)
    assert components.aggregates.read(newest.build, label) == Aggregate(newest.build, (common, compute))


def test_an_aggregate_lives_under_the_labels_that_it_has_held(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    build = component_dlrn.aggregate()
    assert not components.aggregates.has_directory(build, label)
    components.promote_aggregate(build, label, source_label="consistent")
    later = component_dlrn.aggregate()
    components.promote_aggregate(later, label, source_label="consistent")
    for place in (label, "consistent", "current"):
        assert components.aggregates.has_directory(build, place)
    assert components.aggregates.read(build, label) == components.aggregates.read(build, "consistent")
    with pytest.raises(NotFoundError, match="take a label that it has held"):
        components.aggregates.read(build, f"{label}-other")


def test_votes_on_an_aggregate(component_dlrn: ComponentDlrn, components: DlrnClient, label: str) -> None:
    build = component_dlrn.aggregate()
    with pytest.raises(NotFoundError, match="aggregate_hash not found"):
        components.report_vote(build, "job-a", True, LOG)
    components.promote_aggregate(build, label, source_label="consistent")
    vote = components.report_vote(build, "job-a", True, LOG)
    assert components.votes(build) == [vote]
    assert (vote.job, vote.success, vote.user) == ("job-a", True, "promoter")
    other = component_dlrn.aggregate()
    components.promote_aggregate(other, label, source_label="consistent")
    assert components.votes(other) == [], "a vote for one hash never serves another"
    for member in components.aggregates.read(build, label).members:
        assert "job-a" not in {one.job for one in components.votes(member)}


def test_a_tick_with_nothing_new_is_three_questions(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    build = component_dlrn.aggregate("compute")
    components.promote_aggregate(build, label, source_label="consistent")
    before = components.requests_made
    assert components.aggregates.entries(label, components.aggregates.consistent())
    assert components.requests_made - before == 3


def test_entries_of_a_component(component_dlrn: ComponentDlrn, components: DlrnClient, label: str) -> None:
    """Asked for one component's build, DLRN tells of that."""
    build = component_dlrn.aggregate("compute")
    row = components.promote_aggregate(build, label, source_label="consistent")
    for member in components.aggregates.read(build, label).members:
        assert isinstance(member, DlrnHash)
        assert [(one.build, one.timestamp) for one in components.entries(label, member)] == [
            (member, row.timestamp)
        ]
