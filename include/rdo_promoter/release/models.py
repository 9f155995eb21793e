"""A release as frozen models: what a release file may hold, and what is known once it was read."""

from __future__ import annotations

import re
import string
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr, WithJsonSchema

from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.model.layout import BY_HASH, Layout, by_label
from rdo_promoter.model.promotion import label_uri
from rdo_promoter.model.votes import VotePolicy
from rdo_promoter.steps import AnyStep, Candidate, Step, WaitFor
from rdo_promoter.steps.fields import (
    ConnectionId,
    Distinct,
    Duration,
    FileName,
    Frozen,
    FrozenMap,
    JobName,
    Name,
    PipelineName,
    Repository,
)

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
_PATH = re.compile(r"(/\.?[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_LIST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.ya?ml")
_CRON_FIELD = re.compile(r"(\*|[0-9]{1,2}(-[0-9]{1,2})?)(/[0-9]{1,2})?")
_CRON_RANGES = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_PATH_KEYS = ("release", "distro", "version")


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be part of a Dag id: use lower-case letters, digits, '.' and '-', at most 40"
        )
    return value


def _version(value: object) -> object:
    # `version: 7` is natural; 7.10 would be read as 7.1, so fractions have to be quoted.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _source_label(value: str) -> str:
    if value == "current":
        raise ValueError(f"'current' may name a build with errors around it: write {CONSISTENT!r}")
    return value


def _repo_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = (
            parts.scheme in ("http", "https")
            and parts.hostname
            and parts.hostname.encode("idna")
            and parts.port != 0
            and not (parts.username or parts.password or parts.query or parts.fragment)
            and not re.search(r"[\s\\]", value)
        )
    except ValueError:
        usable = False
    if not usable:
        # The value is not repeated: it may hold a password.
        raise ValueError(
            "this is no address of a repository: write one as https://trunk.rdoproject.org/centos7-master, "
            "without user, query and fragment (a login belongs into the Connection)"
        )
    return value.rstrip("/")


def _server_path(value: str) -> str:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(value) if name is not None]
        unknown = sorted(set(fields) - set(_PATH_KEYS))
        filled = "" if unknown else value.format(**dict.fromkeys(_PATH_KEYS, "x"))
    except (ValueError, IndexError, KeyError):
        unknown, filled = [], ""
    if unknown:
        raise ValueError(f"{{{unknown[0]}}} is not known here; known: {{release}}, {{distro}}, {{version}}")
    if not _PATH.fullmatch(filled):
        raise ValueError(
            f"{value!r} is no folder: write an absolute path in letters, digits, '.', '_' and '-', for "
            "example /var/www/html/images/{release}/rdo_trunk"
        )
    return value


def _list_file(value: str) -> str:
    if not _LIST.fullmatch(value):
        raise ValueError(
            f"{value!r} is no list of containers: name a YAML file relative to the releases folder, for "
            "example containers/master.yaml"
        )
    return value


def _waivers_file(value: str) -> str:
    if not _LIST.fullmatch(value):
        raise ValueError(
            f"{value!r} is no file of waivers: name a YAML file relative to the releases folder, for example "
            "waivers/master.yaml"
        )
    return value


def _cron(value: str) -> str:
    fields = value.split()
    if len(fields) != len(_CRON_RANGES):
        raise ValueError(
            f'{value!r} is no schedule: write five cron fields, for example "*/30 * * * *", '
            "or null for a release that is started by hand"
        )
    for text, (name, low, high) in zip(fields, _CRON_RANGES, strict=True):
        for part in text.split(","):
            numbers = [int(number) for number in re.findall(r"\d+", part.partition("/")[0])]
            step = part.partition("/")[2]
            inside = all(low <= number <= high for number in numbers) and numbers == sorted(numbers)
            if not _CRON_FIELD.fullmatch(part) or not inside or (step and not 1 <= int(step) <= high):
                raise ValueError(
                    f"{part!r} is no {name} of a schedule: write *, */30, or numbers from {low} to {high} "
                    "joined by ',' or '-'"
                )
    return value


