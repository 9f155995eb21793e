"""Pydantic's errors in the words of a release file: what is wrong, and what to write instead."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from rdo_promoter.files.document import Document, KeyPath, Problem, Value, lookup
from rdo_promoter.release.models import ReleaseFile
from rdo_promoter.steps import BY_KEY
from rdo_promoter.steps.fields import closest, format_duration, nearest

_KINDS_OF_VALUE = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list, for example [a, b]",
    "list_type": "a list, for example [a, b]",
    "mapping_type": "a mapping, for example {key: value}",
    "dict_type": "a mapping, for example {key: value}",
    "model_type": "a mapping, for example {key: value}",
    "model_attributes_type": "a mapping, for example {key: value}",
}
_LIMITS = {"greater_than_equal": ("ge", "at least"), "less_than_equal": ("le", "at most")}


@functools.cache
def json_schema() -> Mapping[str, Any]:
    """Return the JSON schema of a release file."""
    return TypeAdapter(ReleaseFile).json_schema()


def shape_problems(error: ValidationError, document: Document) -> Iterable[Problem]:
    """Return a problem for each of pydantic's errors.

    :param error: what validation of a release file raised.
    :param document: what was validated.
    """
    value = document.value
    for detail in error.errors(include_url=False):
        # `[key]` marks a key of a mapping that is itself wrong: the path is the key's.
        path = tuple(part for part in detail["loc"] if part != "[key]")
        if not _follows(detail["type"], path, value):
            yield Problem(path, _message(detail, path, document))


def _follows(kind: str, path: KeyPath, value: Value) -> bool:
    """Tell whether an error only follows from another one that is reported as well."""
    if kind == "too_short":
        # Items that are wrong are not counted.
        return bool(lookup(value, path))
    if kind == "missing":
        # Misspelled: the unknown key is reported with the right one.
        written, known = lookup(value, path[:-1]), known_keys(path[:-1])
        unknown = [key for key in written if key not in known] if isinstance(written, dict) else []
        return any(closest(key, known) == path[-1] for key in unknown)
    return False


def _message(detail: ErrorDetails, path: KeyPath, document: Document) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    value = document.value
    message = detail["msg"]
    if kind == "extra_forbidden":
        message = f"unknown key; {nearest(path[-1], known_keys(path[:-1]))}"
    elif kind == "missing":
        message = f"missing: add `{path[-1]}:` here"
    elif kind.startswith("union_tag"):
        message = _not_a_step(lookup(value, path))
    elif kind == "value_error":
        message = str(context["error"])
    elif kind == "literal_error":
        message = f"{given!r} is not known here; {nearest(given, _choices(path))}"
    elif kind == "too_short":
        message = "must not be empty: add at least one item"
    elif kind in _LIMITS:
        key, words = _LIMITS[kind]
        message = f"{lookup(value, path)!r} is out of range: write {words} {_limit(path, context[key])}"
    elif kind in _KINDS_OF_VALUE:
        message = _wrong_type(_KINDS_OF_VALUE[kind], given, document.written.get(path))
    return message


def _limit(path: KeyPath, limit: object) -> str:
    # Durations are compared in seconds and written with a unit.
    if isinstance(limit, int) and _schema_at(path).get("type") == "string":
        return format_duration(limit)
    return str(limit)


def _wrong_type(expected: str, given: object, written: str | None) -> str:
    """Say what is there and what is needed.

    :param written: a value that is no text as it was written: who wrote ``yes`` knows no ``True``.
    """
    if given is None:
        return f"empty, but it has to be {expected}"
    if isinstance(given, Mapping):
        found = "a mapping"
    elif isinstance(given, list | tuple):
        found = "a list"
    elif written is not None and isinstance(given, bool | int | float):
        kind = "a truth value" if isinstance(given, bool) else "a number"
        hint = f": write it in quotes, '{written}'" if expected == "text" else ""
        return f"{written} is {kind} where {expected} is needed{hint}"
    else:
        found = repr(given)
    return f"{found} where {expected} is needed"


def _not_a_step(step: Value) -> str:
    known = ", ".join(sorted(BY_KEY))
    if isinstance(step, dict) and len(step) == 1:
        key = next(iter(step))
        return f"unknown step {key!r}; {nearest(key, BY_KEY)}"
    if isinstance(step, dict) and step:
        return (
            f"a step is one key with its settings indented below it, not {len(step)} keys "
            f"({', '.join(map(repr, step))}); known: {known}"
        )
    return f"a step is written as `- <kind>: {{...}}`; known: {known}"


def known_keys(path: KeyPath) -> tuple[str, ...]:
    """Return the keys that may be written at a path of a release file."""
    return tuple(_schema_at(path).get("properties", {}))


def _choices(path: KeyPath) -> tuple[str, ...]:
    schema = _schema_at(path)
    return tuple(str(choice) for choice in schema.get("enum", [schema["const"]] if "const" in schema else []))


def _schema_at(path: KeyPath) -> Mapping[str, Any]:
    schema = _resolve(json_schema())
    for part in path:
        schema = _resolve(_inside(schema, part))
    return schema


def _resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = json_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        # An optional value: what it is when it is there.
        if choice.get("type") != "null":
            return _resolve(choice)
    return schema


def _inside(schema: Mapping[str, Any], part: str | int) -> Mapping[str, Any]:
    if isinstance(part, int):
        return schema.get("items") or {}
    for choice in (schema, *schema.get("oneOf", ())):
        if part in choice.get("properties", {}):
            return choice["properties"][part]  # type: ignore[no-any-return]  # JSON
    more = schema.get("additionalProperties")
    return more if isinstance(more, Mapping) else {}
