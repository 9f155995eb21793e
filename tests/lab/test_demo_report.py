"""The demo's view from outside: it says yes only when everything has moved, and what is not so otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import demo_report, image_server, seed
from lab.airflow_api import TaskInstance
from lab.demo import Progress
from lab.images import build_image, push_image
from lab.lab import Lab

W, V = (seed.builds(0)[name].build for name in ("seed-w", "seed-v"))


@pytest.fixture
def promoted(spare_lab: Lab) -> Lab:
    """A lab in which W holds the promoted label, and V held it before."""
    spare_lab.up()
    return spare_lab


def problems(lab: Lab, build: str = W.full_hash, previous: str = V.full_hash) -> list[str]:
    report = demo_report.inspect(lab, build, previous)
    found = [problem for check in report.checks for problem in check.problems]
    assert report.verified == (not found)
    assert (", verified, " in report.last_line(1)) == report.verified
    return found


@pytest.mark.lab
def test_what_was_promoted_is_verified(promoted: Lab) -> None:
    assert problems(promoted) == []
    report = demo_report.inspect(promoted, W.full_hash, V.full_hash)
    assert report.last_line(41.6) == (
        f"promoted {W.full_hash} to current-tripleo: 96 containers on 2 registries, 4 links, verified, 42 s"
    )
    assert re.fullmatch(
        r"promoted \S+ to current-tripleo: \d+ containers on \d+ registries, \d+ links, verified, \d+ s",
        report.last_line(0.4),
    )


@pytest.mark.lab
def test_another_build_is_not_verified_anywhere(promoted: Lab) -> None:
    found = problems(promoted, V.full_hash, W.full_hash)
    assert [line for line in found if "is the repository of" in line]
    assert [line for line in found if "built was nothing" in line]
    assert [line for line in found if line.endswith(f"names {W.full_hash}")]
    assert [line for line in found if line.endswith(f"names .builds/{W.full_hash}")]


@contextmanager
def other_image(lab: Lab, registry_name: str, tag: str) -> Iterator[str]:
    """Let a tag of one container on one registry name another image for a while."""
    registry = getattr(lab.registries, registry_name)
    container = lab.release.containers[3]
    repository = f"{lab.release.namespaces[registry_name]}/{container}"
    with registry.client() as client:
        was = client.head(repository, tag)
        push_image(client, repository, tag, build_image("something-else", "of-another-build"))
        try:
            yield container
        finally:
            client.tag(repository, was.digest, tag)


@pytest.mark.lab
@pytest.mark.parametrize("registry", ["rdo", "dockerhub"])
def test_one_wrong_label_of_one_container_is_found(promoted: Lab, registry: str) -> None:
    with other_image(promoted, registry, "current-tripleo") as container:
        (problem,) = problems(promoted)
        assert problem.startswith(f"{container}:current-tripleo is sha256:")
    assert problems(promoted) == []


@pytest.mark.lab
def test_one_wrong_copy_is_found(promoted: Lab) -> None:
    with other_image(promoted, "dockerhub", W.full_hash) as container:
        (problem,) = problems(promoted)
        assert problem.startswith(f"{container}:{W.full_hash} is sha256:")


@pytest.mark.lab
def test_a_wrong_link_and_a_damaged_image_are_found(promoted: Lab) -> None:
    folder = promoted.image_folder
    link, image = folder / "current-tripleo", folder / W.full_hash / "overcloud-full.tar"
    link.unlink()
    link.symlink_to(V.full_hash)
    try:
        assert problems(promoted) == [f"{link} names {V.full_hash}"]
    finally:
        link.unlink()
        link.symlink_to(W.full_hash)
    content = image.read_bytes()
    image.write_bytes(content[:-1] + b"!")
    try:
        (problem,) = problems(promoted)
        assert f"{link / image.name} has md5" in problem
    finally:
        image.write_bytes(content)
    link.unlink()
    try:
        assert [line for line in problems(promoted) if line.startswith("cannot be read")]
    finally:
        link.symlink_to(W.full_hash)


@pytest.mark.lab
def test_a_wrong_link_and_a_missing_image_of_the_mirror_are_found(promoted: Lab) -> None:
    folder = promoted.mirror_folder
    link, image = folder / "current-tripleo", folder / "current-tripleo" / "ipa_images.tar"
    link.unlink()
    link.symlink_to(W.full_hash)
    try:
        (problem,) = problems(promoted)
        assert problem.startswith("cannot be read")
    finally:
        link.unlink()
        link.symlink_to(f".builds/{W.full_hash}")
    image.rename(image.with_name("ironic-python-agent.tar"))
    try:
        (problem,) = problems(promoted)
        assert "No such file" in problem
    finally:
        image.with_name("ironic-python-agent.tar").rename(image)
    assert problems(promoted) == []


@pytest.mark.lab
def test_a_registry_that_is_down_is_a_problem_not_the_end(promoted: Lab) -> None:
    promoted.registries.dockerhub.service.stop()
    (problem,) = problems(promoted)
    assert problem.startswith("cannot be read")


@pytest.mark.lab
def test_the_images_of_the_seed_are_whole(promoted: Lab) -> None:
    assert image_server.facts(promoted.root).path("master") == str(promoted.image_folder)
    for build in (V, W):
        names = {file.name for file in (promoted.image_folder / build.full_hash).iterdir()}
        assert names == {n for image in promoted.release.images for n in (image, f"{image}.md5")}


def instance(state: str, number: int = 1) -> TaskInstance:
    return TaskInstance("t", state, number, 1, -1, None, None)


def test_progress_tells_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    job = "upstream.periodic-tripleo-ci-centos-7-standalone-master"
    progress.tasks({job: instance("none"), "source.build": instance("running")})
    assert capsys.readouterr().out == ""
    progress.tasks({job: instance("deferred"), "source.build": instance("success")})
    out = capsys.readouterr().out
    assert "waits: standalone-master\n" in out
    assert "done: source.build\n" in out
    progress.tasks({job: instance("deferred"), "source.build": instance("success")})
    assert capsys.readouterr().out == ""
    progress.tasks({job: instance("up_for_retry")})
    assert "failed" in capsys.readouterr().out
    progress.tasks({job: instance("deferred", 2)})
    assert "waits" in capsys.readouterr().out
