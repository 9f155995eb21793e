"""The plan: carried out it reaches the desired state; cut anywhere and made again it does so, too."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.plan import (
    Change,
    CopyContainer,
    CopyImage,
    MoveLabel,
    Plan,
    SetLink,
    TagContainer,
    is_untouched,
    plan,
)
from rdo_promoter.model.promotion import (
    DlrnState,
    ImageState,
    Observed,
    Promotion,
    RegistryState,
    ServerState,
    previous_label,
)
from rdo_promoter.model.promotions import PromotionRow
from tests.unit.strategies import CONTAINERS, build_number, observations, promotions

OLD, NEW = build_number(1), build_number(2)
A, B = f"sha256:{1:064x}", f"sha256:{2:064x}"


def carry_out(observed: Observed, change: Change) -> Observed:
    """What the systems look like after a change."""
    match change:
        case CopyContainer(registry, container, digest, _):
            state = observed.registries[registry]
            state = dataclasses.replace(state, by_hash={**state.by_hash, container: digest})
            return dataclasses.replace(observed, registries={**observed.registries, registry: state})
        case TagContainer(registry, container, _, digest, _):
            state = observed.registries[registry]
            state = dataclasses.replace(state, by_label={**state.by_label, container: digest})
            return dataclasses.replace(observed, registries={**observed.registries, registry: state})
        case CopyImage(server, image, _, md5):
            size = observed.servers["images"].images[image].size
            known = observed.servers[server]
            known = dataclasses.replace(known, images={**known.images, image: ImageState(size, md5, md5)})
            return dataclasses.replace(observed, servers={**observed.servers, server: known})
        case SetLink(server, link, target, _):
            known = observed.servers[server]
            if link.startswith("previous-"):
                known = dataclasses.replace(known, previous=target)
            else:
                known = dataclasses.replace(known, link=target, link_exists=True)
            return dataclasses.replace(observed, servers={**observed.servers, server: known})
        case MoveLabel(label, build, _):
            row = PromotionRow(label, build, 2_000)
            if label.startswith("previous-"):
                dlrn = dataclasses.replace(observed.dlrn, previous=row)
            else:
                dlrn = dataclasses.replace(
                    observed.dlrn, holder=row, holder_exists=True, in_tree=build.full_hash
                )
            return dataclasses.replace(observed, dlrn=dlrn)


@given(promotions, observations(whole=True))
def test_carried_out_it_leaves_nothing_to_do_and_everything_agrees(
    promotion: Promotion, observed: Observed
) -> None:
    todo = plan(promotion, observed)
    assert todo.problems == ()
    for change in todo.changes:
        observed = carry_out(observed, change)
    assert plan(promotion, observed).changes == ()
    assert observed.dlrn.holder is not None
    assert observed.dlrn.holder.build == promotion.build
    wanted = observed.registries["rdo"].by_hash
    for name in promotion.registries:
        state = observed.registries[name]
        assert dict(state.by_hash) == dict(state.by_label) == dict(wanted)
    assert {server.link for server in observed.servers.values()} == {promotion.tag}
    assert observed.servers["rh1"].images == observed.servers["images"].images


@given(promotions, observations(whole=True), st.data())
def test_cut_anywhere_and_planned_again_it_ends_in_the_same_state(
    promotion: Promotion, observed: Observed, data: st.DataObject
) -> None:
    undisturbed = observed
    for change in plan(promotion, observed).changes:
        undisturbed = carry_out(undisturbed, change)
    changes = plan(promotion, observed).changes
    for change in changes[: data.draw(st.integers(0, len(changes)))]:
        observed = carry_out(observed, change)
    for change in plan(promotion, observed).changes:
        observed = carry_out(observed, change)
    assert observed == undisturbed


@given(promotions, observations(whole=True))
def test_dlrns_label_is_the_last_change(promotion: Promotion, observed: Observed) -> None:
    """Invariant 1: everything is in place before DLRN's label moves."""
    changes = plan(promotion, observed).changes
    moves = [n for n, change in enumerate(changes) if isinstance(change, MoveLabel)]
    assert moves == list(range(len(changes) - len(moves), len(changes)))
    if moves:
        last = changes[-1]
        assert isinstance(last, MoveLabel)
        assert (last.label, last.build) == (promotion.label, promotion.build)


@given(promotions, observations(whole=True))
def test_no_label_moves_before_every_copy(promotion: Promotion, observed: Observed) -> None:
    changes = plan(promotion, observed).changes
    kinds = [isinstance(change, CopyContainer | CopyImage) for change in changes]
    assert kinds == sorted(kinds, reverse=True)