Slug = Annotated[StrictStr, AfterValidator(_slug)]


class Distro(Frozen):
    """The distribution that the release is built for.

    :param name: for example ``centos``.
    :param version: for example ``7``; a number may be written without quotes.
    """

    name: Slug
    version: Annotated[
        Slug, BeforeValidator(_version), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
    ]


class Dlrn(Frozen):
    """The release's DLRN.

    :param connection: id of the Airflow Connection (type ``dlrn``) to its API.
    :param repo_url: address of its repository tree.
    """

    connection: ConnectionId
    repo_url: Annotated[StrictStr, AfterValidator(_repo_url)]


class Zuul(Frozen):
    """The Zuul whose jobs test the release's builds; without it votes in DLRN are all that is known.

    :param connection: id of the Airflow Connection (type ``zuul``).
    :param pipeline: the pipeline that tests what candidate labels name; stages may name others.
    :param promote_job: the job by which a pipeline moves the candidate label; without it that is the job for
        which all others of a buildset wait.
    """

    connection: ConnectionId
    pipeline: PipelineName
    promote_job: JobName | None = None


class RegistrySettings(Frozen):
    """A container registry.

    :param connection: id of the Airflow Connection (type ``docker``).
    :param namespace: what stands before the containers' names, for example ``tripleomaster``.
    """

    connection: ConnectionId
    namespace: Repository


class ImageServerSettings(Frozen):
    """An image server.

    :param connection: id of the Airflow Connection (type ``sftp`` or ``ssh``).
    :param path: the folder that holds the labels' links, and the builds; ``{release}``, ``{distro}`` and
        ``{version}`` are filled in.
    :param layout: ``by_hash``: CI's image job uploads each build into a folder named by its hash, and
        promotions move links to it (``link_on``). ``by_label``: a mirror, whose readers know
        ``<path>/<label>/<file>``; promotions copy the images there (``mirror_to``).
    :param names: image -> name of its file on a mirror, where that differs.
    """

    connection: ConnectionId
    path: Annotated[StrictStr, AfterValidator(_server_path)]
    layout: Literal["by_hash", "by_label"] = "by_hash"
    names: FrozenMap[FileName, FileName] = Field(default={}, validate_default=True)

    @property
    def kept(self) -> Layout:
        """How builds and links lie in the folder."""
        return by_label(self.names) if self.layout == "by_label" else BY_HASH


class Containers(Frozen):
    """The containers of a release.

    :param prefix: what the containers' names begin with, for example ``centos-binary-``.
    :param source: the registry into which CI's build job pushes them.
    :param list_file: the file that lists them, relative to the releases folder; written ``list``.
    :param exclude: containers of the list that are not the release's.
    """

    prefix: Annotated[StrictStr, Field(pattern=r"^([a-z0-9]+[a-z0-9._-]*)?$", max_length=60)] = ""
    source: Name
    list_file: Annotated[StrictStr, AfterValidator(_list_file)] = Field(alias="list")
    exclude: Distinct[StrictStr] = ()


class Stage(Frozen):
    """A stage: its steps run in this order on one build.

    :param name: the stage's name, the id of its task group.
    :param source: the label that the stage starts from: ``consistent``, or one that an earlier stage
        promotes.
    :param pipeline: the Zuul pipeline that tests the stage's builds, where it is not the release's; a stage
        without a candidate step has none unless it is named here.
    :param votes: which vote counts when a job voted several times on a build: the ``newest``, or
        ``any_success``, whenever it came.
    :param steps: the steps, each written ``{<kind>: {...}}``.
    """

    name: Name
    source: Annotated[StrictStr, AfterValidator(_source_label)]
    pipeline: PipelineName | None = None
    votes: Literal["newest", "any_success"] = "newest"
    steps: Annotated[tuple[AnyStep, ...], Field(min_length=1)]

    @property
    def policy(self) -> VotePolicy:
        """Which of a job's votes counts."""
        return VotePolicy(self.votes)

    @property
    def candidate_label(self) -> str:
        """The label that CI tests in this stage: the candidate step's, or the label it starts from."""
        return next((step.label for step in self.steps if isinstance(step, Candidate)), self.source)

    @property
    def holds_back(self) -> bool:
        """Whether later stages wait for this one: not when each of its steps gates nothing."""
        return any(step.holds_back for step in self.steps)

    @property
    def named_steps(self) -> tuple[tuple[str, Step], ...]:
        """The steps with their ids: a step's own name, or its kind, from the second on with a number."""
        seen: dict[str, int] = {}
        named: list[tuple[str, Step]] = []
        for step in self.steps:
            if step.name is not None:
                named.append((step.name, step))
                continue
            seen[step.kind] = seen.get(step.kind, 0) + 1
            number = seen[step.kind]
            named.append((step.kind if number == 1 else f"{step.kind}_{number}", step))
        return tuple(named)


