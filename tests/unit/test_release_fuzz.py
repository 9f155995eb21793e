"""Whatever is done to a release file, it is used or refused with a ConfigError: nothing else gets out."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rdo_promoter.errors import ConfigError
from rdo_promoter.files.reader import parse_document
from rdo_promoter.release import Release, load_release
from tests.unit.releases import GOOD, write

#: A slow machine is no failure.
UNTIMED = settings(deadline=None)
PARSED: dict[str, Any] = yaml.safe_load(GOOD)
#: What YAML, paths and templates care about; a short alphabet because Hypothesis's own takes long to build.
ALPHABET = "abZ09_-./ :,{}[]#&*!|>'\"%@`?=~<$\n\t\0\x85\ufeffé٣漢\U0001f600"


def text(max_size: int = 12) -> st.SearchStrategy[str]:
    """Return texts of that alphabet."""
    return st.text(ALPHABET, max_size=max_size)


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    text(max_size=20),
    st.sampled_from(["rdo", "consistent", "current-good", "4h", "start", "{release}", "${x}", "standalone"]),
    st.lists(text(max_size=5), max_size=3),
    st.dictionaries(text(max_size=5), st.integers(), max_size=3),
    st.dates(),
    st.binary(max_size=5),
)


def _load(text: str | bytes) -> Release | ConfigError:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder))
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        try:
            return load_release(path)
        except ConfigError as error:
            lines = str(error).splitlines()
            assert lines
            assert all(line.startswith("releases/") for line in lines), lines
            assert all(line.isprintable() and len(line) <= 1500 for line in lines), lines
            return error


def _paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, inner in pairs:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """Return the good release with a few of its parts dropped, renamed, copied or replaced."""
    release = copy.deepcopy(PARSED)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(_paths(release))
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        parent: Any = release
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["drop", "rename", "copy", "replace"])):
            case "drop":
                del parent[path[-1]]
            case "rename" if isinstance(parent, dict):
                parent[draw(st.one_of(text(max_size=10), st.just(f"{path[-1]}s"), st.integers()))] = (
                    parent.pop(path[-1])
                )
            case "copy" if isinstance(parent, list):
                parent.insert(path[-1], copy.deepcopy(parent[path[-1]]))
            case _:
                parent[path[-1]] = draw(WRONG)
    return release


def _with_a_step(step: object) -> object:
    release = copy.deepcopy(PARSED)
    release["stages"][0]["steps"].insert(1, step)
    return release


@UNTIMED
@given(mutated())
@example(_with_a_step({"": 0, "\n": 0}))
@example(_with_a_step({"\x85": 0, "\u2028": 0, "\u202e": 0}))
@example({**PARSED, "containers": {**PARSED["containers"], "exclude": ["a\nb", "\x1b[31m"]}})
def test_a_mutated_release_is_used_or_refused(release: object) -> None:
    text = yaml.safe_dump(release, allow_unicode=True)
    loaded = _load(text)
    if isinstance(loaded, Release):
        assert loaded == _load(text)


@UNTIMED
@given(st.data())
def test_a_line_twice_or_missing_is_used_or_refused(data: st.DataObject) -> None:
    lines = GOOD.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at : at + 1] = [lines[at]] * data.draw(st.sampled_from([0, 2]))
    _load("".join(lines))


@UNTIMED
@given(st.data())
def test_damaged_bytes_are_used_or_refused(data: st.DataObject) -> None:
    raw = bytearray(GOOD.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _load(bytes(raw))


@UNTIMED
@given(st.sampled_from(sorted(key for key in PARSED if key != "stages")))
def test_a_top_level_key_written_twice_is_always_refused(key: str) -> None:
    refused = _load(GOOD + yaml.safe_dump({key: PARSED[key]}))
    assert isinstance(refused, ConfigError)
    assert f"{key}: written twice, in lines " in str(refused)


YAML_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text(), inner, max_size=4)),
)


@UNTIMED
@given(YAML_VALUES)
def test_yaml_is_read_as_everybody_reads_it(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    document = parse_document(text.encode("utf-8", "surrogatepass"), "x.yaml")
    assert not document.problems
    assert document.value == yaml.safe_load(text)
