"""JSON with one form in bytes: what is signed has to be the same for everybody. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from rdo_promoter.errors import ConfigError

#: What a JSON number is exactly for everybody who reads it.
_LARGEST = 2**53 - 1


def canonical(value: object) -> bytes:
    r"""Return the one form of a JSON value in bytes: RFC 8785, for what is needed of it.

    The keys of an object are sorted; nothing stands between tokens; UTF-8 without a byte order mark; in
    strings only ``"``, ``\`` and control characters are escaped, as ``\b``, ``\t``, ``\n``, ``\f``, ``\r``
    or ``\u00xx``. A value is an object with keys of ASCII, an array, a string, a boolean, null, or a whole
    number of at most 2**53 - 1: nothing else has to be agreed on, such as how fractions are written.

    :raises ConfigError: when the value is or holds anything else.
    """
    _check(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"a string holds half a character ({error.reason}): remove it") from error


def read_json(content: bytes) -> object:
    """Read a JSON value that everybody reads the same.

    A key that stands twice is refused: some readers take the first value, others the last.

    :raises ConfigError: when it is no such value.
    """
    try:
        value: object = json.loads(
            content.decode(), object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is no JSON ({type(error).__name__}: {error})") from error
    return value


def _check(value: object) -> None:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ConfigError(f"{key!r} cannot be a key: its place among others is not the same for all")
            _check(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _check(each)
    elif isinstance(value, int):
        if abs(value) > _LARGEST:
            raise ConfigError(f"{value} is no number that everybody reads the same: at most {_LARGEST}")
    elif not isinstance(value, str | None):
        raise ConfigError(f"a {type(value).__name__} has no one form in bytes: use text or whole numbers")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key stands twice: {next(name for name in names if names.count(name) > 1)!r}")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is no whole number")
