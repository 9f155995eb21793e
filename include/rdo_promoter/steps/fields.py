"""Small validated types that steps and releases share; each refuses with what to write instead."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, WithJsonSchema
from pydantic.config import JsonDict

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import check_label

_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_PARAM = re.compile(r"^:param (\w+):((?:.|\n(?!:))*)", re.MULTILINE)
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
K = TypeVar("K")
V = TypeVar("V")
Item = TypeVar("Item")


def _documented(schema: JsonDict, model: type[BaseModel]) -> None:
    """Take the descriptions of the JSON schema from the docstrings, and write durations as files do."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        texts |= {name: " ".join(words.split()) for name, words in _PARAM.findall(text)}
    # No docstrings with `python -OO`: the schema is still needed, to name known keys.
    schema["description"] = inspect.cleandoc(model.__doc__ or "").partition("\n\n:param")[0]
    properties = schema.get("properties", {})
    for name, field in model.model_fields.items():
        entry = properties.get(field.alias or name) if isinstance(properties, dict) else None
        if isinstance(entry, dict):
            entry.pop("title", None)
            entry["description"] = texts.get(name, "")
            if entry.get("type") == "string" and isinstance(default := entry.get("default"), int):
                entry["default"] = format_duration(default)


class Frozen(BaseModel):
    """A value of a release file: unknown keys are refused, and nothing changes it afterwards."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), json_schema_extra=_documented
    )


def closest(word: object, known: Collection[str]) -> str | None:
    """Return the known word that is most like what was written, None when none is."""
    return next(iter(difflib.get_close_matches(str(word), sorted(known), n=1)), None)


def nearest(word: object, known: Collection[str]) -> str:
    """Say what to write instead of a word that nobody knows.

    :param word: what was written.
    :param known: what could have been written.
    :return: ``did you mean 'jobs'? known: jobs, within``, without the question when nothing is near.
    """
    listed = f"known: {', '.join(sorted(known))}" if known else "there are none"
    near = closest(word, known)
    return f"did you mean {near!r}? {listed}" if near else listed


def parse_duration(value: object) -> int:
    """Read a duration such as ``90s``, ``10m``, ``4h`` or ``7d``.

    :return: seconds.
    :raises ValueError: for anything else; a bare number is refused because nobody sees its unit.
    """
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        return int(match[1]) * _UNITS[match[2]]
    raise ValueError(
        f"{value!r} is no duration: write a whole number and s, m, h or d, for example 90s or 4h"
    )


def format_duration(seconds: int) -> str:
    """Write seconds as a release file would: ``14400`` is ``4h``."""
    for unit, length in _UNITS.items():
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _matches(pattern: str, rule: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{value!r} cannot stand here: {rule}")
        return value

    return check


def _label(value: str) -> str:
    try:
        return check_label(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _distinct(values: tuple[Item, ...]) -> tuple[Item, ...]:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is listed more than once: keep one")
    return values


def _read_only(value: Mapping[K, V]) -> Mapping[K, V]:
    return MappingProxyType(dict(value))


#: Seconds as an int; written ``90s``, ``10m``, ``4h``, ``7d``.
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["90s", "10m", "4h"]}),
]
Label = Annotated[StrictStr, AfterValidator(_label)]
#: A CI job's name as DLRN's votes spell it. It becomes part of a task id, so Airflow's rule for keys holds.
JobName = Annotated[
    StrictStr,
    AfterValidator(
        _matches(r"[A-Za-z0-9_.-]{1,200}", "a job's name has letters, digits, '.', '_' and '-', at most 200")
    ),
]
#: Zuul's rule for pipelines is loose; this is what RDO's are made of, and what can stand in a line.
PipelineName = Annotated[
    StrictStr,
    AfterValidator(
        _matches(
            r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}",
            "name a pipeline as Zuul's page does, for example openstack-periodic-integration-main (letters, "
            "digits, '.', '_' and '-')",
        )
    ),
]
#: A name that becomes part of task ids: of a stage, a step, a registry, an image server.
Name = Annotated[
    StrictStr,
    AfterValidator(
        _matches(
            r"[a-z][a-z0-9_-]{0,39}",
            "a name starts with a lower-case letter, then letters, digits, '_' and '-', at most 40",
        )
    ),
]
ConnectionId = Annotated[
    StrictStr,
    AfterValidator(
        _matches(
            r"[A-Za-z0-9_.-]{1,200}",
            "name an Airflow Connection by its id, for example registry_rdo (letters, digits, '.', '_', '-')",
        )
    ),
]
#: Distribution's rule for repository names: lower-case path components joined by slashes.
Repository = Annotated[
    StrictStr,
    AfterValidator(
        _matches(
            r"(?=.{1,200}$)[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
            "a registry takes lower-case letters and digits, joined by '.', '_', '-' or '/', "
            "for example tripleomaster (without the registry's host: that is in the Connection)",
        )
    ),
]
FileName = Annotated[
    StrictStr,
    AfterValidator(
        _matches(
            r"(?!.*\.md5$)[A-Za-z0-9][A-Za-z0-9_.-]{0,199}",
            "name a file without its folder, in letters, digits, '.', '_' and '-', for example "
            "overcloud-full.tar; its .md5 file goes with it unnamed",
        )
    ),
]
#: A tuple without duplicates.
Distinct = Annotated[tuple[Item, ...], AfterValidator(_distinct)]
#: A tuple without duplicates and with at least one item.
SomeDistinct = Annotated[tuple[Item, ...], Field(min_length=1), AfterValidator(_distinct)]
#: A mapping that nobody can change after it was read.
FrozenMap = Annotated[Mapping[K, V], AfterValidator(_read_only)]
