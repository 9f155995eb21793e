"""What a registry stores under a tag: manifests and indexes, as exact bytes. Pure, no network."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdo_promoter.errors import AnswerError, ConfigError

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"

INDEX_TYPES = (DOCKER_LIST, OCI_INDEX)
MANIFEST_TYPES = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)

#: One header line with all types: distribution 2.8 reads the first line only, and answers with a converted
#: schema1 manifest (another digest), or 404 for OCI, when the stored type is not in it.
ACCEPT = ", ".join(MANIFEST_TYPES)

_SCHEMA1 = re.compile(r"application/vnd\.docker\.distribution\.manifest\.v1\+\w+")
_FOREIGN = re.compile(
    r"application/vnd\.docker\.image\.rootfs\.foreign\.diff\.tar(\.gzip)?"
    r"|application/vnd\.oci\.image\.layer\.nondistributable\.v1\.tar(\+\w+)?"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Grammar of the distribution specification, "Pulling manifests".
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names some content: a manifest or a blob.

    :param digest: ``sha256:`` and 64 hex digits.
    :param media_type: what the content is.
    :param size: bytes.
    :param urls: where else the content can be had.
    """

    digest: str
    media_type: str
    size: int
    urls: tuple[str, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether this is a layer that registries do not keep: whoever pulls it fetches it from its URLs."""
        return bool(self.urls) and _FOREIGN.fullmatch(self.media_type) is not None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index, as the exact bytes that its digest was made of; see `parse_manifest`.

    :param media_type: one of `MANIFEST_TYPES`.
    :param body: the bytes.
    :param digest: ``sha256:`` of the bytes.
    :param children: manifests that an index names; they have to be in the repository before the index.
    :param blobs: config and layers of a manifest, each once.
    """

    media_type: str
    body: bytes = field(repr=False)
    digest: str
    children: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]

    @property
    def descriptor(self) -> Descriptor:
        """What names this manifest in an index or in the answer to HEAD."""
        return Descriptor(self.digest, self.media_type, len(self.body))


class _Foreign(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Descriptor(_Foreign):
    digest: str = Field(pattern=rf"^{_DIGEST.pattern}$")
    media_type: str = Field(alias="mediaType")
    size: int = Field(ge=0)
    urls: tuple[str, ...] | None = None

    def value(self) -> Descriptor:
        return Descriptor(self.digest, self.media_type, self.size, self.urls or ())


class _Body(_Foreign):
    schema_version: int = Field(alias="schemaVersion")
    media_type: str | None = Field(default=None, alias="mediaType")
    config: _Descriptor | None = None
    layers: tuple[_Descriptor, ...] | None = None
    manifests: tuple[_Descriptor, ...] | None = None


def digest_of(content: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(reference: str) -> bool:
    """Tell a digest from a tag."""
    return _DIGEST.fullmatch(reference) is not None


def check_repository(repository: str) -> str:
    """Return the repository name if a registry can have it.

    :raises ConfigError: when it cannot; the name becomes part of a URL.
    """
    if _REPOSITORY.fullmatch(repository) is None:
        raise ConfigError(f"{repository!r} is not a repository name: lower-case words joined by / . _ or -")
    return repository


def check_reference(reference: str) -> str:
    """Return the tag or digest if it is one.

    :raises ConfigError: when it is neither.
    """
    if not is_digest(reference) and _TAG.fullmatch(reference) is None:
        raise ConfigError(
            f"{reference!r} is neither a sha256 digest nor a tag: up to 128 letters, digits, _ . or -"
        )
    return reference


def spell(repository: str, reference: str) -> str:
    """Return the usual spelling of a tag or digest in a repository."""
    return f"{repository}{'@' if is_digest(reference) else ':'}{reference}"


def check_media_type(content_type: str, *, what: str) -> str:
    """Return the media type without parameters if it is one of `MANIFEST_TYPES`.

    :param content_type: the header ``Content-Type``.
    :param what: the manifest and the registry, for the message.
    :raises AnswerError: for schema1, whose digest is another than the stored manifest's, and for other types.
    """
    media_type = content_type.partition(";")[0].strip()
    if _SCHEMA1.fullmatch(media_type):
        raise AnswerError(
            f"{what}: it is a schema1 manifest ({media_type}), which cannot be copied or tagged by digest: "
            "the registry converts it for each answer; push the image again in a current format (skopeo copy "
            "--format v2s2, or a newer builder)"
        )
    if media_type not in MANIFEST_TYPES:
        raise AnswerError(f"{what}: it is of media type {media_type!r}, expected one of {ACCEPT}")
    return media_type


def parse_manifest(content_type: str, body: bytes, *, what: str) -> Manifest:
    """Read a manifest.

    :param content_type: the header ``Content-Type`` of the answer.
    :param body: the exact bytes.
    :param what: the manifest and the registry, for the message.
    :raises AnswerError: when it is schema1, of an unknown type, damaged, or of two types at once.
    """
    media_type = check_media_type(content_type, what=what)
    try:
        parsed = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise AnswerError(f"{what}: it is not a valid manifest: {place}: {first['msg']}") from None
    if parsed.schema_version != 2:
        raise AnswerError(
            f"{what}: it is a schema{parsed.schema_version} manifest sent as {media_type}; only 2 is known"
        )
    # A body that can be read in two ways is read differently by two programs (CVE-2021-41190).
    if parsed.media_type not in (None, media_type):
        raise AnswerError(f"{what}: it says {parsed.media_type}, but was sent as {media_type}")
    index = media_type in INDEX_TYPES
    holds_index, holds_image = parsed.manifests is not None, (parsed.config or parsed.layers) is not None
    if index is not holds_index or index is holds_image:
        raise AnswerError(f"{what}: it was sent as {media_type}, but its fields are those of another type")
    if not index and (parsed.config is None or parsed.layers is None):
        raise AnswerError(f"{what}: it has no config or no layers")
    blobs = (parsed.config, *parsed.layers) if parsed.config and parsed.layers is not None else ()
    return Manifest(
        media_type=media_type,
        body=body,
        digest=digest_of(body),
        children=_once(parsed.manifests or ()),
        blobs=_once(blobs),
    )


def _once(descriptors: tuple[_Descriptor, ...]) -> tuple[Descriptor, ...]:
    distinct: dict[str, Descriptor] = {}
    for descriptor in descriptors:
        distinct.setdefault(descriptor.digest, descriptor.value())
    return tuple(distinct.values())
