"""What goes wrong on the way: lost connections and answers before real registries, and a killed registry.

`FakeRegistry` disturbs single requests; the registry behind it is real.
"""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.images import build_image, push_build, push_image
from lab.registries import LabRegistries, LabRegistry
from lab.registries import registries as lab_registries
from rdo_promoter.clients.registry import CopyItem, copy, digest_of
from rdo_promoter.clients.registry.blobs import ATTEMPTS
from rdo_promoter.clients.registry.manifest import DOCKER_MANIFEST
from rdo_promoter.errors import (
    DigestMismatchError,
    ServiceError,
)
from tests.clients.registry_fixtures import (
    Answer,
    Change,
    Drop,
    FakeRegistry,
    Fault,
    faulty,
    new_namespace,
    running_registries,
)

BUILD = "54480e7142f4ed0ea0bb1a8f3cbbd1e1fb4d4d3d_a6d9b2cf"


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRegistries]:
    with running_registries(tmp_path_factory.mktemp("registries")) as running:
        yield running


@pytest.fixture
def namespace() -> str:
    return new_namespace()


@pytest.mark.parametrize(
    "fault", [Answer(429, headers={"Retry-After": "0"}), Answer(503), Answer(500), Drop()]
)
def test_a_short_trouble_is_not_noticed(registries: LabRegistries, namespace: str, fault: Fault) -> None:
    def once(method: str, path: str, before: int) -> Fault:
        return fault if before == 0 else None

    image = build_image("cron", BUILD)
    with FakeRegistry(once, registries.rdo.service) as fake, faulty(fake) as registry:
        push_image(registry, f"{namespace}/cron", BUILD, image)
        assert registry.tag(f"{namespace}/cron", image.manifest.digest, "current") is True
        assert registry.get(f"{namespace}/cron", "current") == image.manifest


def test_an_answer_that_is_cut_off_is_asked_for_again(registries: LabRegistries, namespace: str) -> None:
    def cut(method: str, path: str, before: int) -> Fault:
        return Drop("within") if method == "GET" and before == 0 else None

    image = build_image("cron", BUILD)
    with FakeRegistry(cut, registries.rdo.service) as fake, faulty(fake) as registry:
        push_image(registry, f"{namespace}/cron", BUILD, image)
        assert registry.get(f"{namespace}/cron", BUILD) == image.manifest
        assert fake.count("GET", "/manifests/") == 2


@pytest.mark.parametrize("fault", [Answer(503, b"<html>later</html>"), Drop(), Drop("within")])
def test_a_long_trouble_is_a_service_error(registries: LabRegistries, namespace: str, fault: Fault) -> None:
    with registries.rdo.client() as registry:
        push_image(registry, f"{namespace}/cron", BUILD, build_image("cron", BUILD))
    with FakeRegistry(lambda *_: fault, registries.rdo.service) as fake, faulty(fake) as registry:
        with pytest.raises(ServiceError, match=f"registry faulty .*get {namespace}/cron:{BUILD}") as failed:
            registry.get(f"{namespace}/cron", BUILD)
        assert failed.value.status == (503 if isinstance(fault, Answer) else None)
        assert fake.count("GET", "/manifests/") == 3


@pytest.mark.parametrize(
    ("fault", "uploads"),
    [(Drop(), 2), (Answer(503), 2), (Drop("after"), 1)],
    ids=["lost", "busy", "lost answer"],
)
def test_a_broken_upload_starts_again_only_when_needed(
    registries: LabRegistries, namespace: str, fault: Fault, uploads: int
) -> None:
    image = build_image("cron", BUILD, kind=DOCKER_MANIFEST)
    layer = image.manifest.blobs[1].digest

    def first(method: str, path: str, before: int) -> Fault:
        return fault if method == "PUT" and layer in path and before == 0 else None

    with FakeRegistry(first, registries.rdo.service) as fake, faulty(fake) as registry:
        push_image(registry, f"{namespace}/cron", BUILD, image)
        assert fake.count("PUT", layer) == uploads
        assert registry.blobs.exists(f"{namespace}/cron", layer)


