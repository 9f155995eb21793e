"""Images of a stage's own in a release file: what they become, and mistakes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdo_promoter.release import load_release
from rdo_promoter.release.promotions import promotion_of
from rdo_promoter.steps import Promote
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
