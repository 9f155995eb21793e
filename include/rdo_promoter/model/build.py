"""What a build is known by: a DLRN hash or an aggregate hash, and the labels that name it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rdo_promoter.errors import ConfigError

_HEX40 = re.compile(r"[0-9a-f]{40}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_EXTENDED = re.compile(r"[A-Za-z0-9._-]+")
#: Characters of a label: it becomes a registry's tag, which has 128 at most.
LONGEST_LABEL = 127

_LABEL = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_LABEL - 1}}}")
_FULL_HASH = re.compile(r"[0-9a-f]{40}_[0-9a-f]{8}(_[A-Za-z0-9._-]{1,8}){0,2}")

#: The builder's link to the newest build without packaging errors; it has no promotion rows.
CONSISTENT = "consistent"

#: Labels that the DLRN builder moves itself; nobody else may (DLRN API: 403).
BUILDER_LABELS = frozenset({CONSISTENT, "current"})

#: A dual extended hash is two 40-digit hashes joined by ``_``; from this length on DLRN names both.
_LONG_EXTENDED = 49


@dataclass(frozen=True, slots=True)
class DlrnHash:
    """A build of the single pipeline, or one component's build.

    :param commit_hash: hash of the upstream commit, 40 hex digits.
    :param distro_hash: hash of the distgit commit, 40 hex digits.
    :param extended_hash: optional; free text of the package-info driver, not always hex.
    :param component: the component's name in the component pipeline.
    """

    commit_hash: str
    distro_hash: str
    extended_hash: str | None = None
    component: str | None = None

    def __post_init__(self) -> None:
        for name in ("commit_hash", "distro_hash"):
            value = getattr(self, name)
            if not _HEX40.fullmatch(value):
                raise ConfigError(f"{name} {value!r} is not 40 hex digits; take it from DLRN's commit.yaml")
        # DLRN's commit.yaml and some of its answers spell "no value" as the string None.
        for name in ("extended_hash", "component"):
            if getattr(self, name) in ("", "None"):
                object.__setattr__(self, name, None)
        if self.extended_hash is not None and not _EXTENDED.fullmatch(self.extended_hash):
            raise ConfigError(
                f"extended_hash {self.extended_hash!r} has a character that cannot stand in a path; "
                "letters, digits, '.', '_' and '-' can"
            )

    @property
    def full_hash(self) -> str:
        """The build's name: directory in DLRN, tag in registries, folder on image servers.

        Source: ``getshardedcommitdir`` of DLRN's ``db.py``.
        """
        parts = [self.commit_hash, self.distro_hash[:8]]
        if self.extended_hash:
            parts.append(self.extended_hash[:8])
            if len(self.extended_hash) >= _LONG_EXTENDED:
                parts.append(self.extended_hash[41:49])
        return "_".join(parts)

    @property
    def path(self) -> str:
        """The build's directory below the repository URL, without slashes at its ends."""
        prefix = f"component/{self.component}/" if self.component else ""
        return f"{prefix}{self.commit_hash[:2]}/{self.commit_hash[2:4]}/{self.full_hash}"

    @property
    def short(self) -> str:
        """What people say: the first eight digits of the commit hash."""
        return self.commit_hash[:8]

    def to_json(self) -> dict[str, str | None]:
        """Return the fields as JSON values, for XCom and the ledger."""
        return {
            "commit_hash": self.commit_hash,
            "distro_hash": self.distro_hash,
            "extended_hash": self.extended_hash,
            "component": self.component,
        }

    def __str__(self) -> str:
        return self.full_hash


@dataclass(frozen=True, slots=True)
class AggregateHash:
    """A build of the component pipeline: the md5 of the aggregated ``delorean.repo``.

    :param aggregate_hash: 32 hex digits.
    """

    aggregate_hash: str

    def __post_init__(self) -> None:
        if not _MD5.fullmatch(self.aggregate_hash):
            raise ConfigError(f"aggregate_hash {self.aggregate_hash!r} is not 32 hex digits")

    @property
    def full_hash(self) -> str:
        """The build's name: tag in registries, folder on image servers."""
        return self.aggregate_hash

    @property
    def path(self) -> str:
        """The build's directory below a label's directory (``<label>/<ab>/<cd>/<hash>``)."""
        return f"{self.aggregate_hash[:2]}/{self.aggregate_hash[2:4]}/{self.aggregate_hash}"

    @property
    def short(self) -> str:
        """What people say: the first eight digits."""
        return self.aggregate_hash[:8]

    def to_json(self) -> dict[str, str | None]:
        """Return the fields as JSON values, for XCom and the ledger."""
        return {"aggregate_hash": self.aggregate_hash}

    def __str__(self) -> str:
        return self.aggregate_hash


#: What a hash names.
Build = DlrnHash | AggregateHash


def build_from_json(data: object) -> Build:
    """Read a build that `to_json` wrote.

    :raises ConfigError: when the value is no build.
    """
    if isinstance(data, dict):
        if isinstance(aggregate := data.get("aggregate_hash"), str):
            return AggregateHash(aggregate)
        commit, distro = data.get("commit_hash"), data.get("distro_hash")
        extended, component = data.get("extended_hash"), data.get("component")
        optional = isinstance(extended, str | None) and isinstance(component, str | None)
        if isinstance(commit, str) and isinstance(distro, str) and optional:
            return DlrnHash(commit, distro, extended, component)
    raise ConfigError(f"{data!r} names no build: commit_hash and distro_hash, or aggregate_hash, are needed")


def is_full_hash(text: str) -> bool:
    """Tell whether the text has the form of a build's full hash or aggregate hash."""
    return bool(_FULL_HASH.fullmatch(text)) or is_md5(text)


def is_md5(text: str) -> bool:
    """Tell whether the text has the form of an aggregate hash."""
    return bool(_MD5.fullmatch(text))


def check_label(label: str) -> str:
    """Return the label when it is safe to promote to, and refuse it otherwise.

    DLRN itself answers 500 to ``a/b`` and makes dangling links of ``foo bar`` and ``-rf``, so the rule
    is stricter than the server: lower-case letters, digits, ``.``, ``_`` and ``-``, and no full hash.

    :raises ConfigError: when the label is not such a name, or belongs to the builder.
    """
    if label in BUILDER_LABELS:
        raise ConfigError(f"label {label!r} is moved by DLRN's builder alone; promote to another label")
    if not _LABEL.fullmatch(label) or ".." in label or is_full_hash(label):
        raise ConfigError(
            f"label {label!r} cannot be promoted to: use lower-case letters, digits, '.', '_' and '-', "
            "starting with a letter or digit, for example current-tripleo"
        )
    return label
