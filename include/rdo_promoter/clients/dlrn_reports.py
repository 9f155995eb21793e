"""The tables and ``delorean.repo`` files in DLRN's repository tree, read into values of the model."""

from __future__ import annotations

import configparser
import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.build import DlrnHash, is_md5
from rdo_promoter.model.holding import PackageRow
from rdo_promoter.model.repo_file import RepoFile
from rdo_promoter.model.text import one_line

#: Where the builder reports on all packages, after each build: ``genreports`` of DLRN's ``reporting.py``.
STATUS_REPORT = "status_report.csv"
#: What `current` is made of, written with that build: ``post_build_rpm`` of DLRN's ``shell.py``.
VERSIONS = "current/versions.csv"

#: How the address of a component's build ends.
_MEMBER = re.compile(r"(?:^|/)component/([A-Za-z0-9][A-Za-z0-9._-]*)/([0-9a-f]{2}/[0-9a-f]{2}/[^/\s]+)/*$")

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


def repo_file(content: bytes, where: str, md5: str | None) -> RepoFile:
    """Read a ``delorean.repo``: each of its sections is a repository of packages.

    A build is known by the last part of its ``baseurl``; what is before that need not be the tree's address.

    :param where: its address, for messages.
    :param md5: what stands in the file beside it, None when there is none.
    :raises AnswerError: when it is none, or a section has no ``baseurl``.
    """
    if md5 is not None and not is_md5(md5):
        raise AnswerError(f"{where}.md5 is {md5!r:.60}, which is no md5; look at it")
    builds = [path.rpartition("/")[2] for _, path in _repositories(content, where)]
    if not all(builds) or not builds:
        raise AnswerError(f"{where} names no build in {'a baseurl' if builds else 'any section'}; look at it")
    sha256, digest = (
        hashlib.sha256(content).hexdigest(),
        hashlib.md5(content, usedforsecurity=False).hexdigest(),
    )
    return RepoFile(where, sha256, digest, md5, tuple(dict.fromkeys(builds)))


def member_paths(content: bytes, where: str) -> dict[str, str]:
    """Read the directories of an aggregate's members, by component, out of its ``delorean.repo``.

    They stand below the repository tree's address as we know it, of which the file may tell another
    (``centos7/54/48/...`` where ours ends in ``centos7-master``): so only the ends of its addresses are read.

    :param where: its address, for messages.
    :raises AnswerError: when it is none, or a section is not one more component's.
    """
    paths: dict[str, str] = {}
    for section, path in _repositories(content, where):
        found = _MEMBER.search(path)
        if found is None or found[1] in paths:
            raise AnswerError(
                f"{where}: the baseurl of [{one_line(section, limit=100)}] ends in {path[-200:]!r}, which is "
                "not that of one more component's build; is this DLRN in component mode?"
            )
        paths[found[1]] = f"component/{found[1]}/{found[2]}"
    if not paths:
        raise AnswerError(f"{where} names no component; is this DLRN in component mode?")
    return paths


def _repositories(content: bytes, where: str) -> list[tuple[str, str]]:
    """Return the path of each repository's address, after the name of its section."""
    # A section DEFAULT is one like the others.
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(content.decode())
        return [
            (name, urlsplit(url).path.rstrip("/"))
            for name in parser.sections()
            for url in parser[name]["baseurl"].split() or [""]
        ]
    except (configparser.Error, KeyError, ValueError) as error:
        said = one_line(" ".join(str(error).split()), limit=200)
        raise AnswerError(
            f"{where} is no list of repositories with a baseurl each: {said}; look at it"
        ) from error


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