@pytest.mark.parametrize("code", ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"])
def test_an_upload_that_the_registry_forgets_is_begun_again(
    registries: LabRegistries, namespace: str, code: str
) -> None:
    """Unknown is what was purged, invalid what another secret has signed, as after some restarts."""
    uploads = registries.rdo.folder / "storage/docker/registry/v2/repositories" / namespace / "cron/_uploads"
    answers: list[bytes] = []

    def forget(method: str, path: str, before: int) -> Fault:
        if method != "PUT" or "/blobs/uploads/" not in path or answers:
            return None
        answers.append(b"")
        if code == "BLOB_UPLOAD_UNKNOWN":
            for upload in uploads.iterdir():
                shutil.rmtree(upload)
            return Change(body=remember)
        return Change(path=f"/v2/{namespace}/cron/blobs/uploads/{uuid.uuid4()}?_state=other", body=remember)

    def remember(body: bytes) -> bytes:
        answers[0] = body
        return body

    image = build_image("cron", BUILD)
    with FakeRegistry(forget, registries.rdo.service) as fake, faulty(fake, pool=1) as registry:
        push_image(registry, f"{namespace}/cron", BUILD, image)
        assert registry.get(f"{namespace}/cron", BUILD) == image.manifest
    assert code.encode() in answers[0]


def test_an_upload_that_always_breaks_ends(registries: LabRegistries, namespace: str) -> None:
    def never(method: str, path: str, before: int) -> Fault:
        return Drop() if method == "PUT" else None

    with FakeRegistry(never, registries.rdo.service) as fake, faulty(fake) as registry:
        with pytest.raises(ServiceError, match=f"registry faulty .*put blob {namespace}/cron@sha256:"):
            push_image(registry, f"{namespace}/cron", BUILD, build_image("cron", BUILD))
        assert fake.count("PUT", "/blobs/uploads/") == ATTEMPTS


def test_a_refused_mount_uses_the_upload_that_was_offered(registries: LabRegistries, namespace: str) -> None:
    names = ["a", "b", "c"]

    def no_mount(method: str, path: str, before: int) -> Fault:
        # Without its query the request begins an upload: a real 202, as from a registry that cannot mount.
        return Change(path=path.partition("?")[0]) if method == "POST" and "mount=" in path else None

    with registries.rdo.client() as source:
        digests = push_build(source, namespace, names, BUILD, prefix="")
        target_namespace = new_namespace()
        items = [CopyItem(f"{namespace}/{n}", f"{target_namespace}/{n}", digests[n], BUILD) for n in names]
        with FakeRegistry(no_mount, registries.rdo.service) as fake, faulty(fake) as target:
            report = copy(source, target, items)
            blobs = sum(len(build_image(name, BUILD).manifest.blobs) for name in names)
            assert (report.blobs_moved, report.blobs_mounted) == (blobs, 0)
            assert fake.count("PUT", "/blobs/uploads/") == blobs
            mounts = fake.count("POST", "mount=")
            assert mounts == 4
            assert fake.count("POST", "/blobs/uploads/") == blobs, (
                "each upload began once, the offered ones too"
            )
            for item in items:
                assert target.get(item.target_repository, BUILD).digest == item.digest


@pytest.mark.parametrize("trouble", [None, Answer(503), Answer(429), Answer(501), Drop()])
def test_a_mount_that_is_not_needed_is_cancelled(
    registries: LabRegistries, namespace: str, trouble: Fault
) -> None:
    """Whatever comes of that: the registry forgets it later by itself."""

    def refuse(method: str, path: str, before: int) -> Fault:
        if method == "HEAD" and "/manifests/sha256:" in path:
            return Answer(404)  # so that the blobs are looked at, which are all there
        if method == "DELETE":
            return trouble
        return Change(path=path.partition("?")[0]) if method == "POST" and "mount=" in path else None

    other = new_namespace()
    with registries.rdo.client() as source:
        digests = push_build(source, namespace, ["a", "b"], BUILD, prefix="")
        push_build(source, other, ["a", "b"], BUILD, prefix="")
        items = [CopyItem(f"{namespace}/{n}", f"{other}/{n}", digests[n], "current") for n in ("a", "b")]
        with FakeRegistry(refuse, registries.rdo.service) as fake, faulty(fake, pool=1) as target:
            report = copy(source, target, items)
            assert (report.blobs_moved, report.blobs_skipped) == (0, 8)
            assert fake.count("DELETE", "/blobs/uploads/") >= fake.count("POST", "mount=") == 2


def test_a_source_that_breaks_off_is_read_again(registries: LabRegistries, namespace: str) -> None:
    def cut(method: str, path: str, before: int) -> Fault:
        return Drop("within") if "/blobs/" in path and before == 0 else None

    with registries.rdo.client() as direct, registries.dockerhub.client(backoff=0.01) as target:
        digests = push_build(direct, namespace, ["a"], BUILD, prefix="")
        with FakeRegistry(cut, registries.rdo.service) as fake, faulty(fake) as source:
            copy(source, target, [CopyItem(f"{namespace}/a", f"{namespace}/a", digests["a"], BUILD)])
            assert fake.count("GET", "/blobs/") == 8
        assert target.get(f"{namespace}/a", BUILD).digest == digests["a"]


def test_a_source_that_always_breaks_off_is_blamed(registries: LabRegistries, namespace: str) -> None:
    def cut(method: str, path: str, before: int) -> Fault:
        return Drop("within") if "/blobs/" in path else None

    with registries.rdo.client() as direct, registries.dockerhub.client(backoff=0.01) as target:
        digests = push_build(direct, namespace, ["a"], BUILD, prefix="")
        with (
            FakeRegistry(cut, registries.rdo.service) as fake,
            faulty(fake) as source,
            pytest.raises(ServiceError, match=f"registry faulty .*get blob {namespace}/a@sha256:"),
        ):
            copy(source, target, [CopyItem(f"{namespace}/a", f"{namespace}/a", digests["a"], BUILD)])
        assert target.head(f"{namespace}/a", BUILD) is None


@pytest.mark.parametrize(
    "damage", [lambda body: body[:-1] + b"!", lambda body: body + b"!", lambda body: body[:-1]]
)
def test_damaged_content_is_not_stored(
    registries: LabRegistries, namespace: str, damage: Callable[[bytes], bytes]
) -> None:
    def damaged(method: str, path: str, before: int) -> Fault:
        return Change(body=damage) if "/blobs/" in path else None

    with registries.rdo.client() as direct, registries.dockerhub.client(backoff=0.01) as target:
        digests = push_build(direct, namespace, ["a"], BUILD, prefix="")
        with (
            FakeRegistry(damaged, registries.rdo.service) as fake,
            faulty(fake) as source,
            pytest.raises(DigestMismatchError, match="the content that came for this blob"),
        ):
            copy(source, target, [CopyItem(f"{namespace}/a", f"{namespace}/a", digests["a"], BUILD)])
        assert target.head(f"{namespace}/a", BUILD) is None
        for blob in build_image("a", BUILD).manifest.blobs:
            assert not target.blobs.exists(f"{namespace}/a", blob.digest)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LabRegistry]:
    lab = lab_registries(tmp_path).rdo
    lab.service.start()
    lab.service.wait_ready()
    yield lab
    lab.service.stop()