class ReleaseFile(Frozen):
    """What a release file may hold.

    :param release: the release's name, for example ``master``.
    :param distro: the distribution.
    :param schedule: five cron fields in UTC; null for a release that is started by hand.
    :param poll: seconds between two looks at the votes.
    :param dlrn: the release's DLRN.
    :param zuul: the Zuul that tests its builds.
    :param registries: the container registries by name.
    :param image_servers: the image servers by name.
    :param containers: the containers; absent in a release of packages only.
    :param images: the image files of a build.
    :param waivers: a file of reviewed waivers, relative to the releases folder, for example
        ``waivers/master.yaml``.
    :param stages: the stages in their order.
    """

    release: Slug
    distro: Distro
    schedule: Annotated[StrictStr, AfterValidator(_cron)] | None = "*/30 * * * *"
    poll: Annotated[Duration, Field(ge=5, le=3600)] = 60
    dlrn: Dlrn
    zuul: Zuul | None = None
    registries: FrozenMap[Name, RegistrySettings] = Field(default={}, validate_default=True)
    image_servers: FrozenMap[Name, ImageServerSettings] = Field(default={}, validate_default=True)
    containers: Containers | None = None
    images: Distinct[FileName] = ()
    waivers: Annotated[StrictStr, AfterValidator(_waivers_file)] | None = None
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @property
    def dag_id(self) -> str:
        """The Dag's id, ``<distro><version>-<release>``."""
        return f"{self.distro.name}{self.distro.version}-{self.release}"

    def pipeline(self, stage: Stage) -> Pipeline | None:
        """Return the Zuul pipeline that tests a stage's builds, None when none is known.

        :param stage: one of the release's stages.
        """
        if self.zuul is None:
            return None
        ours = self.zuul.pipeline if any(isinstance(step, Candidate) for step in stage.steps) else None
        name = stage.pipeline or ours
        return Pipeline(name, self.zuul.promote_job) if name else None

    @property
    def jobs(self) -> frozenset[str]:
        """All jobs that a stage requires."""
        waits = [step for stage in self.stages for step in stage.steps if isinstance(step, WaitFor)]
        return frozenset[str]().union(*(step.jobs for step in waits))

    def asset_uri(self, label: str) -> str:
        """Return the URI of the asset that stands for a label: ``dlrn://<host>/<dag id>/<label>``.

        :param label: a promoted label.
        """
        return label_uri(self.dag_id, self.dlrn.repo_url, label)

    def image_root(self, server: str) -> str:
        """Return the folder of the release's builds on an image server.

        :param server: the image server's name.
        """
        return self.image_servers[server].path.format(
            release=self.release, distro=self.distro.name, version=self.distro.version
        )


class Release(ReleaseFile):
    """A release that was read and checked.

    :param file: its file as messages name it, for example ``releases/master.yaml``.
    :param digest: sha256 over the files that it was read from, 64 hex digits.
    :param container_names: the containers' names with their prefix, without registry and namespace.
    """

    file: str
    digest: str
    container_names: tuple[str, ...] = ()

    def repositories(self, registry: str) -> tuple[str, ...]:
        """Return the containers' repositories on a registry, ``<namespace>/<name>``.

        :param registry: the registry's name.
        """
        namespace = self.registries[registry].namespace
        return tuple(f"{namespace}/{name}" for name in self.container_names)
