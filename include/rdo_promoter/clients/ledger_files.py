"""What the files of the ledger hold, read strictly: nobody else may write there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter
from pydantic import ValidationError as InvalidError

from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.build import AggregateHash, DlrnHash, build_from_json
from rdo_promoter.model.decisions import Answer, Answered, Decision, Doomed, Held, Lifted, MarkedBad, Waived
from rdo_promoter.model.ledger import Fact, GivenUp, Planned, Promoted, Via


def parse_entry(content: bytes) -> Fact | Decision:
    """Read what `Ledger.append` wrote.

    :raises AnswerError: when it is anything else.
    """
    try:
        file = _ENTRY.validate_json(content)
        return _MADE_OF[type(file)](**{name: value for name, value in file if name != "kind"})
    except InvalidError as error:
        problems = [(".".join(str(part) for part in item["loc"]), item["msg"]) for item in error.errors()]
        raise AnswerError("; ".join(f"{key}: {said}" if key else said for key, said in problems)) from error
    except ConfigError as error:
        raise AnswerError(str(error)) from error


def _build(value: object) -> object:
    """Read a build; with what it does not know of, it would not be the same again."""
    try:
        build = build_from_json(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    if build.to_json() != value:
        raise ValueError(f"{value!r} has keys that a build has not")
    return build


_AnyBuild = Annotated[DlrnHash | AggregateHash, BeforeValidator(_build)]
_Seconds = Annotated[StrictInt, Field(ge=0, lt=2**33)]


class _File(BaseModel):
    """The fields of every entry; see `rdo_promoter.model.ledger`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    dag_id: StrictStr
    at: _Seconds
    by: StrictStr
    via: Via


class _FactFile(_File):
    label: StrictStr
    build: _AnyBuild
    file: StrictStr
    digest: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]


class _PlannedFile(_FactFile):
    kind: Literal["planned"]
    was: _AnyBuild | None
    summary: StrictStr
    wanted: StrictStr
    group: StrictStr = ""


class _PromotedFile(_FactFile):
    kind: Literal["promoted"]
    previous: _AnyBuild | None
    timestamp: _Seconds


class _GivenUpFile(_FactFile):
    kind: Literal["given_up"]
    plan: StrictStr
    reason: StrictStr


class _DecisionFile(_File):
    """The fields of every decision; see `rdo_promoter.model.decisions`."""

    reason: StrictStr


class _WaivedFile(_DecisionFile):
    kind: Literal["waived"]
    job: StrictStr
    full_hash: StrictStr | None
    expires: _Seconds


class _HeldFile(_DecisionFile):
    kind: Literal["held"]
    label: StrictStr | None
    full_hash: StrictStr | None
    expires: _Seconds | None


class _MarkedBadFile(_DecisionFile):
    kind: Literal["marked_bad"]
    full_hash: StrictStr


class _LiftedFile(_DecisionFile):
    kind: Literal["lifted"]
    lifts: StrictStr


class _AnsweredFile(_DecisionFile):
    kind: Literal["answered"]
    full_hash: StrictStr
    run_id: StrictStr
    task_id: StrictStr
    question: StrictStr
    answer: Answer
    until: _Seconds | None


class _DoomedFile(_DecisionFile):
    kind: Literal["doomed"]
    full_hash: StrictStr
    task_id: StrictStr


_MADE_OF: dict[type[_File], type[Fact | Decision]] = {
    _PlannedFile: Planned,
    _PromotedFile: Promoted,
    _GivenUpFile: GivenUp,
    _WaivedFile: Waived,
    _HeldFile: Held,
    _MarkedBadFile: MarkedBad,
    _LiftedFile: Lifted,
    _AnsweredFile: Answered,
    _DoomedFile: Doomed,
}

_AnyFile = (
    _PlannedFile
    | _PromotedFile
    | _GivenUpFile
    | _WaivedFile
    | _HeldFile
    | _MarkedBadFile
    | _LiftedFile
    | _AnsweredFile
    | _DoomedFile
)
_ENTRY: TypeAdapter[_AnyFile] = TypeAdapter(Annotated[_AnyFile, Field(discriminator="kind")])
