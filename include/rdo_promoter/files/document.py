"""YAML as plain values that know where they were written: file and line of every key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rdo_promoter.model.text import one_line

#: What YAML can hold, dates and binary data aside.
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
KeyPath = tuple[str | int, ...]

#: So many problems are told; who has mended those sees the others.
_MOST_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a release file that cannot be used.

    :param path: keys and list indexes that lead to it, from the place of whoever reports it.
    :param message: what is wrong and what to write instead.
    """

    path: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written.

    :param file: the file as messages name it, for example ``releases/master.yaml``.
    :param line: the line, from 1.
    """

    file: str
    line: int


@dataclass(slots=True)
class Document:
    """A YAML file: its value, the places of its keys and items, and what is wrong with it as YAML.

    :param file: the file as messages name it.
    :param data: the file's bytes.
    :param value: the plain value.
    :param places: where the key or list item at a path was written; ``()`` is the file's beginning.
    :param written: the values that are no text, as they were written: ``7.10``, ``yes``.
    :param problems: duplicate keys and the like.
    """

    file: str
    data: bytes
    value: Value = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """Return where a path was written, or the nearest thing above it that was written."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.file, 1))

    def describe(self, problems: Iterable[Problem]) -> str:
        """Return one line a problem, in the order of the file: ``file:line: path: message``.

        Whatever stood in the file stays in its line here.
        """
        located = sorted({(self.place(p.path), spell(p.path), p.message) for p in problems}, key=_order)
        lines = [
            one_line(
                f"{place.file}:{place.line}: {path}: {message}"
                if path
                else f"{place.file}:{place.line}: {message}"
            )
            for place, path, message in located
        ]
        if len(lines) > _MOST_PROBLEMS:
            more = len(lines) - _MOST_PROBLEMS
            lines[_MOST_PROBLEMS:] = [f"{self.file}: and {more} more problems: mend these first"]
        return "\n".join(lines)


def _order(located: tuple[Place, str, str]) -> tuple[str, int, str, str]:
    place, path, message = located
    return place.file, place.line, path, message


def spell(path: KeyPath) -> str:
    """Write a path as people do: ``stages[0].steps[1].wait_for.jobs``.

    A key that would not stay in its line, or could not be seen, is written with escapes.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        key = part if part.isprintable() and part.strip() else ascii(part)
        text += f".{key}" if text else key
    return text


def merge(defaults: Document, document: Document) -> Document:
    """Lay a document over its defaults: mappings are merged, everything else is replaced."""
    merged = Document(document.file, document.data, places=dict(document.places))
    merged.problems = list(document.problems)
    merged.written = defaults.written | document.written
    merged.value = _merge(defaults, document.value, defaults.value, (), merged.places)
    return merged


def _merge(
    defaults: Document, over: Value, under: Value, path: KeyPath, places: dict[KeyPath, Place]
) -> Value:
    if not isinstance(over, dict) or not isinstance(under, dict):
        return over
    result: dict[str, Value] = {}
    for key, value in under.items():
        here = (*path, key)
        if key in over:
            result[key] = _merge(defaults, over[key], value, here, places)
        else:
            result[key] = value
            places.update((p, at) for p, at in defaults.places.items() if p[: len(here)] == here)
    result.update((key, value) for key, value in over.items() if key not in under)
    return result


def lookup(value: Value, path: KeyPath) -> Value:
    """Return what stands at a path, None when nothing does."""
    for part in path:
        if isinstance(value, Mapping) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            value = value[part]
        else:
            return None
    return value
