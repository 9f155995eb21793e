"""Mirrors of images in a release file: what they become, and mistakes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdo_promoter.model.layout import Layout
from rdo_promoter.release import BrokenRelease, load_files, load_release
from rdo_promoter.steps import Promote
from tests.bad_input.release_values import UPSTREAM, Mistake
from tests.unit.releases import changed, problems, write

RH1 = (
    "  rh1:\n"
    "    connection: images_rh1\n"
    "    path: /builds\n"
    "    layout: by_label\n"
    "    names: {ironic-python-agent.tar: ipa_images.tar}\n"
)
GOOD = changed("containers:\n", f"{RH1}containers:\n").replace(
    "link_on: [images]", "link_on: [images], mirror_to: [rh1]"
)
NAMES = "image_servers.rh1.names"
PROMOTE = f"{UPSTREAM}[5].promote"

MISTAKES = [
    Mistake(*row)
    for row in (
        (
            "{ironic-python-agent.tar: ipa",
            "{ironic-pyhton-agent.tar: ipa",
            17,
            f"{NAMES}.ironic-pyhton-agent.tar",
            "no image of the release; did you mean 'ironic-python-agent.tar'?",
        ),
        (
            "ipa_images.tar}",
            "overcloud-full.tar}",
            17,
            f"{NAMES}.ironic-python-agent.tar",
            "'overcloud-full.tar' and 'ironic-python-agent.tar' would both be 'overcloud-full.tar'",
        ),
        (
            "{ironic-python-agent.tar: ipa_images.tar}",
            "{overcloud-full.tar: ironic-python-agent.tar}",
            17,
            f"{NAMES}.overcloud-full.tar",
            "would both be 'ironic-python-agent.tar': name one otherwise",
        ),
        (
            "ipa_images.tar}",
            "sub/ipa_images.tar}",
            17,
            f"{NAMES}.ironic-python-agent.tar",
            "name a file without its folder",
        ),
        (
            "ipa_images.tar}",
            "ipa.md5}",
            17,
            f"{NAMES}.ironic-python-agent.tar",
            "its .md5 file goes with it unnamed",
        ),
        (
            "/rdo_trunk\n",
            "/rdo_trunk\n    names: {overcloud-full.tar: image.tar}\n",
            13,
            "image_servers.images.names",
            "add `layout: by_label` to a mirror",
        ),
        (
            "link_on: [images], mirror_to: [rh1]",
            "link_on: [images, rh1]",
            40,
            f"{PROMOTE}.link_on[1]",
            "which holds what promotions copy to it: write `mirror_to: [rh1]`",
        ),
        (
            "mirror_to: [rh1]",
            "mirror_to: [rh1, images]",
            40,
            f"{PROMOTE}.mirror_to[1]",
            "'images' is no mirror, CI's image job uploads to it: write `link_on: [images]`",
        ),
        (
            "mirror_to: [rh1]",
            "mirror_to: [rh1, rh2]",
            40,
            f"{PROMOTE}.mirror_to[1]",
            "unknown image server 'rh2'; did you mean 'rh1'?",
        ),
        (", mirror_to: [rh1]", "", 13, "image_servers.rh1", "no step uses it"),
    )
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.key}: {mistake.said}")
def test_a_mistake_is_named(tmp_path: Path, mistake: Mistake) -> None:
    assert GOOD.count(mistake.old) == 1
    found = problems(write(tmp_path, GOOD.replace(mistake.old, mistake.new)))
    assert len(found) == 1, found
    assert found[0].startswith(f"releases/good.yaml:{mistake.line}: {mistake.key}: ")
    assert mistake.said in found[0]


def test_a_mirror_needs_a_server_to_copy_from(tmp_path: Path) -> None:
    found = problems(write(tmp_path, GOOD.replace("link_on: [images], ", "")))
    assert [line.split(": ")[1] for line in found] == ["image_servers.images", f"{PROMOTE}.mirror_to"]
    assert "add `link_on:` with the server that the image job uploads to" in found[1]


def test_images_that_nobody_lists_are_not_mirrored(tmp_path: Path) -> None:
    text = GOOD.replace("images: [overcloud-full.tar, ironic-python-agent.tar]\n", "").replace(
        "    names: {ironic-python-agent.tar: ipa_images.tar}\n", ""
    )
    found = problems(write(tmp_path, text))
    assert [line.split(": ")[1] for line in found] == [f"{PROMOTE}.link_on", f"{PROMOTE}.mirror_to"]


def test_what_a_mirror_becomes(tmp_path: Path) -> None:
    release = load_release(write(tmp_path, GOOD))
    step = release.stages[0].steps[-1]
    assert isinstance(step, Promote)
    assert (step.link_on, step.mirror_to) == (("images",), ("rh1",))
    assert "links on `images`; mirrors to `rh1`; DLRN last" in step.describe()
    images, rh1 = release.image_servers["images"].kept, release.image_servers["rh1"].kept
    assert images == Layout()
    assert rh1 == Layout(".builds", {"ironic-python-agent.tar": "ipa_images.tar"})
    assert [rh1.file(image) for image in release.images] == ["overcloud-full.tar", "ipa_images.tar"]
    assert (images.mirror, rh1.mirror) == (False, True)


def test_two_releases_that_move_one_link_are_both_refused(tmp_path: Path) -> None:
    """Their labels are the same by custom; readers of one release would get the other one's images."""
    other = GOOD.replace("release: good", "release: other").replace("centos9-good", "centos9-other")
    paths = [write(tmp_path, GOOD), write(tmp_path, other, name="other.yaml")]
    for broken, file in zip(load_files(paths), ("other", "good"), strict=True):
        assert isinstance(broken, BrokenRelease)
        assert str(broken.error) == (
            f"{broken.file}:1: link /builds/current-good at Connection 'images_rh1' is also that of "
            f"releases/{file}.yaml: they would move it in turns; change image_servers.rh1.path in one of them"
        )
    write(tmp_path, other.replace("/builds", "/builds/{release}"), name="other.yaml")
    assert not any(isinstance(each, BrokenRelease) for each in load_files(paths))
