"""What DLRN sends, read into values of the model; nothing above sees a raw answer."""

from __future__ import annotations

import csv
import io
from typing import Annotated, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.build import AggregateHash, Build, DlrnHash
from rdo_promoter.model.handoff import Package
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.votes import Vote

_T = TypeVar("_T")

#: The fields of a package, and their columns in ``versions.csv``.
_COLUMNS = {
    "project": "Project",
    "source": "Source Repo",
    "commit_hash": "Source Sha",
    "distgit": "Dist Repo",
    "distro_hash": "Dist Sha",
    "nvr": "Pkg NVR",
    "status": "Status",
}


def _absent(value: object) -> object:
    """DLRN spells "no value" as null in JSON, and as the string None in YAML and in old rows."""
    return None if value in ("", "None") else value


def _text(value: object) -> object:
    return "" if value is None else value


_Optional = Annotated[StrictStr | None, BeforeValidator(_absent)]
_Md5 = Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{32}$")]
_Text = Annotated[StrictStr, BeforeValidator(_text)]


class _Answer(BaseModel):
    """A foreign object: keys that a newer server adds are of no interest."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _BuildAnswer(_Answer):
    commit_hash: StrictStr
    distro_hash: StrictStr
    extended_hash: _Optional = None
    component: _Optional = None

    @property
    def build(self) -> DlrnHash:
        return DlrnHash(self.commit_hash, self.distro_hash, self.extended_hash, self.component)


class _PromotionAnswer(_BuildAnswer):
    promote_name: StrictStr
    timestamp: FiniteFloat  # the answer to a POST has a float, a GET an integer
    user: _Text = ""
    aggregate_hash: Annotated[_Md5 | None, BeforeValidator(_absent)] = None


class _VoteAnswer(_Answer):
    job_id: StrictStr
    success: bool
    timestamp: FiniteFloat
    url: _Text = ""
    in_progress: bool | None = None
    user: _Text = ""
    notes: _Text = ""
    # Of the build that DLRN took the question to mean; rows of an aggregate have none.
    commit_hash: _Optional = None
    distro_hash: _Optional = None
    extended_hash: _Optional = None


class _CommitsFile(_Answer):
    commits: tuple[_BuildAnswer, ...]


_PROMOTION = TypeAdapter(_PromotionAnswer)
_PROMOTIONS = TypeAdapter(tuple[_PromotionAnswer, ...])
_VOTE = TypeAdapter(_VoteAnswer)
_VOTES = TypeAdapter(tuple[_VoteAnswer, ...])
_COMMITS = TypeAdapter(_CommitsFile)


def promotion_row(data: object, where: str) -> PromotionRow:
    """Read the answer to a promotion.

    :param where: the question, for messages.
    :raises AnswerError: when it is no promotion.
    """
    return _promotion(_read(_PROMOTION, data, where), where)


def promotion_rows(data: object, where: str) -> list[PromotionRow]:
    """Read the rows of ``/api/promotions``, in DLRN's order.

    :raises AnswerError: when they are no promotions.
    """
    return [_promotion(row, where) for row in _read(_PROMOTIONS, data, where)]


def vote(data: object, where: str, build: Build) -> Vote:
    """Read the answer to a reported result.

    :param build: the build that it was reported on.
    :raises AnswerError: when it is no vote on that build.
    """
    row = _read(_VOTE, data, where)
    _check_build(row, build, where)
    return _vote(row)


def votes(data: object, where: str, build: Build) -> list[Vote]:
    """Read the rows of ``/api/repo_status`` or ``/api/agg_status``.

    Asked without an extended hash, DLRN answers for the newest build of the two other hashes; a vote on
    that one is no vote on the build that was asked for.

    :param build: the build that was asked for.
    :raises AnswerError: when they are no votes, or votes on another build.
    """
    rows = _read(_VOTES, data, where)
    for row in rows:
        _check_build(row, build, where)
    return [_vote(row) for row in rows]


def _check_build(row: _VoteAnswer, build: Build, where: str) -> None:
    """Refuse a vote on another build; votes on an aggregate name no commit."""
    if isinstance(build, AggregateHash):
        return
    found = (row.commit_hash, row.distro_hash, row.extended_hash)
    if found != (build.commit_hash, build.distro_hash, build.extended_hash):
        raise AnswerError(
            f"{where}: DLRN answers for commit {found[0]}, distro {found[1]}, extended hash {found[2]}; "
            f"asked was {build} with extended hash {build.extended_hash}; name the build with all its hashes"
        )


def commit_yaml(text: str, where: str) -> DlrnHash:
    """Read the build out of a ``commit.yaml``: the first of its commits.

    :raises AnswerError: when it is none.
    """
    try:
        # BaseLoader makes nothing but strings, which DLRN writes: a hash of digits stays a hash.
        data: object = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise AnswerError(f"{where} is no YAML: {' '.join(str(error).split())[:200]}") from error
    commits = _read(_COMMITS, data, where).commits
    if not commits:
        raise AnswerError(f"{where} names no commit")
    return _build(commits[0], where)


def versions_csv(text: str, where: str) -> tuple[Package, ...]:
    """Read a build's ``versions.csv``, in its order; columns that a newer DLRN adds are of no interest.

    :raises AnswerError: when it is none.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if missing := [name for name in _COLUMNS.values() if name not in (reader.fieldnames or ())]:
            raise AnswerError(f"{where} has no column {missing[0]!r}; is it a DLRN's?")
        rows = [{field: row[name] for field, name in _COLUMNS.items()} for row in reader]
    except csv.Error as error:
        raise AnswerError(f"{where}: line {reader.line_num}: {error}") from error
    for number, row in enumerate(rows, start=1):
        # A package that was never built has no package file.
        never_built = row["status"] not in (None, "SUCCESS") and row["nvr"] == ""
        if not all(value or (never_built and field == "nvr") for field, value in row.items()):
            raise AnswerError(f"{where}: package {number} lacks a field; its upload may have been cut off")
    return tuple(Package(**row) for row in rows)


def _promotion(row: _PromotionAnswer, where: str) -> PromotionRow:
    build = _build(row, where)
    return PromotionRow(row.promote_name, build, int(row.timestamp), row.user, row.aggregate_hash)


def _vote(row: _VoteAnswer) -> Vote:
    return Vote(
        job=row.job_id,
        success=row.success,
        timestamp=int(row.timestamp),
        url=row.url,
        in_progress=bool(row.in_progress),
        user=row.user,
        notes=row.notes,
    )


def _build(row: _BuildAnswer, where: str) -> DlrnHash:
    try:
        return row.build
    except ConfigError as error:
        raise AnswerError(f"{where} names a build that cannot be one: {error}") from error


def _read(adapter: TypeAdapter[_T], data: object, where: str) -> _T:
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "answer"
        raise AnswerError(
            f"{where}: {place} is {first['input']!r:.80}: {first['msg']}; is this the address of a DLRN?"
        ) from error
