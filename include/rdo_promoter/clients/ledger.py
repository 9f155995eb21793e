"""The ledger: append-only entries, one JSON file each, in ``<root>/<Dag id>/<folder>/<entry's name>``.

A label's folder holds the facts about its promotions; a Dag's folder ``@decisions`` what people decided.
"""

from __future__ import annotations

import json
from pathlib import Path

from rdo_promoter.clients.ledger_files import parse_entry
from rdo_promoter.clients.ledger_store import LocalStore, RemoteRoot, RemoteStore, Store, is_local
from rdo_promoter.errors import AnswerError
from rdo_promoter.model.build import check_label
from rdo_promoter.model.decisions import DECISIONS, Decision
from rdo_promoter.model.ledger import Fact, Planned, Promoted, check_dag_id, unfinished


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
        self._seen: dict[str, Decision] = {}

    @property
    def where(self) -> str:
        """The root, for messages."""
        return self._store.where

    def append(self, entry: Fact | Decision) -> str:
        """Write an entry down and return its name below the root; one that is there is not written again.

        A promotion is the same fact whenever it is verified, unless it was planned anew in between: then
        something had to be mended, and this closes that plan.

        :raises ServiceError: when the ledger does not answer.
        """
        folder = entry.folder
        names = self._names(*folder)
        same = [name for name in names if name.endswith(f"-{entry.suffix}")]
        if same and not any(f"-{Planned.kind}-" in name and _time(name) > _time(same[-1]) for name in names):
            return "/".join((*folder, same[-1]))
        content = json.dumps(entry.to_json(), indent=2, sort_keys=True) + "\n"
        self._store.write(content.encode(), *folder, entry.name)
        return "/".join((*folder, entry.name))

    def decisions(self, dag_id: str) -> list[Decision]:
        """Return what people decided about a release, oldest first; what was read before is not read again.

        :param dag_id: the release's Dag.
        :raises ServiceError: when the ledger does not answer: nobody knows then what is decided.
        :raises AnswerError: when a file in it is no decision; it names the file.
        """
        found: list[Decision] = []
        for name in self._names(check_dag_id(dag_id), DECISIONS):
            path = (dag_id, DECISIONS, name)
            key = "/".join(path)
            if key not in self._seen:
                entry = self._read(*path)
                if isinstance(entry, Planned | Promoted):
                    raise AnswerError(f"{self.where}/{key} is no decision, but a fact about {entry.label}")
                self._seen[key] = entry
            found.append(self._seen[key])
        return sorted(found, key=lambda entry: entry.name)

    def facts(self, dag_id: str | None = None, label: str | None = None) -> list[Fact]:
        """Return the facts, oldest first; files of other Dags and labels are not read.

        :param dag_id: only this Dag's.
        :param label: only this label's.
        :raises ServiceError: when the ledger does not answer.
        :raises AnswerError: when a file in it is no fact; it names the file.
        """
        found = [
            self._fact(*folder, name)
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
            found += [self._fact(*folder, name) for name in names if _time(name) >= last]
        return unfinished(found)

    def _folders(self, dag_id: str | None, label: str | None) -> list[tuple[str, str]]:
        dag_ids = self._names() if dag_id is None else [check_dag_id(dag_id)]
        if label is not None:
            check_label(label)
        return [
            (each, name)
            for each in dag_ids
            for name in (self._names(each) if label is None else [label])
            if name != DECISIONS
        ]

    def _names(self, *folder: str) -> list[str]:
        """Return the names in a folder without hidden and temporary ones."""
        names = self._store.names(*folder)
        return [name for name in names if not name.startswith(".") and not name.endswith(("~", ".tmp"))]

    def _fact(self, *path: str) -> Fact:
        entry = self._read(*path)
        if isinstance(entry, Planned | Promoted):
            return entry
        raise AnswerError(f"{self.where}/{'/'.join(path)} is a decision, and no fact about a promotion")

    def _read(self, *path: str) -> Fact | Decision:
        file = "/".join((self.where, *path))
        try:
            entry = parse_entry(self._store.read(*path))
        except AnswerError as error:
            raise AnswerError(
                f"{file} is no fact of the ledger: {error}. Nothing else may be kept there, and facts are "
                "never edited: move the file away when you know what it is"
            ) from error
        if entry.folder != path[:2]:
            raise AnswerError(
                f"{file} is a fact of {' and '.join(entry.folder)}; facts never move: put it back there"
            )
        return entry


def _time(name: str) -> str:
    return name.partition("-")[0]
