"""What is handed off to the builds of a product: a record of a promoted build, and its envelope. Pure.

All of a record are facts that stay as they are: made again, it is the same, byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import Build, build_from_json
from rdo_promoter.model.canonical import canonical, read_json
from rdo_promoter.model.clock import utc
from rdo_promoter.model.text import one_line

#: What a record says that it is; another one when a field gets another meaning.
FORMAT = "rdo-handoff/1"

_KINDS: Mapping[object, type] = {"str": str, "int": int, "bool": bool}
_ENVELOPE = ("key_id", "record", "signature")
_Value = TypeVar("_Value")
_Part = TypeVar("_Part", bound="Package | CiResult | WaivedJob | Approval | Container | ImageFile")


def stored_as(label: str) -> str:
    """Return the name of a hand-off's file in the build's folder on image servers.

    :param label: the promoted label.
    """
    return f"handoff-{label}.json"


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package of the build, a line of DLRN's ``versions.csv``.

    :param project: its name in DLRN.
    :param source: the repository of its source.
    :param commit_hash: the commit there.
    :param distgit: the repository of its packaging.
    :param distro_hash: the commit there.
    :param nvr: name, version and release of the built package.
    :param status: of its newest build.
    """

    project: str
    source: str
    commit_hash: str
    distgit: str
    distro_hash: str
    nvr: str
    status: str


@dataclass(frozen=True, slots=True, order=True)
class CiResult:
    """A vote on the build.

    :param at: when, in seconds since the epoch.
    :param job: the CI job.
    :param success: whether it passed.
    :param url: its log.
    """

    at: int
    job: str
    success: bool
    url: str


@dataclass(frozen=True, slots=True, order=True)
class WaivedJob:
    """A required job that had not passed, and was waived.

    :param job: the CI job.
    :param by: who decided it.
    :param reason: why.
    :param expires: until when, in seconds since the epoch.
    """

    job: str
    by: str
    reason: str
    expires: int


@dataclass(frozen=True, slots=True, order=True)
class Approval:
    """A person has approved the build.

    :param at: when, in seconds since the epoch.
    :param by: who.
    :param step: the task that asked.
    :param reason: why, empty when nothing was said.
    """

    at: int
    by: str
    step: str
    reason: str


@dataclass(frozen=True, slots=True, order=True)
class Container:
    """A container in a registry.

    :param image: the registry's host, the namespace and the name.
    :param digest: ``sha256:...`` of its manifest.
    """

    image: str
    digest: str