def test_a_killed_registry_is_a_service_error_and_keeps_what_it_had(own: LabRegistry) -> None:
    image = build_image("cron", BUILD)
    with own.client(retries=1, backoff=0.01) as registry:
        push_image(registry, "team/cron", BUILD, image)
        own.service.stop(signal.SIGKILL)
        actions: tuple[Callable[[], object], ...] = (
            registry.ping,
            lambda: registry.head("team/cron", BUILD),
        )
        for action in actions:
            with pytest.raises(ServiceError, match=rf"registry rdo \({own.url}\): .*refused"):
                action()
        own.service.start()
        own.service.wait_ready()
        assert registry.get("team/cron", BUILD) == image.manifest


def test_a_copy_into_a_registry_that_dies_is_finished_by_the_next(
    registries: LabRegistries, own: LabRegistry, namespace: str
) -> None:
    def kill_at_the_fourth(method: str, path: str, before: int) -> Fault:
        if fake.count("PUT", "/manifests/") == 4:
            own.service.stop(signal.SIGKILL)
        return None

    names = [f"c{number}" for number in range(10)]
    with registries.rdo.client() as source:
        digests = push_build(source, namespace, names, BUILD)
        items = [
            CopyItem(f"{namespace}/{name}", f"team/{name}", digest, BUILD) for name, digest in digests.items()
        ]
        with (
            FakeRegistry(kill_at_the_fourth, own.service) as fake,
            faulty(fake, retries=0, pool=4) as target,
            pytest.raises(ServiceError, match="registry faulty"),
        ):
            copy(source, target, items)
        own.service.start()
        own.service.wait_ready()
        with own.client() as target:
            report = copy(source, target, items)
            assert len(report.copied) + len(report.already) == len(names)
            assert report.copied, "it died before all was copied"
        for name, digest in digests.items():
            assert digest_of(own.inspect_raw(f"team/{name}", BUILD)) == digest
