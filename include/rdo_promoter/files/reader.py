"""A YAML file read into a document: every key once, every value as it is meant, and where it was written."""

from __future__ import annotations

import stat
from pathlib import Path

import yaml

from rdo_promoter.errors import ConfigError
from rdo_promoter.files.document import Document, KeyPath, Place, Problem, Value
from rdo_promoter.model.text import one_line

_MERGE = "tag:yaml.org,2002:merge"
_SCALARS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_COLLECTIONS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_TEXT = "tag:yaml.org,2002:str"
_DATE = "tag:yaml.org,2002:timestamp"
#: No release needs more; it bounds what aliases of aliases can blow up to.
_MOST_VALUES = 50_000
_MOST_BYTES = 4_000_000
_DEEPEST = 50
#: What the parser says, and what to do about it.
_REMEDIES = {
    "found undefined alias": "a text that begins with * needs quotes, and an alias *name an &name before it",
    "expected a single document": "one release a file: remove the line --- and what follows it",
    "incompatible YAML document": "remove the line %YAML",
}
#: libyaml's loader where PyYAML has it: 20 times faster, and Airflow reads the files again and again.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(path: Path, file: str) -> Document:
    """Read a YAML file.

    :param path: the file.
    :param file: how messages name it.
    :raises ConfigError: when it cannot be read or is no YAML; what is readable but wrong is in
        ``problems``.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise ConfigError(f"{file}: it is {kind}: put the file itself there, or give it another name")
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; check the path and its mode") from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(
            f"{file}: more than {_MOST_BYTES} bytes are no release file; look what was written there"
        )
    return parse_document(data, file)


def parse_document(data: bytes, file: str) -> Document:
    """Read YAML; parameters and errors as `read_document`."""
    document = Document(file, data)
    text = ""
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
            one_line(f"{file}:{line}: this is no YAML: {reason}; {_remedy(text, line, reason)}")
        ) from error
    except yaml.reader.ReaderError as error:
        char = chr(error.character) if isinstance(error.character, int) else error.character
        line = text.count("\n", 0, text.find(char)) + 1
        raise ConfigError(
            f"{file}:{line}: this is no YAML: it holds the character {char!a}: remove it, or save the "
            "file as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(one_line(f"{file}: this is no YAML: {' '.join(str(error).split())}")) from error
    except RecursionError as error:
        raise ConfigError(f"{file}: nested too deeply for a release file") from error
    return document


def _remedy(text: str, line: int, reason: str) -> str:
    """Return what to do about a file that is no YAML; what cannot be seen in it is named."""
    for said, remedy in _REMEDIES.items():
        if said in reason:
            return remedy
    lines = text.split("\n")[:line]
    for number, content in enumerate(lines, 1):
        for char in content.removesuffix("\r"):
            if char != "\t" and not char.isprintable():
                return f"line {number} holds {char!a}, which cannot be seen: write it anew"
    indent = lines[-1][: len(lines[-1]) - len(lines[-1].lstrip())] if lines else ""
    return "indent with spaces, not with tabs" if "\t" in indent else "check indentation and quotes"


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
            self._remember((*path, "<<"), node)
            message = "merge keys are not read here: write the keys out, or use defaults.yaml"
            self._problem((*path, "<<"), message)
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS | {_DATE}:
            self._remember((*path, "?"), node)
            self._problem((*path, "?"), "a key has to be a word, no list and no mapping")
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
        if isinstance(value, bool | int | float) or value is None:
            self._document.written[path] = str(node.value)
        if isinstance(value, int) and not isinstance(value, bool) and str(value) != node.value:
            # 010 is eight to YAML, 9:30 is 570: nobody means that.
            self._problem(path, f"YAML reads {node.value} as {value}: write {value}, or quotes around a text")
            return None
        if isinstance(value, bool | int | float | str) or value is None:
            return value
        raise AssertionError(f"{node.tag} was read as {type(value).__name__}")