@dataclass(frozen=True, slots=True, order=True)
class ImageFile:
    """An image on an image server.

    :param server: the image server, as the release file calls it.
    :param path: its path there, in the build's own folder.
    :param size: bytes.
    :param md5: what the ``.md5`` file beside it says.
    """

    server: str
    path: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """What is handed off.

    :param release: the release's Dag, ``<distro><version>-<release>``.
    :param label: the promoted label.
    :param build: the build.
    :param repo_url: the build's own folder in DLRN's repository tree.
    :param promoted_at: when the label was moved to the build, in seconds since the epoch, by DLRN.
    :param release_file: the file that it was promoted by.
    :param release_digest: sha256 over that file and what it includes, 64 hex digits.
    :param packages: the build's packages.
    :param votes: all results of CI up to `promoted_at`.
    :param waivers: what was waived then.
    :param approvals: who has approved the build.
    :param containers: the build's containers, in each registry.
    :param images: the build's images, on each image server.
    """

    release: str
    label: str
    build: Build
    repo_url: str
    promoted_at: int
    release_file: str
    release_digest: str
    packages: tuple[Package, ...] = ()
    votes: tuple[CiResult, ...] = ()
    waivers: tuple[WaivedJob, ...] = ()
    approvals: tuple[Approval, ...] = ()
    containers: tuple[Container, ...] = ()
    images: tuple[ImageFile, ...] = ()

    @property
    def key(self) -> str:
        """Sha256 of the record's bytes, 64 hex digits: the same hand-off has the same."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        lists = {name: [asdict(part) for part in getattr(self, name)] for name in _PARTS}
        plain = {name: getattr(self, name) for name in _PLAIN}
        build = {**self.build.to_json(), "full_hash": self.build.full_hash}
        return {"format": FORMAT, "build": build, **plain, **lists}

    def lines(self) -> list[str]:
        """Say what the record says, for people; each line is one."""
        failed = sum(not vote.success for vote in self.votes)
        text = [
            f"{self.release}: {self.build.full_hash}, {self.label} since {utc(self.promoted_at)}",
            f"promoted by {self.release_file} (sha256 {self.release_digest})",
            f"{len(self.packages)} packages of {self.repo_url}",
            f"{len(self.votes)} votes, {failed} of them failures",
            *(f"{each.job} waived by {each.by}: {each.reason}" for each in self.waivers),
            *(f"{each.step} approved by {each.by} at {utc(each.at)}" for each in self.approvals),
            f"{len(self.containers)} digests of containers, {len(self.images)} checksums of images",
        ]
        return [one_line(line) for line in text]


_PARTS: Mapping[str, type[Package | CiResult | WaivedJob | Approval | Container | ImageFile]] = {
    "packages": Package,
    "votes": CiResult,
    "waivers": WaivedJob,
    "approvals": Approval,
    "containers": Container,
    "images": ImageFile,
}
_PLAIN: Mapping[str, type] = {
    **dict.fromkeys(("release", "label", "repo_url", "release_file", "release_digest"), str),
    "promoted_at": int,
}


def digest(record: object) -> str:
    """Return the sha256 of a record's bytes, 64 hex digits.

    :param record: its JSON value.
    """
    return hashlib.sha256(canonical(record)).hexdigest()


def read_handoff(data: object) -> Handoff:
    """Read a record that `Handoff.to_json` wrote; nothing is left out, and nothing added.

    :raises ConfigError: when it is none that this version knows.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        said = data.get("format") if isinstance(data, Mapping) else None
        raise ConfigError(f"its record has format {said!r}, this version knows {FORMAT!r}")
    _check_names("the record", data, {"format", "build", *_PLAIN, *_PARTS})
    plain: dict[str, Any] = {
        name: _typed(f"record.{name}", data[name], kind) for name, kind in _PLAIN.items()
    }
    found: dict[str, Any] = {name: _parts(name, data[name], kind) for name, kind in _PARTS.items()}
    build = build_from_json(data["build"])
    if data["build"] != {**build.to_json(), "full_hash": build.full_hash}:
        raise ConfigError(f"record.build says something else of {build.full_hash} as well")
    return Handoff(build=build, **plain, **found)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record and its signature: one file that can be verified alone.

    :param record: the record's JSON value, also of a format that this version does not know.
    :param key_id: which key it says to be signed with; nothing rests on it.
    :param signature: an Ed25519 signature of the record's canonical bytes.
    """

    record: object
    key_id: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the envelope as it is stored and posted."""
        signature = base64.b64encode(self.signature).decode()
        return canonical({"key_id": self.key_id, "record": self.record, "signature": signature}) + b"\n"


def read_envelope(content: bytes) -> Envelope:
    """Read an envelope; whether its signature is good is not asked here.

    :raises ConfigError: when it is none.
    """
    data = read_json(content)
    if not isinstance(data, Mapping):
        raise ConfigError(f"it is a JSON {type(data).__name__}, and no envelope of a hand-off")
    _check_names("the envelope", data, set(_ENVELOPE))
    key_id, signature = (_typed(name, data[name], str) for name in ("key_id", "signature"))
    try:
        return Envelope(data["record"], key_id, base64.b64decode(signature, validate=True))
    except ValueError as error:  # binascii.Error, and what is not ASCII
        raise ConfigError(f"its signature is no base64: {error}") from error


def _parts(name: str, data: object, kind: type[_Part]) -> tuple[_Part, ...]:
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise ConfigError(f"record.{name} is no list")
    return tuple(_part(f"record.{name}[{index}]", each, kind) for index, each in enumerate(data))


def _part(where: str, data: object, kind: type[_Part]) -> _Part:
    types = {field.name: _KINDS[field.type] for field in fields(kind)}
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} is no object")
    _check_names(where, data, set(types))
    return kind(**{name: _typed(f"{where}.{name}", data[name], each) for name, each in types.items()})


def _check_names(where: str, data: Mapping[object, object], known: set[str]) -> None:
    if data.keys() != known:
        missing, more = sorted(known - data.keys()), sorted(map(str, data.keys() - known))
        raise ConfigError(one_line(f"{where} lacks {missing} and has {more} besides what is known"))


def _typed(where: str, value: object, kind: type[_Value]) -> _Value:
    # Not isinstance: True is an int as well.
    if type(value) is not kind:
        raise ConfigError(f"{where} is a {type(value).__name__}, expected {kind.__name__}")
    return value