@given(promotions, observations(whole=True))
def test_previous_names_what_the_label_named(promotion: Promotion, observed: Observed) -> None:
    """Invariant 7, for DLRN and each image server on its own."""
    before = observed
    for change in plan(promotion, observed).changes:
        observed = carry_out(observed, change)
    holder = before.dlrn.holder
    if holder is not None and holder.build != promotion.build and before.dlrn.holder_exists:
        assert observed.dlrn.previous is not None
        assert observed.dlrn.previous.build == holder.build
    else:
        assert observed.dlrn.previous == before.dlrn.previous
    promoted = holder.build.full_hash if holder and holder.build != promotion.build else None
    for name, server in before.servers.items():
        after = observed.servers[name]
        given_up = promoted is not None and promoted == server.previous != server.link
        if server.link not in (None, promotion.tag) and server.link_exists and not given_up:
            assert after.previous == server.link
        else:
            assert after.previous == server.previous


@given(promotions, observations())
def test_nothing_missing_goes_unnoticed(promotion: Promotion, observed: Observed) -> None:
    """Invariant 4: a plan has a problem exactly when something that is needed is not there."""
    missing = any(observed.registries["rdo"].by_hash[name] is None for name in CONTAINERS)
    broken = any(
        image.problem is not None
        for name in promotion.link_on
        for image in observed.servers[name].images.values()
    )
    no_link = any(server.problems for server in observed.servers.values())
    purged = not observed.dlrn.build_exists
    assert bool(plan(promotion, observed).problems) == (missing or broken or no_link or purged)


def test_a_registry_that_should_have_the_containers_already_is_not_pushed_to() -> None:
    promotion = Promotion(NEW, "label", "candidate", "rdo", ("nova-api",), tag_in=("quay",))
    observed = Observed(
        DlrnState(),
        {"rdo": RegistryState({"nova-api": A}), "quay": RegistryState({"nova-api": B}, {})},
    )
    todo = plan(promotion, observed)
    assert todo.copies == ()
    assert todo.problems == (
        (
            f"registry quay: nova-api:{NEW.full_hash} is {B}, expected {A} as in rdo; "
            "push it there, or name quay under push_to"
        ),
    )


def test_previous_never_names_a_build_whose_promotion_was_given_up() -> None:
    """Its link had moved, DLRN's label never did: it is no place to go back to."""
    given_up = build_number(3)
    promotion = Promotion(NEW, "label", "candidate", link_on=("images",), mirror_to=("rh1",))
    given_up_there = ServerState(link=given_up.full_hash, previous=OLD.full_hash)
    observed = Observed(
        DlrnState(holder=PromotionRow("label", OLD, 5), in_tree=OLD.full_hash),
        servers={"images": given_up_there, "rh1": given_up_there},
    )
    assert [str(change) for change in plan(promotion, observed).links] == [
        f"images: link label {given_up.full_hash} -> {NEW.full_hash}",
        f"rh1: link label {given_up.full_hash} -> {NEW.full_hash}",
    ]


def test_previous_stays_when_its_build_is_gone() -> None:
    promotion = Promotion(NEW, "label", "candidate", images=(), link_on=("images",))
    observed = Observed(
        DlrnState(holder=PromotionRow("label", OLD, 5), holder_exists=False, in_tree=OLD.full_hash),
        servers={"images": ServerState(link=OLD.full_hash, link_exists=False)},
    )
    todo = plan(promotion, observed)
    assert [change.link for change in todo.links] == ["label"]
    assert [change.label for change in todo.labels] == ["label"]
    assert todo.notes == (
        f"image server images: previous-label stays, the folder {OLD.full_hash} is gone",
        f"DLRN: previous-label stays, {OLD.full_hash} was purged",
    )


def test_a_link_in_dlrns_tree_that_disagrees_with_its_row_is_mended() -> None:
    promotion = Promotion(NEW, "label", "candidate")
    state = DlrnState(holder=PromotionRow("label", NEW, 5), in_tree=OLD.full_hash)
    assert [change.label for change in plan(promotion, Observed(state)).labels] == ["label"]


WHOLE = ImageState(3, "aa", "aa")


@pytest.mark.parametrize(
    ("source", "mirror", "copied"),
    [
        (WHOLE, WHOLE, False),
        (WHOLE, ImageState(), True),
        (WHOLE, ImageState(3), True),  # moved, but not verified yet
        (WHOLE, ImageState(2, "aa", "aa"), True),
        (WHOLE, ImageState(3, "bb", "bb"), True),  # CI has uploaded another image under the same hash
        (WHOLE, ImageState(3, "aa", "bb"), True),  # what the mirror's disk has made of it
        (ImageState(), WHOLE, False),  # a problem of the source, named there
        (ImageState(3), ImageState(), False),
        (ImageState(3, "aa", "bb"), ImageState(), False),
    ],
)
def test_an_image_is_copied_unless_the_mirror_holds_what_the_source_declares(
    source: ImageState, mirror: ImageState, copied: bool
) -> None:
    promotion = Promotion(
        NEW, "label", "candidate", images=("a.tar",), link_on=("images", "other"), mirror_to=("rh1",)
    )
    states = {"images": source, "other": WHOLE, "rh1": mirror}
    observed = Observed(
        DlrnState(), servers={name: ServerState({"a.tar": state}) for name, state in states.items()}
    )
    todo = plan(promotion, observed)
    assert todo.images == ((CopyImage("rh1", "a.tar", NEW.full_hash, "aa"),) if copied else ())
    problem = source.problem
    assert todo.problems == (
        (f"image server images: {NEW.full_hash}/a.tar {problem}; let the image job upload it again",)
        if problem
        else ()
    )


