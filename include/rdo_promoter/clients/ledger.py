"""The ledger: append-only entries, one JSON file each, in ``<root>/<Dag id>/<folder>/<entry's name>``.

A label's folder holds the facts about its promotions; a Dag's folder ``@decisions`` what people decided.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rdo_promoter.clients.ledger_files import parse_entry
from rdo_promoter.clients.ledger_store import LocalStore, RemoteRoot, RemoteStore, Store, is_local
from rdo_promoter.errors import AnswerError
from rdo_promoter.model.build import check_label
from rdo_promoter.model.decisions import DECISIONS, Decision
from rdo_promoter.model.ledger import Fact, Planned, Promoted, check_dag_id, is_dag_id, unfinished
from rdo_promoter.model.promotions import PromotionRow

#: How a name begins, and how its time is written.
_NAME, _TIME = re.compile(r"\d{8}T\d{6}Z-"), "%Y%m%dT%H%M%SZ"


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

        A fact's name sorts behind those that are there, whatever its time: their order decides what is
        unfinished, and DLRN's clock may have been set back.

        :raises ServiceError: when the ledger does not answer.
        """
        folder = entry.folder
        names = self._names(*folder)
        same = [name for name in names if name.endswith(f"-{entry.suffix}")]
        if same and not any(f"-{Planned.kind}-" in name and _time(name) > _time(same[-1]) for name in names):
            return "/".join((*folder, same[-1]))
        content = json.dumps(entry.to_json(), indent=2, sort_keys=True) + "\n"
        name = _behind(names, entry) if isinstance(entry, Fact) else entry.name
        self._store.write(content.encode(), *folder, name)
        return "/".join((*folder, name))

    def dag_ids(self) -> list[str]:
        """Return the Dags that have a folder; what cannot be a Dag's (``lost+found``) is passed over.

        :raises ServiceError: when the ledger does not answer.
        """
        return [name for name in self._names() if is_dag_id(name)]

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
                if isinstance(entry, Fact):
                    raise AnswerError(f"{self.where}/{key} is no decision, but a fact about {entry.label}")
                self._seen[key] = entry
            found.append(self._seen[key])
        return sorted(found, key=lambda entry: entry.name)

    def facts(self, dag_id: str | None = None, label: str | None = None) -> list[Fact]:
        """Return the facts in the order in which they were written; only files that are asked for are read.

        :param dag_id: only this Dag's.
        :param label: only this label's.
        :raises ServiceError: when the ledger does not answer.
        :raises AnswerError: when a file in it is no fact; it names the file.
        """
        folders = self._folders(dag_id, label)
        return self._facts((*folder, name) for folder in folders for name in self._names(*folder))

    def promoted(self, row: PromotionRow, dag_id: str) -> Promoted | None:
        """Return the first fact that says of a row of DLRN's that it was carried out, None without one.

        :param row: the row.
        :param dag_id: the release's Dag.
        :raises ServiceError: when the ledger does not answer.
        """
        # Its name ends by what makes two facts the same one: dag_id, label, build and timestamp.
        same = Promoted(
            dag_id=dag_id,
            label=row.label,
            build=row.build,
            timestamp=row.timestamp,
            at=row.timestamp,
            by="",
            via="airflow",
            file="",
            digest="",
            previous=None,
        )
        found = sorted(name for name in self._names(*same.folder) if name.endswith(f"-{same.suffix}"))
        entry = self._read(*same.folder, found[0]) if found else None
        return entry if isinstance(entry, Promoted) else None

    def unfinished(self, dag_id: str | None = None, label: str | None = None) -> tuple[Planned, ...]:
        """Return the plans that were neither carried out, nor overtaken, nor given up, oldest first.

        A label's last promotion closes what is older, so older files are not read: a ledger of years costs
        no more than one of a day.

        :param dag_id: only this Dag's.
        :param label: only this label's.
        :raises ServiceError: when the ledger does not answer.
        :raises AnswerError: when a file in it is no fact; it names the file.
        """
        paths: list[tuple[str, str, str]] = []
        for folder in self._folders(dag_id, label):
            names = self._names(*folder)
            last = max((_time(name) for name in names if f"-{Promoted.kind}-" in name), default="")
            paths += [(*folder, name) for name in names if _time(name) >= last]
        return unfinished(self._facts(paths))

    def _folders(self, dag_id: str | None, label: str | None) -> list[tuple[str, str]]:
        dag_ids = self.dag_ids() if dag_id is None else [check_dag_id(dag_id)]
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

    def _facts(self, paths: Iterable[tuple[str, str, str]]) -> list[Fact]:
        return [self._fact(*path) for path in sorted(paths, key=lambda path: _order(path[-1]))]

    def _fact(self, *path: str) -> Fact:
        entry = self._read(*path)
        if isinstance(entry, Fact):
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


def _order(name: str) -> tuple[str, bool, str]:
    """Return what facts are sorted by; of two that were written at once neither writer saw the other's.

    So a promotion with the time of a plan has not carried it out.
    """
    return _time(name), f"-{Planned.kind}-" in name, name


def _behind(names: Iterable[str], fact: Fact) -> str:
    last = max((_time(name) for name in names if _NAME.match(name)), default="")
    if _time(fact.name) > last:
        return fact.name
    then = datetime.strptime(last, _TIME).replace(tzinfo=UTC) + timedelta(seconds=1)
    return f"{then:{_TIME}}-{fact.suffix}"
