"""The ledger: append-only facts, one JSON file each, in ``<root>/<Dag id>/<label>/<fact's name>``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter
from pydantic import ValidationError as InvalidError

from rdo_promoter.clients.ledger_store import LocalStore, RemoteRoot, RemoteStore, Store, is_local
from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.build import AggregateHash, DlrnHash, build_from_json, check_label
from rdo_promoter.model.ledger import Fact, Planned, Promoted, Via, check_dag_id, unfinished


class Ledger:
    """The ledger below a root. Facts are added and never changed.

    :param root: an existing folder (`Path`), or a place in an object store (UPath, ObjectStoragePath). Making
        a ledger touches nothing.
    """

    def __init__(self, root: Path | RemoteRoot) -> None:
        self._store: Store
        if isinstance(root, Path):
            self._store = LocalStore(root)
        else:
            self._store = LocalStore(Path(root.path)) if is_local(root) else RemoteStore(root)

    @property
    def where(self) -> str:
        """The root, for messages."""
        return self._store.where

    def append(self, fact: Fact) -> str:
        """Write a fact down and return its name below the root; a fact that is there is not written again.

        A promotion is the same fact whenever it is verified, unless it was planned anew in between: then
        something had to be mended, and this closes that plan.

        :raises ServiceError: when the ledger does not answer.
        """
        folder = (fact.dag_id, fact.label)
        names = self._names(*folder)
        same = [name for name in names if name.endswith(f"-{fact.suffix}")]
        if same and not any(f"-{Planned.kind}-" in name and _time(name) > _time(same[-1]) for name in names):
            return "/".join((*folder, same[-1]))
        content = json.dumps(fact.to_json(), indent=2, sort_keys=True) + "\n"
        self._store.write(content.encode(), *folder, fact.name)
        return "/".join((*folder, fact.name))

    def facts(self, dag_id: str | None = None, label: str | None = None) -> list[Fact]:
        """Return the facts, oldest first; files of other Dags and labels are not read.

        :param dag_id: only this Dag's.
        :param label: only this label's.
        :raises ServiceError: when the ledger does not answer.
        :raises AnswerError: when a file in it is no fact; it names the file.
        """
        found = [
            self._read(*folder, name)
            for folder in self._folders(dag_id, label)
            for name in self._names(*folder)
        ]
        return sorted(found, key=lambda fact: fact.name)

    def unfinished(self, dag_id: str | None = None, label: str | None = None) -> tuple[Planned, ...]:
        """Return the plans that were neither carried out nor overtaken, oldest first.

        A label's last promotion closes what is older, so older files are not read: a ledger of years costs
        no more than one of a day.

        :param dag_id: only this Dag's.
        :param label: only this label's.
        :raises ServiceError: when the ledger does not answer.
        :raises AnswerError: when a file in it is no fact; it names the file.
        """
        found: list[Fact] = []
        for folder in self._folders(dag_id, label):
            names = self._names(*folder)
            last = max((_time(name) for name in names if f"-{Promoted.kind}-" in name), default="")
            found += [self._read(*folder, name) for name in names if _time(name) >= last]
        return unfinished(found)

    def _folders(self, dag_id: str | None, label: str | None) -> list[tuple[str, str]]:
        dag_ids = self._names() if dag_id is None else [check_dag_id(dag_id)]
        if label is not None:
            check_label(label)
        return [
            (each, name) for each in dag_ids for name in (self._names(each) if label is None else [label])
        ]

    def _names(self, *folder: str) -> list[str]:
        """Return the names in a folder without hidden and temporary ones."""
        names = self._store.names(*folder)
        return [name for name in names if not name.startswith(".") and not name.endswith(("~", ".tmp"))]

    def _read(self, *path: str) -> Fact:
        file = "/".join((self.where, *path))
        try:
            fact = parse_fact(self._store.read(*path))
        except AnswerError as error:
            raise AnswerError(
                f"{file} is no fact of the ledger: {error}. Nothing else may be kept there, and facts are "
                "never edited: move the file away when you know what it is"
            ) from error
        if (fact.dag_id, fact.label) != path[:2]:
            raise AnswerError(
                f"{file} is a fact of {fact.dag_id} and {fact.label}; facts never move: put it back there"
            )
        return fact


def parse_fact(content: bytes) -> Fact:
    """Read what `Ledger.append` wrote.

    :raises AnswerError: when it is anything else.
    """
    try:
        return _FACT.validate_json(content).fact
    except InvalidError as error:
        problems = [(".".join(str(part) for part in item["loc"]), item["msg"]) for item in error.errors()]
        raise AnswerError("; ".join(f"{key}: {said}" if key else said for key, said in problems)) from error
    except ConfigError as error:
        raise AnswerError(str(error)) from error


def _time(name: str) -> str:
    return name.partition("-")[0]


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
    """The fields of every fact; see `rdo_promoter.model.ledger`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    dag_id: StrictStr
    label: StrictStr
    build: _AnyBuild
    at: _Seconds
    by: StrictStr
    via: Via
    file: StrictStr
    digest: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}$")]


class _PlannedFile(_File):
    kind: Literal["planned"]
    was: _AnyBuild | None
    summary: StrictStr
    wanted: StrictStr

    @property
    def fact(self) -> Fact:
        fields = {name: value for name, value in self if name != "kind"}
        return Planned(**fields)


class _PromotedFile(_File):
    kind: Literal["promoted"]
    previous: _AnyBuild | None
    timestamp: _Seconds

    @property
    def fact(self) -> Fact:
        fields = {name: value for name, value in self if name != "kind"}
        return Promoted(**fields)


_FACT: TypeAdapter[_PlannedFile | _PromotedFile] = TypeAdapter(
    Annotated[_PlannedFile | _PromotedFile, Field(discriminator="kind")]
)