def test_a_server_with_images_of_its_own_has_to_hold_those_and_no_others() -> None:
    """The image of phase 2 that is built internally is on the internal server alone."""
    promotion = Promotion(
        NEW,
        "label",
        "candidate",
        images=("a.tar",),
        link_on=("images", "internal"),
        own_images={"internal": ("a.tar", "rhel.tar")},
    )
    held = {
        "images": ServerState({"a.tar": WHOLE}),
        "internal": ServerState({"a.tar": WHOLE, "rhel.tar": WHOLE}),
    }
    assert plan(promotion, Observed(DlrnState(), servers=held)).problems == ()
    held["internal"] = ServerState({"a.tar": ImageState(), "rhel.tar": ImageState(3, "aa", "bb")})
    lost, damaged = plan(promotion, Observed(DlrnState(), servers=held)).problems
    assert lost.startswith(f"image server internal: {NEW.full_hash}/a.tar does not exist")
    assert damaged.startswith(f"image server internal: {NEW.full_hash}/rhel.tar has md5 bb, its .md5 file")


def test_a_mirror_holds_the_images_of_its_source() -> None:
    promotion = Promotion(
        NEW,
        "label",
        "candidate",
        link_on=("internal", "images"),
        mirror_to=("rh1",),
        own_images={"internal": ("rhel.tar",)},
    )
    assert [promotion.images_on(name) for name in promotion.servers] == [("rhel.tar",), (), ("rhel.tar",)]
    held = {
        "internal": ServerState({"rhel.tar": WHOLE}),
        "images": ServerState(),
        "rh1": ServerState({"rhel.tar": ImageState()}),
    }
    todo = plan(promotion, Observed(DlrnState(), servers=held))
    assert todo.images == (CopyImage("rh1", "rhel.tar", NEW.full_hash, "aa"),)


def test_no_link_is_planned_where_something_else_has_its_name() -> None:
    promotion = Promotion(NEW, "label", "candidate", link_on=("images",), mirror_to=("rh1",))
    observed = Observed(
        DlrnState(), servers={"images": ServerState(), "rh1": ServerState(problems=("a folder",))}
    )
    todo = plan(promotion, observed)
    assert todo.problems == ("a folder",)
    assert [change.server for change in todo.links] == ["images"]


def test_every_problem_of_an_image_says_what_is_wrong() -> None:
    assert ImageState().problem == "does not exist"
    assert ImageState(3).problem == "has no .md5 file"
    assert ImageState(3, "aa", "bb").problem == "has md5 bb, its .md5 file says aa"
    assert ImageState(3, "aa", "aa").problem is None


def test_summary() -> None:
    todo = Plan(
        images=(CopyImage("rh1", "a.tar", NEW.full_hash, "aa"),),
        labels=(MoveLabel(previous_label("label"), OLD, None), MoveLabel("label", NEW, None)),
    )
    assert todo.summary() == "1 images to copy, 2 DLRN labels to move"
    assert Plan().summary() == "nothing left to do"


@given(promotions, observations(whole=True), st.data())
def test_a_plan_is_untouched_until_something_of_it_is_in_place(
    promotion: Promotion, observed: Observed, data: st.DataObject
) -> None:
    made = plan(promotion, observed)
    assert is_untouched(made, promotion, observed)
    if not made.changes:
        return
    change = data.draw(st.sampled_from(made.changes))
    keeps = previous_label(promotion.label) in (getattr(change, "label", ""), getattr(change, "link", ""))
    assert is_untouched(made, promotion, carry_out(observed, change)) is keeps


def test_what_somebody_else_moved_is_not_taken_for_our_doing() -> None:
    """The label went to a third build, everywhere; of ours nothing is in place."""
    promotion = Promotion(
        *(NEW, "passed", "testing", "rdo", ("nova",)),
        tag_in=("rdo",),
        images=("image",),
        link_on=("images",),
    )
    file = ImageState(5, "m", "m")
    before = Observed(
        DlrnState(PromotionRow("passed", OLD, 1), True, None, True, OLD.full_hash),
        {"rdo": RegistryState({"nova": A}, {"nova": None})},
        {"images": ServerState({"image": file}, OLD.full_hash, True, None)},
    )
    made = plan(promotion, before)
    other = build_number(3)
    after = Observed(
        DlrnState(
            PromotionRow("passed", other, 2),
            True,
            PromotionRow("previous-passed", OLD, 2),
            True,
            other.full_hash,
        ),
        {"rdo": RegistryState({"nova": A}, {"nova": B})},
        {"images": ServerState({"image": file}, other.full_hash, True, OLD.full_hash)},
    )
    assert is_untouched(made, promotion, after)
    # A container that is gone from its source: what became of its tag cannot be told.
    gone = dataclasses.replace(after, registries={"rdo": RegistryState({"nova": None}, {"nova": B})})
    assert not is_untouched(made, promotion, gone)
