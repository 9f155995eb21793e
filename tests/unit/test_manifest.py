from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdo_promoter.clients.registry.manifest import (
    ACCEPT,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    check_reference,
    check_repository,
    digest_of,
    is_digest,
    parse_manifest,
    spell,
)
from rdo_promoter.errors import AnswerError, ConfigError

WHAT = "registry rdo: get team/nova-api:current"
IMAGE_TYPES = (DOCKER_MANIFEST, OCI_MANIFEST)

digests = st.integers(0, 2**256 - 1).map(lambda number: f"sha256:{number:064x}")
descriptors = st.fixed_dictionaries(
    {
        "mediaType": st.sampled_from(("application/a", "application/b")),
        "digest": digests,
        "size": st.integers(0, 2**40),
    },
    optional={"urls": st.just(["https://example.org/layer"]), "annotations": st.just({"a": "b"})},
)


def body(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def descriptor(digest: str = digest_of(b""), **fields: Any) -> dict[str, Any]:
    return {"mediaType": "application/x", "size": 0, "digest": digest, **fields}


@settings(deadline=None)
@given(
    media_type=st.sampled_from(IMAGE_TYPES),
    config=descriptors,
    layers=st.lists(descriptors, max_size=6),
    repeat=st.integers(1, 2),
    indent=st.sampled_from((None, 1, 3)),
)
def test_an_image_needs_its_config_and_each_layer_once(
    media_type: str, config: dict[str, Any], layers: list[dict[str, Any]], repeat: int, indent: int | None
) -> None:
    document = {"schemaVersion": 2, "config": config, "layers": layers * repeat, "unknown": [1]}
    if indent:
        document["mediaType"] = media_type
    raw = json.dumps(document, indent=indent).encode()
    manifest = parse_manifest(media_type, raw, what=WHAT)
    assert manifest.body == raw
    assert manifest.digest == digest_of(raw)
    assert manifest.descriptor == Descriptor(manifest.digest, media_type, len(raw))
    assert manifest.children == ()
    expected = list(dict.fromkeys(each["digest"] for each in (config, *layers)))
    assert [blob.digest for blob in manifest.blobs] == expected
    first = {each["digest"]: each for each in reversed((config, *layers))}
    for blob in manifest.blobs:
        assert (blob.size, blob.media_type) == (first[blob.digest]["size"], first[blob.digest]["mediaType"])


@settings(deadline=None)
@given(media_type=st.sampled_from(INDEX_TYPES), children=st.lists(descriptors, max_size=6))
def test_an_index_needs_its_children_once_and_no_blobs(
    media_type: str, children: list[dict[str, Any]]
) -> None:
    manifest = parse_manifest(media_type, body(manifests=children + children), what=WHAT)
    assert [child.digest for child in manifest.children] == list(dict.fromkeys(c["digest"] for c in children))
    assert manifest.blobs == ()


@pytest.mark.parametrize(
    ("media_type", "raw", "message"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}", "schema1"),
        ("application/vnd.docker.distribution.manifest.v1+json", b"{}", "schema1"),
        (DOCKER_MANIFEST, b'{"schemaVersion": 1, "name": "a"}', "schema1"),
        ("text/html", b"<html>", "media type 'text/html'"),
        ("", b"{}", "media type ''"),
        (OCI_INDEX, b"<html>", "not a valid manifest"),
        (OCI_INDEX, b"[]", "not a valid manifest"),
        (OCI_INDEX, body(mediaType=DOCKER_LIST, manifests=[]), f"says {DOCKER_LIST}, but was sent as"),
        (OCI_INDEX, body(manifests=[], layers=[]), "another type"),
        (OCI_INDEX, body(manifests=[], config=descriptor()), "another type"),
        (OCI_INDEX, body(config=descriptor(), layers=[]), "another type"),
        (OCI_MANIFEST, body(manifests=[]), "another type"),
        (OCI_MANIFEST, body(manifests=[], config=descriptor(), layers=[]), "another type"),
        (OCI_MANIFEST, body(layers=[]), "no config"),
        (OCI_MANIFEST, body(config=descriptor()), "no layers"),
        (OCI_MANIFEST, body(config=descriptor(size=-1), layers=[]), "config.size"),
        (OCI_MANIFEST, body(config=descriptor(digest="sha512:" + "0" * 128), layers=[]), "config.digest"),
        (OCI_MANIFEST, body(config=descriptor(), layers=[descriptor(digest="../../x")]), "layers.0.digest"),
        (OCI_INDEX, body(manifests=[descriptor(digest=digest_of(b"") + "\n")]), "manifests.0.digest"),
        (OCI_INDEX, body(manifests=[{"digest": digest_of(b"")}]), "manifests.0.mediaType"),
    ],
)
def test_what_is_not_a_manifest_is_refused(media_type: str, raw: bytes, message: str) -> None:
    with pytest.raises(AnswerError) as refused:
        parse_manifest(media_type, raw, what=WHAT)
    assert str(refused.value).startswith(WHAT)
    assert message in str(refused.value)


def test_parameters_of_the_content_type_are_ignored() -> None:
    manifest = parse_manifest(f"{OCI_INDEX}; charset=utf-8", body(manifests=[]), what=WHAT)
    assert manifest.media_type == OCI_INDEX


def test_all_types_are_accepted_in_one_line() -> None:
    assert set(ACCEPT.split(", ")) == set(MANIFEST_TYPES)
    assert "\n" not in ACCEPT


@pytest.mark.parametrize(
    ("media_type", "urls", "foreign"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", ("https://a/b",), True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", ("https://a/b",), True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", ("https://a/b",), True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", (), False),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", ("https://a/b",), False),
    ],
)
def test_a_foreign_layer_is_one_that_can_be_had_elsewhere(
    media_type: str, urls: tuple[str, ...], foreign: bool
) -> None:
    assert Descriptor(digest_of(b""), media_type, 1, urls).foreign is foreign


@settings(deadline=None)
@given(st.text(alphabet="ab0./_-:@A ?#\n%", max_size=20))
def test_a_repository_name_cannot_leave_its_place_in_a_url(name: str) -> None:
    try:
        check_repository(name)
    except ConfigError as error:
        assert repr(name) in str(error)  # noqa: PT017 - both outcomes are right, by the name
    else:
        assert name
        assert not set(name) & set(":@A ?#\n%")
        assert not any(part in ("", ".", "..") for part in name.split("/"))


@pytest.mark.parametrize("name", ["nova-api", "tripleomaster/centos-binary-nova-api", "a.b/c__d/e---f", "0"])
def test_usual_repository_names_are_accepted(name: str) -> None:
    assert check_repository(name) == name


@pytest.mark.parametrize("reference", ["current-tripleo", "a" * 128, "_x", "1.0", digest_of(b"x")])
def test_tags_and_digests_are_accepted(reference: str) -> None:
    assert check_reference(reference) == reference


@pytest.mark.parametrize(
    "reference", ["", "a" * 129, ".x", "a/b", "..", "sha256:abc", "a\n", digest_of(b"") + "\n"]
)
def test_other_references_are_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match="neither a sha256 digest nor a tag"):
        check_reference(reference)


def test_spelling() -> None:
    digest = digest_of(b"")
    assert is_digest(digest)
    assert spell("team/a", digest) == f"team/a@{digest}"
    assert spell("team/a", "current") == "team/a:current"
