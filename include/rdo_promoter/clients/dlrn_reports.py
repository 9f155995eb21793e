"""The tables that DLRN's builder writes into its repository tree, read into values of the model."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.holding import PackageRow

#: Where the builder reports on all packages, after each build: ``genreports`` of DLRN's ``reporting.py``.
STATUS_REPORT = "status_report.csv"
#: What `current` is made of, written with that build: ``post_build_rpm`` of DLRN's ``shell.py``.
VERSIONS = "current/versions.csv"

#: Columns that may be empty.
_OPTIONAL = ("Extended Sha", "Component")


def status_report(text: str, where: str) -> list[PackageRow]:
    """Read a ``status_report.csv``: each package's newest build.

    A package that was never built is not in it.

    :param where: its address, for messages.
    :raises AnswerError: when it is none, or only the beginning of one.
    """
    columns = ("Project", "Status", "Timestamp", "Source Sha", "Dist Sha", *_OPTIONAL)
    return [
        PackageRow(row["Project"], row["Status"], _time(row, "Timestamp", place), _build(row, place))
        for place, row in _rows(text, where, columns)
    ]


def versions(text: str, where: str) -> list[PackageRow]:
    """Read a ``versions.csv``: each package's newest good build, and the status of its newest one.

    :param where: its address, for messages.
    :raises AnswerError: when it is none, or only the beginning of one.
    """
    built = "Last Success Timestamp"
    return [
        PackageRow(row["Project"], row["Status"], _time(row, built, place))
        for place, row in _rows(text, where, ("Project", "Status", built))
    ]


def _rows(text: str, where: str, needed: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each row with its place, for messages; the columns that are needed are in it."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for name in needed:
            if name not in (reader.fieldnames or ()):
                raise AnswerError(
                    f"{where}: line 1 has no column {name!r}: it is not DLRN's, or is just being written; "
                    "look at it, and check repo_url in the release file"
                )
        place = ""
        for row in reader:
            place = f"{where}: line {reader.line_num}"
            for name in needed:
                # A builder that is just writing the file leaves half a line at its end.
                if row[name] is None or not (row[name] or name in _OPTIONAL):
                    raise AnswerError(
                        f"{place} has no {name}: it may be just being written; look at it again"
                    )
            yield place, row
        if not place:
            raise AnswerError(f"{where}: no package is in it: it may be just being written; look at it again")
    except csv.Error as error:
        raise AnswerError(f"{where}: no CSV after line {reader.line_num}: {error}; look at it") from error


def _time(row: Mapping[str, str], column: str, place: str) -> int:
    text = row[column]
    # int() takes "1_0" and other scripts' digits as well; 11 digits reach beyond the year 5000.
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise AnswerError(f"{place}: {column} {text!r:.60} is no time in seconds since the epoch; look at it")
    return int(text)


def _build(row: Mapping[str, str], place: str) -> DlrnHash:
    try:
        return DlrnHash(row["Source Sha"], row["Dist Sha"], row["Extended Sha"], row["Component"])
    except ConfigError as error:
        raise AnswerError(f"{place} names a build that cannot be one: {error}") from error
