"""Images of a stage's own in a release file: what they become, and mistakes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdo_promoter.release import load_release
from rdo_promoter.release.promotions import promotion_of
from rdo_promoter.steps import FetchImages, Promote
from tests.bad_input.release_values import PHASE1, Mistake
from tests.unit.releases import changed, problems, write
from tests.unit.test_plan import NEW

INTERNAL = "  internal:\n    connection: images_internal\n    path: /ci-images/{release}\n"
GOOD_2 = changed("containers:\n", f"{INTERNAL}containers:\n") + (
    "          link_on: [images, internal]\n"
    "          images: {internal: [overcloud-full.tar, overcloud-full-rhel.tar]}\n"
)
PROMOTE = f"{PHASE1}[1].promote"

MISTAKES = [
    Mistake(*row)
    for row in (
        (
            "{internal: [",
            "{interanl: [",
            47,
            f"{PROMOTE}.images.interanl",
            "no server of link_on, whose images alone are looked at; did you mean 'internal'?",
        ),
        (
            "[overcloud-full.tar, overcloud-full-rhel.tar]",
            "[]",
            47,
            f"{PROMOTE}.images.internal",
            "must not be empty: add at least one item",
        ),
        (
            "overcloud-full-rhel.tar]",
            "rhel/overcloud-full.tar]",
            47,
            f"{PROMOTE}.images.internal[1]",
            "name a file without its folder",
        ),
        (
            "{internal: [overcloud-full.tar, overcloud-full-rhel.tar]}",
            "[overcloud-full-rhel.tar]",
            47,
            f"{PROMOTE}.images",
            "a mapping, for example {key: value}",
        ),
    )
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.key}: {mistake.said}")
def test_a_mistake_is_named(tmp_path: Path, mistake: Mistake) -> None:
    assert GOOD_2.count(mistake.old) == 1
    found = problems(write(tmp_path, GOOD_2.replace(mistake.old, mistake.new)))
    assert len(found) == 1, found
    assert found[0].startswith(f"releases/good.yaml:{mistake.line}: {mistake.key}: ")
    assert mistake.said in found[0]


def test_what_a_stage_wants_on_a_server_that_holds_images_of_its_own(tmp_path: Path) -> None:
    release = load_release(write(tmp_path, GOOD_2))
    stage = release.stages[1]
    step = stage.steps[-1]
    assert isinstance(step, Promote)
    assert (
        "overcloud-full.tar, overcloud-full-rhel.tar have to be on `internal`; DLRN last" in step.describe()
    )
    wanted = promotion_of(release, stage, step, NEW)
    assert wanted.images_on("images") == ("overcloud-full.tar", "ironic-python-agent.tar")
    assert wanted.images_on("internal") == ("overcloud-full.tar", "overcloud-full-rhel.tar")


def test_a_release_may_have_images_of_such_servers_alone(tmp_path: Path) -> None:
    text = GOOD_2.replace(", link_on: [images]}", "}").replace("[images, internal]", "[internal]")
    text = text.replace("images: [overcloud-full.tar, ironic-python-agent.tar]\nstages", "stages")
    unused = text.index("  images:\n")
    release = load_release(write(tmp_path, text[:unused] + text[text.index(INTERNAL) :]))
    step = release.stages[1].steps[-1]
    assert isinstance(step, Promote)
    wanted = promotion_of(release, release.stages[1], step, NEW)
    assert wanted.images_on("internal") == ("overcloud-full.tar", "overcloud-full-rhel.tar")


# --- fetch_images ---

FETCH = "      - fetch_images: {from: images, to: internal, images: [overcloud-full.tar], keep: 10}\n"
PHASE1_STEPS = "source: current-good\n    steps:\n"
FETCHING = GOOD_2.replace(PHASE1_STEPS, PHASE1_STEPS + FETCH)
FETCHES = f"{PHASE1}[0].fetch_images"


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("from: images", "from: imgaes", f"{FETCHES}.from", "unknown image server 'imgaes'; did you mean"),
        ("to: internal", "to: rh1", f"{FETCHES}.to", "unknown image server 'rh1'; known: images, internal"),
        ("to: internal", "to: images", f"{FETCHES}.to", "'images' is where the images come from: name an"),
        ("from: images, ", "", f"{FETCHES}.from", "missing: add `from:` here"),
        ("from: images", "form: images", f"{FETCHES}.form", "unknown key; did you mean 'from'?"),
        ("keep: 10", "keep: 0", f"{FETCHES}.keep", "at least 1"),
        ("keep: 10", "keep: 10d", f"{FETCHES}.keep", "a whole number"),
        ("[overcloud-full.tar], keep", "[], keep", f"{FETCHES}.images", "must not be empty: add at least"),
        ("[overcloud-full.tar], keep", "[a/b], keep", f"{FETCHES}.images[0]", "a file without its folder"),
        (
            "path: /ci-images/{release}",
            "path: /ci-images/{release}\n    layout: by_label",
            f"{FETCHES}.to",
            "'internal' is a mirror (layout: by_label), which a promotion fills: write `mirror_to:",
        ),
        (
            "connection: images_internal\n    path: /ci-images/{release}",
            "connection: images_rdo\n    path: /images/centos9/{release}/rdo_trunk",
            f"{FETCHES}.to",
            "'internal' is the same folder as 'images': change image_servers.internal",
        ),
        (
            FETCH,
            FETCH + FETCH.replace("{from", "{name: again, from"),
            f"{PHASE1}[1].fetch_images.to",
            f"{FETCHES} fills that folder already, and both would count on the same room: name all `images:`",
        ),
    ],
)
def test_a_mistake_in_a_copy_is_named(tmp_path: Path, old: str, new: str, key: str, said: str) -> None:
    text = FETCHING.replace(", internal]", "]").replace(GOOD_2[GOOD_2.index("          images: {int") :], "")
    assert text.count(old) == 1
    found = [
        line for line in problems(write(tmp_path, text.replace(old, new))) if " no step uses" not in line
    ]
    assert len(found) == 1, found
    assert f": {key}: " in found[0]
    assert said in found[0]


def test_a_copy_without_images_of_its_own_takes_those_of_the_release(tmp_path: Path) -> None:
    text = FETCHING.replace("images: [overcloud-full.tar], keep", "keep")
    release = load_release(write(tmp_path, text))
    step = release.stages[1].steps[0]
    assert isinstance(step, FetchImages)
    assert (step.from_, step.to, step.images, step.keep) == ("images", "internal", None, 10)
    assert step.describe() == (
        "copies the images from `images` to `internal`, where the 10 newest builds and those that links name "
        "stay"
    )


def test_a_copy_in_a_release_without_images_has_to_name_some(tmp_path: Path) -> None:
    text = FETCHING.replace("images: [overcloud-full.tar], keep", "keep")
    text = text.replace("images: [overcloud-full.tar, ironic-python-agent.tar]\nstages", "stages")
    said = [line for line in problems(write(tmp_path, text)) if "fetch_images" in line]
    assert len(said) == 1
    assert said[0].endswith("the release has no images: add `images:` here, or to the release")
