"""A promotion on real services: complete, refused as a whole, or cut and completed."""

from __future__ import annotations

import hashlib

import pytest

from lab import dlrn as lab_dlrn
from lab.images import kind_of, push_build
from lab.ports import free_port
from rdo_promoter.clients.registry.manifest import DOCKER_LIST, OCI_INDEX
from rdo_promoter.engine import promote
from rdo_promoter.errors import ConflictError, PreflightError, SupersededError, UnfinishedError
from rdo_promoter.model.promotion import Promotion
from tests.engine.rdo import CONTAINERS, IMAGES, PUSH_TO, Rdo

pytestmark = pytest.mark.lab

STEPS = 11


def test_a_promotion_moves_everything_and_keeps_what_was(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
        rdo.promote(build)
    state = rdo.state()
    assert (state.label, state.previous) == (new.full_hash, old.full_hash)
    assert (state.link, state.previous_link) == (new.full_hash, old.full_hash)
    assert (state.mirror_link, state.previous_mirror_link) == (new.full_hash, old.full_hash)
    assert rdo.dlrn.label_hash(rdo.label) == new
    assert state.tags == rdo.tags(new.full_hash)
    for container in CONTAINERS:
        raw = [
            registry.inspect_raw(f"{rdo.namespace(registry.name)}/{container}", rdo.label)
            for registry in rdo.lab.registries
        ]
        assert len(set(raw)) == 1 < len(raw)
        digest = f"sha256:{hashlib.sha256(raw[0]).hexdigest()}"
        assert {state.tags[name][container] for name in state.tags} == {digest}


def test_the_containers_of_these_tests_include_indexes() -> None:
    assert {OCI_INDEX, DOCKER_LIST} < {kind_of(name) for name in CONTAINERS}


def test_the_first_promotion_has_no_previous(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    rdo.promote(build)
    state = rdo.state()
    assert (state.label, state.previous, state.previous_link) == (build.full_hash, None, None)
    assert (state.mirror_link, state.previous_mirror_link) == (build.full_hash, None)


def test_done_twice_it_changes_nothing(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
        rdo.promote(build)
    before = rdo.state()
    assert promote.preflight(rdo.promotion(new), rdo).plan.changes == ()
    rdo.promote(new)
    assert rdo.state() == before


@pytest.mark.parametrize("steps", range(STEPS + 1))
def test_cut_after_any_step_and_started_again_it_ends_in_the_same_state(rdo: Rdo, steps: int) -> None:
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    rdo.promote(new, steps=steps)
    if steps < STEPS - 1:
        assert rdo.state().label == old.full_hash
    rdo.promote(new)
    state = rdo.state()
    assert (state.label, state.previous, state.rows) == (new.full_hash, old.full_hash, 3)
    assert (state.link, state.previous_link) == (new.full_hash, old.full_hash)
    assert (state.mirror_link, state.previous_mirror_link) == (new.full_hash, old.full_hash)
    assert state.tags == rdo.tags(new.full_hash)


def test_a_missing_container_refuses_everything(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    rdo.ci_builds(old)
    rdo.promote(old)
    before = rdo.state()
    rdo.ci_builds(new)
    incomplete = rdo.promotion(new)
    incomplete = Promotion(**{**vars(incomplete), "containers": (*CONTAINERS, "never-built")})
    with pytest.raises(PreflightError) as refused:
        promote.preflight(incomplete, rdo)
    assert refused.value.problems == (
        f"registry rdo: never-built:{new.full_hash} does not exist; let the containers build job push it",
    )
    assert rdo.state() == before


def test_no_step_goes_on_without_a_container_that_has_vanished_from_the_source(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    rdo.promote(build, steps=3)
    wanted = rdo.promotion(build)
    wanted = Promotion(**{**vars(wanted), "containers": (*CONTAINERS, "vanished")})
    for step in (
        lambda: promote.copy_to(wanted, rdo, "dockerhub", None),
        lambda: promote.copy_to(wanted, rdo, "quay", None),
        lambda: promote.tag_in(wanted, rdo, "rdo", None),
        lambda: promote.tag_in(wanted, rdo, "dockerhub", None),
        lambda: promote.tag_in(wanted, rdo, "quay", None),
    ):
        with pytest.raises(PreflightError, match="registry rdo: vanished"):
            step()
    assert rdo.tags(rdo.label) == {name: dict.fromkeys(CONTAINERS) for name in ("rdo", *PUSH_TO)}


def test_every_problem_is_named_at_once(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    folder = rdo.image_root / build.full_hash
    (folder / "overcloud-full.tar").write_bytes(b"cut off")
    (folder / "ironic-python-agent.tar.md5").unlink()
    with pytest.raises(PreflightError) as refused:
        promote.preflight(rdo.promotion(build), rdo)
    first, second = refused.value.problems
    assert f"image server images: {build.full_hash}/overcloud-full.tar has md5 " in first
    assert f"{build.full_hash}/ironic-python-agent.tar has no .md5 file" in second
    assert rdo.state().label is None


def test_a_purged_build_is_refused(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    lab_dlrn.purge(rdo.lab.root, build, flagged=False)
    with pytest.raises(PreflightError, match="was purged, was never built, or is of another release"):
        promote.preflight(rdo.promotion(build), rdo)


def test_a_build_that_never_was_a_candidate_is_refused_while_another_holds_the_label(rdo: Rdo) -> None:
    (old,) = rdo.candidates(1)
    rdo.ci_builds(old)
    rdo.promote(old)
    stranger = rdo.build()
    rdo.ci_builds(stranger)
    with pytest.raises(PreflightError, match=f"never held {rdo.candidate_label}"):
        promote.preflight(rdo.promotion(stranger), rdo)


def test_an_older_build_is_superseded(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(new)
    before = rdo.state()
    with pytest.raises(SupersededError, match=f"superseded by {new.full_hash}") as ended:
        rdo.promote(old)
    assert ended.value.by == new.full_hash
    assert rdo.state() == before


@pytest.mark.parametrize("newer", [True, False])
def test_a_label_moved_by_somebody_else_in_the_middle_is_a_conflict(rdo: Rdo, newer: bool) -> None:
    """Newer or older: something of this promotion is in place already, so it must not end quietly."""
    builds = rdo.candidates(3)
    old, ours, foreign = (builds[0], builds[1], builds[2]) if newer else (builds[1], builds[2], builds[0])
    for build in (old, ours):
        rdo.ci_builds(build)
    rdo.promote(old)
    wanted = rdo.promotion(ours)
    found = promote.preflight(wanted, rdo)
    for name in PUSH_TO:
        promote.copy_to(wanted, rdo, name, found.was)
    promote.tag_in(wanted, rdo, "rdo", found.was)
    promote.link_on(wanted, rdo, "images", found.was)
    rdo.dlrn.promote(foreign, rdo.label)
    before = rdo.state()
    for change in (
        lambda: promote.copy_to(wanted, rdo, "dockerhub", found.was),
        lambda: promote.mirror_to(wanted, rdo, "rh1", found.was),
        lambda: promote.tag_in(wanted, rdo, "dockerhub", found.was),
        lambda: promote.link_on(wanted, rdo, "images", found.was),
        lambda: promote.link_on(wanted, rdo, "rh1", found.was),
        lambda: promote.commit(wanted, rdo, found.was),
        lambda: promote.verify(wanted, rdo),
    ):
        with pytest.raises(ConflictError, match="Nothing more is changed") as conflict:
            change()
    said = str(conflict.value)
    assert foreign.full_hash in said
    assert f"registry rdo: {len(CONTAINERS)} of {len(CONTAINERS)} tags" in said
    assert "image server images: the link" in said
    assert not [name for name in PUSH_TO if f"registry {name}" in said]
    assert rdo.state() == before


def test_an_image_that_vanishes_when_labels_have_moved_is_told_as_unfinished(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    rdo.promote(build, steps=9)
    (rdo.image_root / build.full_hash / IMAGES[0]).unlink()
    with pytest.raises(UnfinishedError) as unfinished:
        promote.commit(rdo.promotion(build), rdo, None)
    assert f"{build.full_hash}/{IMAGES[0]} does not exist" in str(unfinished.value)
    assert unfinished.value.moved == (
        f"registry rdo: {len(CONTAINERS)} of {len(CONTAINERS)} tags",
        f"registry dockerhub: {len(CONTAINERS)} of {len(CONTAINERS)} tags",
        f"registry quay: {len(CONTAINERS)} of {len(CONTAINERS)} tags",
        "image server images: the link",
        "image server rh1: the link",
    )
    assert rdo.state().label is None


def test_a_login_that_may_not_push_is_told_with_what_has_moved(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    rdo.promote(build, steps=5)
    quay = rdo.lab.registries.quay
    assert quay.issuer is not None
    with quay.client(username="reader", password=quay.issuer.password("reader")) as reader:
        rdo._registries["quay"] = reader
        with pytest.raises(UnfinishedError) as unfinished:
            promote.tag_in(rdo.promotion(build), rdo, "quay", None)
    (problem,) = unfinished.value.problems
    assert "gave the login 'reader' does not allow" in problem
    assert f"0 of {len(CONTAINERS)} were finished when the first error ended the rest" in problem
    assert unfinished.value.moved == (f"registry dockerhub: {len(CONTAINERS)} of {len(CONTAINERS)} tags",)


def test_a_conflict_is_told_also_while_a_registry_cannot_be_asked(rdo: Rdo) -> None:
    old, new, foreign = rdo.candidates(3)
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    rdo.promote(new, steps=5)
    rdo.dlrn.promote(foreign, rdo.label)
    # Nothing listens there.
    with rdo.lab.registries.quay.client(retries=0) as dead:
        dead._transport.url = f"https://127.0.0.1:{free_port()}"
        rdo._registries["quay"] = dead
        with pytest.raises(ConflictError, match=f"moved it to {foreign} meanwhile") as conflict:
            promote.link_on(rdo.promotion(new), rdo, "images", old)
    assert [line[4:] for line in str(conflict.value).splitlines() if line.startswith("  - ")] == [
        f"registry dockerhub: {len(CONTAINERS)} of {len(CONTAINERS)} tags",
        "registry quay: not known, it cannot be asked now",
    ]


def test_dlrn_does_not_move_while_a_tag_is_left(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    rdo.promote(build, steps=6)
    with pytest.raises(UnfinishedError, match="not done: rdo: tag mariadb"):
        promote.commit(rdo.promotion(build), rdo, None)
    assert rdo.state().label is None


def test_no_tag_moves_before_the_copies_are_there(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    with pytest.raises(PreflightError, match="not done: dockerhub: copy mariadb"):
        promote.tag_in(rdo.promotion(build), rdo, "dockerhub", None)
    assert rdo.tags(rdo.label)["dockerhub"] == dict.fromkeys(CONTAINERS)


def test_containers_built_again_under_the_same_hash_are_copied_again(rdo: Rdo) -> None:
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    rdo.promote(build, steps=1)
    registry = rdo.registry("rdo")
    other = push_build(registry, rdo.namespace("rdo"), ["nova-api"], f"again-{build.short}", prefix="")
    registry.tag(f"{rdo.namespace('rdo')}/nova-api", other["nova-api"], build.full_hash)
    rdo.promote(build)
    for name in PUSH_TO:
        assert rdo.state().tags[name]["nova-api"] == other["nova-api"]
