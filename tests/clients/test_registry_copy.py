"""Copying between two real registries: plain to TLS with basic auth, byte for byte, each blob once."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from lab import overlay
from lab.images import Image, build_image, build_index, push_build, push_image
from lab.registries import LabRegistries
from lab.service import wait_for
from rdo_promoter.clients.registry import (
    CopyItem,
    Descriptor,
    Manifest,
    Registry,
    copy,
    digest_of,
    heads,
    parse_manifest,
)
from rdo_promoter.clients.registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES
from rdo_promoter.errors import ConfigError, NotFoundError
from tests.clients.registry_fixtures import Seen, new_namespace, running_registries, seen

BUILD = "54480e7142f4ed0ea0bb1a8f3cbbd1e1fb4d4d3d_a6d9b2cf"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRegistries]:
    with running_registries(tmp_path_factory.mktemp("registries")) as running:
        yield running


@pytest.fixture
def source(registries: LabRegistries) -> Iterator[Registry]:
    with registries.rdo.client() as client:
        yield client


@pytest.fixture
def target(registries: LabRegistries) -> Iterator[Registry]:
    with registries.dockerhub.client() as client:
        yield client


@pytest.fixture
def namespace() -> str:
    return new_namespace()


def items(namespace: str, digests: dict[str, str], tag: str = BUILD) -> list[CopyItem]:
    return [
        CopyItem(f"{namespace}/{name}", f"{namespace}/{name}", digest, tag)
        for name, digest in digests.items()
    ]


def writes(registries: LabRegistries, namespace: str) -> list[Seen]:
    """Return all writes to the target; a request that ends after all of them is in the log by then."""
    with registries.dockerhub.client() as registry:
        marker = new_namespace()
        registry.head(f"{namespace}/marker", marker)
    lab = registries.dockerhub
    wait_for(
        lambda: any(marker in each.path for each in seen(lab, namespace)), "the access log has the marker"
    )
    return [each for each in seen(lab, namespace) if each.writes]


@pytest.mark.parametrize("kind", MANIFEST_TYPES)
def test_each_kind_is_copied_byte_for_byte(
    registries: LabRegistries, source: Registry, target: Registry, namespace: str, kind: str
) -> None:
    image = build_image("nova-api", BUILD, kind=kind)
    push_image(source, f"{namespace}/from", BUILD, image)
    item = CopyItem(f"{namespace}/from", f"{namespace}/to/nova-api", image.manifest.digest, "current")
    assert copy(source, target, [item]).copied == (item,)
    assert registries.dockerhub.inspect_raw(item.target_repository, "current") == image.manifest.body
    for child in image.children:
        stored = registries.dockerhub.inspect_raw(item.target_repository, child.manifest.digest)
        assert stored == child.manifest.body
    for part in (image, *image.children):
        for digest, content in part.content.items():
            assert target.blobs.exists(item.target_repository, digest)
            with target.blobs.open(item.target_repository, Descriptor(digest, "", len(content))) as chunks:
                assert b"".join(chunks) == content


def test_an_index_of_indexes_is_copied_from_the_bottom_up(
    registries: LabRegistries, source: Registry, target: Registry, namespace: str
) -> None:
    inner = build_image("inner", BUILD, kind=DOCKER_LIST)
    nested = build_index([build_index([inner]), build_image("plain", BUILD, kind=DOCKER_MANIFEST)])
    push_image(source, f"{namespace}/nested", BUILD, nested)
    copy(source, target, items(namespace, {"nested": nested.manifest.digest}))
    for image in (nested, inner, inner.children[1]):
        reference = image.manifest.digest
        assert registries.dockerhub.inspect_raw(f"{namespace}/nested", reference) == image.manifest.body
    assert len(list(walk(nested))) == 6
    order = [
        each.path.rpartition("/")[2] for each in writes(registries, namespace) if "/manifests/" in each.path
    ]
    assert order == [*(image.manifest.digest for image in walk(nested) if image is not nested), BUILD]


def walk(image: Image) -> Iterator[Image]:
    for child in image.children:
        yield from walk(child)
    yield image


def test_a_whole_release_travels_with_each_blob_once(
    registries: LabRegistries, source: Registry, target: Registry, namespace: str
) -> None:
    names = overlay.read().short_names[:30]
    digests = push_build(source, namespace, names, BUILD, prefix="")
    wanted = items(namespace, digests)
    report = copy(source, target, wanted)
    assert (set(report.copied), report.already) == (set(wanted), ())
    content = {
        digest: blob
        for name in names
        for image in walk(build_image(name, BUILD))
        for digest, blob in image.content.items()
    }
    uploads = Counter(each.digest for each in writes(registries, namespace) if each.blob_put)
    assert uploads == Counter(dict.fromkeys(content, 1))
    assert report.blobs_moved == len(content)
    assert report.bytes_moved == sum(map(len, content.values()))
    assert report.blobs_mounted > 0
    found = heads(target, [item.target_repository for item in wanted], BUILD)
    assert [each and each.digest for each in found.values()] == list(digests.values())
    for name in names[::6]:
        assert digest_of(registries.dockerhub.inspect_raw(f"{namespace}/{name}", BUILD)) == digests[name]


def test_a_second_copy_sends_nothing(
    registries: LabRegistries, source: Registry, target: Registry, namespace: str
) -> None:
    wanted = items(namespace, push_build(source, namespace, ["a", "b", "c", "d"], BUILD, prefix=""))
    copy(source, target, wanted)
    before = writes(registries, namespace)
    report = copy(source, target, wanted)
    assert (report.copied, set(report.already), report.blobs_moved) == ((), set(wanted), 0)
    assert writes(registries, namespace) == before


def test_an_image_that_is_there_gets_only_its_tag(
    registries: LabRegistries, source: Registry, target: Registry, namespace: str
) -> None:
    digests = push_build(source, namespace, ["a", "b"], BUILD, prefix="")
    copy(source, target, items(namespace, digests))
    before = len(writes(registries, namespace))
    report = copy(source, target, items(namespace, digests, "current"))
    assert (len(report.copied), report.blobs_moved, report.blobs_mounted, report.blobs_skipped) == (
        2,
        0,
        0,
        0,
    )
    assert sorted(each.path for each in writes(registries, namespace)[before:]) == [
        f"/v2/{namespace}/{name}/manifests/current" for name in ("a", "b")
    ]


def test_the_next_build_brings_only_what_is_new(source: Registry, target: Registry, namespace: str) -> None:
    for build in ("aaaa", "bbbb"):
        digests = push_build(source, namespace, ["a", "b", "c"], build, prefix="")
        report = copy(source, target, items(namespace, digests, build))
    # Config and own layer of each, and the layer of the build; the base layer is there.
    assert report.blobs_moved == 7
    assert report.blobs_skipped + report.blobs_mounted == 5


def test_an_image_named_twice_is_copied_once(source: Registry, target: Registry, namespace: str) -> None:
    wanted = items(namespace, push_build(source, namespace, ["a"], BUILD, prefix=""))
    assert copy(source, target, wanted * 3).copied == tuple(wanted)


def test_two_images_for_one_tag_are_refused(source: Registry, target: Registry, namespace: str) -> None:
    digests = [digest_of(b"a"), digest_of(b"b")]
    with pytest.raises(ConfigError, match=f"{namespace}/a:current cannot be both"):
        copy(source, target, [CopyItem("x/a", f"{namespace}/a", digest, "current") for digest in digests])
    assert target.head(f"{namespace}/a", "current") is None


def test_a_registry_is_not_copied_to_itself(registries: LabRegistries, source: Registry) -> None:
    same = registries.rdo.client(name="again")
    with same, pytest.raises(ConfigError, match="registry rdo and registry again are the same"):
        copy(source, same, [])


def test_a_foreign_layer_stays_where_it_is(
    registries: LabRegistries, source: Registry, target: Registry, namespace: str
) -> None:
    image = build_image("windows", BUILD, kind=DOCKER_MANIFEST)
    body = json.loads(image.manifest.body)
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "size": 1234,
        "digest": digest_of(b"kept elsewhere"),
        "urls": ["https://layers.example.org/base"],
    }
    body["layers"].insert(0, foreign)
    manifest = parse_manifest(DOCKER_MANIFEST, json.dumps(body).encode(), what="a test image")
    push_image(source, f"{namespace}/windows", BUILD, Image(manifest, content=image.content))
    report = copy(source, target, items(namespace, {"windows": manifest.digest}))
    assert report.blobs_foreign == 1
    assert registries.dockerhub.inspect_raw(f"{namespace}/windows", BUILD) == manifest.body
    assert not target.blobs.exists(f"{namespace}/windows", digest_of(b"kept elsewhere"))


def test_the_first_error_ends_the_rest_and_names_what_failed(
    registries: LabRegistries, source: Registry, namespace: str
) -> None:
    names = [f"c{number}" for number in range(8)]
    digests = push_build(source, namespace, names, BUILD, prefix="")
    digests["c2"] = digest_of(b"not there")
    with registries.dockerhub.client(pool=1) as target:
        with pytest.raises(
            NotFoundError, match=f"registry rdo .*get {namespace}/c2@{digests['c2']}"
        ) as failed:
            copy(source, target, items(namespace, digests))
        assert failed.value.__notes__ == ["2 of 8 were finished when the first error ended the rest"]
        there = [name for name in names if target.head(f"{namespace}/{name}", BUILD)]
    assert there == ["c0", "c1"]


def test_a_copy_that_failed_goes_on_where_it_was(source: Registry, target: Registry, namespace: str) -> None:
    digests = push_build(source, namespace, ["a", "b", "c"], BUILD, prefix="")
    with pytest.raises(NotFoundError):
        copy(source, target, items(namespace, {**digests, "missing": digest_of(b"missing")}))
    report = copy(source, target, items(namespace, digests))
    assert len(report.copied) + len(report.already) == 3
    for name, digest in digests.items():
        assert target.get(f"{namespace}/{name}", BUILD).digest == digest


def test_a_big_blob_passes_without_being_held(source: Registry, target: Registry, namespace: str) -> None:
    size, part = 48 * MIB, bytes(MIB)
    digest = f"sha256:{hashlib.sha256(bytes(size)).hexdigest()}"
    blob = Descriptor(digest, "application/vnd.docker.image.rootfs.diff.tar", size)

    @contextmanager
    def opener(_: Descriptor) -> Iterator[Iterable[bytes]]:
        yield (part for _ in range(size // MIB))

    assert source.blobs.upload(f"{namespace}/big", blob, opener) == size
    small = build_image("big", BUILD, kind=DOCKER_MANIFEST)
    body = json.loads(small.manifest.body)
    body["layers"].append({"mediaType": blob.media_type, "size": size, "digest": digest})
    manifest: Manifest = parse_manifest(DOCKER_MANIFEST, json.dumps(body).encode(), what="a test image")
    held = Image(manifest, content={**small.content, digest: b""})  # there already, so never read
    push_image(source, f"{namespace}/big", BUILD, held)
    tracemalloc.start()
    try:
        report = copy(source, target, items(namespace, {"big": manifest.digest}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.bytes_moved > size
    assert peak < 8 * MIB
