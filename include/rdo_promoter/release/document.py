"""YAML as plain values that know where they were written: file and line of every key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rdo_promoter.errors import ConfigError
from rdo_promoter.steps.base import Problem

#: What YAML can hold, dates and binary data aside.
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
KeyPath = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"
_SCALARS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_COLLECTIONS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_TEXT = "tag:yaml.org,2002:str"
_DATE = "tag:yaml.org,2002:timestamp"
#: No release needs more; it bounds what aliases of aliases can blow up to.
_MOST_VALUES = 50_000
_MOST_BYTES = 4_000_000
_DEEPEST = 50
#: libyaml's loader where PyYAML has it: 20 times faster, and Airflow reads the files again and again.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    :param problems: duplicate keys and the like.
    """

    file: str
    data: bytes
    value: Value = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """Return where a path was written, or the nearest thing above it that was written."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.file, 1))

    def describe(self, problems: Iterable[Problem]) -> str:
        """Return one line a problem, in the order of the file: ``file:line: path: message``."""
        located = sorted({(self.place(p.path), spell(p.path), p.message) for p in problems}, key=_order)
        return "\n".join(
            f"{place.file}:{place.line}: {path}: {message}"
            if path
            else f"{place.file}:{place.line}: {message}"
            for place, path, message in located
        )


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


def read_document(path: Path, file: str) -> Document:
    """Read a YAML file.

    :param path: the file.
    :param file: how messages name it.
    :raises ConfigError: when it cannot be read or is no YAML; what is readable but wrong is in
        ``problems``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; check the path and its mode") from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{file}: {len(data)} bytes are no release file; at most {_MOST_BYTES} are read")
    return parse_document(data, file)


def parse_document(data: bytes, file: str) -> Document:
    """Read YAML; parameters and errors as `read_document`."""
    document = Document(file, data)
    try:
        text = data.decode("utf-8-sig")
        _check_depth(text, file)
        node = yaml.compose(text, Loader=_LOADER)
        if node is not None:
            _Reader(document).read(node, (), Place(file, node.start_mark.line + 1))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}:{line}: byte {error.start} is not UTF-8: save the file as UTF-8"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            f"{file}:{line}: this is no YAML: {reason}; check indentation and quotes"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: this is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: nested too deeply for a release file") from error
    return document


def _check_depth(text: str, file: str) -> None:
    # Events come one by one; composing is a recursion, in C one without a bound.
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigError(f"{file}:{line}: nested too deeply for a release file")


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._constructor = yaml.SafeLoader("")
        self._above: list[int] = []
        self._values = 0

    def read(self, node: yaml.Node, path: KeyPath, place: Place) -> None:
        self._document.places[()] = Place(place.file, 1)
        self._document.value = self._value(node, path)

    def _problem(self, path: KeyPath, message: str) -> None:
        self._document.problems.append(Problem(path, message))

    def _value(self, node: yaml.Node, path: KeyPath) -> Value:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise ConfigError(f"{self._document.file}: more than {_MOST_VALUES} values; use fewer aliases")
        if id(node) in self._above:
            self._problem(path, "an alias of something around it never ends: write the value out")
            return None
        if node.tag not in _SCALARS | _COLLECTIONS | {_DATE}:
            self._problem(path, f"the YAML tag {node.tag} is not read here: write plain values")
            return None
        self._above.append(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, path)
            return self._scalar(node, path)
        finally:
            self._above.pop()

    def _remember(self, path: KeyPath, node: yaml.Node) -> None:
        self._document.places[path] = Place(self._document.file, node.start_mark.line + 1)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Value:
        result: dict[str, Value] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in result:
                first = self._document.places[here].line
                self._problem(here, f"written twice, in lines {first} and {line}: keep one")
                continue
            self._remember(here, key_node)
            result[key] = self._value(value_node, here)
        return result

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if node.tag == _MERGE:
            self._problem(path, "merge keys (<<) are not read here: write the keys out, or use defaults.yaml")
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
            self._problem(path, "a key has to be a word")
            return None
        # `on:` and `7:` are no text in YAML 1.1; as keys, what was written is what was meant.
        return str(node.value)

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> Value:
        result: list[Value] = []
        for index, item in enumerate(node.value):
            self._remember((*path, index), item)
            result.append(self._value(item, (*path, index)))
        return result

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Value:
        if node.tag in (_TEXT, _DATE):
            return str(node.value)
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._problem(path, f"{node.value!r} cannot be read: write it in quotes")
            return None
        if isinstance(value, bool | int | float | str) or value is None:
            return value
        raise AssertionError(f"{node.tag} was read as {type(value).__name__}")


def merge(defaults: Document, document: Document) -> Document:
    """Lay a document over its defaults: mappings are merged, everything else is replaced."""
    merged = Document(document.file, document.data, places=dict(document.places))
    merged.problems = list(document.problems)
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
