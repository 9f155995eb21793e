"""The reviewed file of a release's waivers: people change it by a review, so everybody sees who and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rdo_promoter.errors import ConfigError
from rdo_promoter.files.document import Document, KeyPath, Problem, Value
from rdo_promoter.files.reader import read_document
from rdo_promoter.model.build import is_full_hash
from rdo_promoter.model.waivers import Waiver

#: The keys of a waiver, and what to write behind them.
_KEYS = {
    "job": "the required job's name",
    "hash": "the build's full hash",
    "every_hash": "true, for a waiver of the job on every build",
    "reason": "the link of a bug",
    "by": "who decided it",
    "expires": "until when, with a time zone: 2019-03-14T15:00Z",
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:?\d\d)")


def read_waivers(path: Path, file: str) -> tuple[Waiver, ...]:
    """Read a file of waivers.

    It is a list of mappings with ``job``, ``hash`` (or ``every_hash: true``), ``reason``, ``by`` and
    ``expires``. Whether a waiver counts is not asked here: that depends on build and time.

    :param path: the file.
    :param file: how messages name it.
    :raises ConfigError: with one line a problem: ``file:line: key: what is wrong and what to write``.
    """
    return waivers_of(read_document(path, file))


def waivers_of(document: Document) -> tuple[Waiver, ...]:
    """Return the waivers of a file that was read; parameters and errors as `read_waivers`.

    :param document: the file.
    """
    problems = list(document.problems)
    value = document.value
    if not isinstance(value, list | None):
        problems.append(Problem((), "no list: write one waiver a list item, beginning with `- job:`"))
        value = None
    waivers = [_waiver(document, (index,), item, problems) for index, item in enumerate(value or [])]
    if problems:
        raise ConfigError(document.describe(problems))
    return tuple(waiver for waiver in waivers if waiver is not None)


def _waiver(document: Document, at: KeyPath, item: Value, problems: list[Problem]) -> Waiver | None:
    if not isinstance(item, Mapping):
        problems.append(Problem(at, "no waiver: write `job:`, `hash:`, `reason:`, `by:` and `expires:`"))
        return None
    before = len(problems)
    known = ", ".join(_KEYS)
    problems += [Problem((*at, key), f"unknown key; known: {known}") for key in item if key not in _KEYS]
    texts = {key: _text(item, key, at, problems) for key in ("job", "reason", "by", "expires")}
    every = item.get("every_hash") is True
    if "every_hash" in item and not every:
        problems.append(Problem((*at, "every_hash"), "write `every_hash: true`, or `hash:` for one build"))
    if every == ("hash" in item):
        problems.append(
            Problem(at, "one of `hash: <full hash>` and `every_hash: true` says which builds: write one")
        )
    full_hash = None if every else _text(item, "hash", at, problems if "hash" in item else [])
    if full_hash and not is_full_hash(full_hash):
        problems.append(
            Problem((*at, "hash"), f"{full_hash!r} is no full hash: copy the build's directory name")
        )
    expires = _seconds(texts["expires"], (*at, "expires"), problems) if texts["expires"] else 0
    if len(problems) > before:
        return None
    place = document.place(at)
    return Waiver(
        job=texts["job"],
        full_hash=full_hash,
        reason=texts["reason"],
        by=texts["by"],
        expires=expires,
        origin=f"{place.file}:{place.line}",
    )


def _text(item: Mapping[str, Value], key: str, at: KeyPath, problems: list[Problem]) -> str:
    value = item.get(key)
    if isinstance(value, str) and value.strip():
        return value.strip()
    problems.append(Problem((*at, key) if key in item else at, f"`{key}:` is missing: write {_KEYS[key]}"))
    return ""


def _seconds(text: str, at: KeyPath, problems: list[Problem]) -> int:
    """Return a time as seconds since the epoch; without a time zone nobody knows which time it is."""
    try:
        if _TIME.fullmatch(text):
            return int(datetime.fromisoformat(text.replace(" ", "T")).astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        pass
    problems.append(
        Problem(at, f"{text!r} is no time: write date, time and time zone, for example 2019-03-14T15:00Z")
    )
    return 0
