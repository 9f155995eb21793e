"""Small container images with real layers, of the kinds that a registry can hold.

The same name and build always give the same bytes, so also the same digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import Event

from rdo_promoter.clients.registry import (
    Carrier,
    Descriptor,
    Manifest,
    Registry,
    digest_of,
    parse_manifest,
    run_all,
)
from rdo_promoter.clients.registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

_CONFIG_TYPES = {
    DOCKER_MANIFEST: "application/vnd.docker.container.image.v1+json",
    OCI_MANIFEST: "application/vnd.oci.image.config.v1+json",
}
_LAYER_TYPES = {
    DOCKER_MANIFEST: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    OCI_MANIFEST: "application/vnd.oci.image.layer.v1.tar+gzip",
}
_CREATED = "2018-06-01T00:00:00Z"


@dataclass(frozen=True)
class Image:
    """An image or an index of images.

    :param manifest: what the tag names.
    :param children: the images of an index.
    :param content: the blobs of this image, by digest.
    """

    manifest: Manifest
    children: tuple[Image, ...] = ()
    content: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def kind_of(name: str) -> str:
    """Return the media type of what is built under a name: the same for each build.

    Most are docker manifests, as in 2018; one in eight is an OCI manifest, one in sixteen an index.
    """
    kinds = {0: DOCKER_LIST, 1: OCI_INDEX, **dict.fromkeys(range(2, 6), OCI_MANIFEST)}
    return kinds.get(hashlib.sha256(name.encode()).digest()[0] % 32, DOCKER_MANIFEST)


def build_image(name: str, build: str, *, kind: str | None = None) -> Image:
    """Build the image of a container: a base layer, one of the build, one of its own.

    :param name: the container.
    :param build: full hash of the build.
    :param kind: media type, chosen by the name when None.
    """
    kind = kind or kind_of(name)
    if kind in _CONFIG_TYPES:
        return _image(name, build, kind, "amd64")
    child_kind = DOCKER_MANIFEST if kind == DOCKER_LIST else OCI_MANIFEST
    return build_index([_image(name, build, child_kind, arch) for arch in ("amd64", "arm64")], kind=kind)


def build_index(children: Sequence[Image], *, kind: str = OCI_INDEX) -> Image:
    """Build an index of images, or of indexes.

    :param kind: media type of the index.
    """
    architectures = ("amd64", "arm64", "ppc64le", "s390x")
    manifests = [
        {
            "mediaType": child.manifest.media_type,
            "digest": child.manifest.digest,
            "size": len(child.manifest.body),
            "platform": {"architecture": architecture, "os": "linux"},
        }
        for child, architecture in zip(children, architectures, strict=False)
    ]
    return Image(_manifest(kind, {"manifests": manifests}), tuple(children))


def push_build(
    registry: Registry, namespace: str, names: Sequence[str], build: str, *, prefix: str = ""
) -> dict[str, str]:
    """Build the containers of a build and push them under its full hash; what is there already stays.

    :param namespace: the repositories are ``<namespace>/<prefix><name>``.
    :param names: the containers, without the prefix.
    :param build: full hash, which becomes the tag.
    :return: the digest of each container.
    """
    stop = Event()
    carrier = Carrier(registry, stop=stop)

    def one(name: str) -> str:
        image = build_image(name, build)
        push_image(registry, f"{namespace}/{prefix}{name}", build, image, carrier=carrier)
        return image.manifest.digest

    digests = run_all(one, list(names), threads=registry.pool, stop=stop)
    return dict(zip(names, digests, strict=True))


def push_image(
    registry: Registry, repository: str, reference: str, image: Image, *, carrier: Carrier | None = None
) -> None:
    """Push one image with all that it needs, unless the tag names it already.

    :param reference: the tag, or the image's digest.
    :param carrier: shared by images that are pushed together, so that layers travel once.
    """
    found = registry.head(repository, reference)
    if found is not None and found.digest == image.manifest.digest:
        return
    carrier = carrier or Carrier(registry, stop=Event())
    for child in image.children:
        push_image(registry, repository, child.manifest.digest, child, carrier=carrier)

    @contextmanager
    def opener(blob: Descriptor) -> Iterator[Iterable[bytes]]:
        yield [image.content[blob.digest]]

    carrier.carry(repository, image.manifest.blobs, opener)
    registry.put(repository, reference, image.manifest)


def _image(name: str, build: str, kind: str, architecture: str) -> Image:
    layers = (
        _layer("etc/os-release", f"base {architecture}", 96_000),
        _layer("etc/yum.repos.d/delorean.repo", f"openstack-base {build}", 24_000),
        _layer(f"usr/lib/python2.7/site-packages/{name}.py", f"{name} {architecture} {build}", 4_000),
    )
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": _CREATED,
        "config": {"Cmd": ["kolla_start"], "Labels": {"name": name, "rdo_version": build}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": _CREATED, "created_by": f"layer {number}"} for number in range(len(layers))],
    }
    return image_of(kind, json.dumps(config, sort_keys=True).encode(), [layer.blob for layer in layers])


def image_of(kind: str, config: bytes, layers: Sequence[bytes]) -> Image:
    """Put an image together.

    :param kind: media type of its manifest.
    :param config: its configuration, JSON.
    :param layers: compressed archives, lowest first.
    """
    body = {
        "config": _described(_CONFIG_TYPES[kind], config),
        "layers": [_described(_LAYER_TYPES[kind], layer) for layer in layers],
    }
    return Image(_manifest(kind, body), content={digest_of(blob): blob for blob in (config, *layers)})


def _manifest(kind: str, fields: Mapping[str, object]) -> Manifest:
    # OCI makes mediaType optional; these images do without, and so have to be copied with the right header.
    header: dict[str, object] = {"schemaVersion": 2}
    if kind != OCI_MANIFEST:
        header["mediaType"] = kind
    # Indented, as docker writes it: who serialises it again gets another digest.
    return parse_manifest(
        kind, json.dumps({**header, **fields}, indent=3).encode(), what="an image of the lab"
    )


def _described(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(blob), "digest": digest_of(blob)}


@dataclass(frozen=True)
class _Layer:
    diff_id: str
    blob: bytes = field(repr=False)


@cache
def _layer(path: str, seed: str, size: int) -> _Layer:
    """Build a layer with one file of bytes that do not compress.

    :param size: bytes of the file.
    """
    content = hashlib.shake_256(seed.encode()).digest(size)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(path)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return _Layer(digest_of(archive.getvalue()), gzip.compress(archive.getvalue(), compresslevel=1, mtime=0))
