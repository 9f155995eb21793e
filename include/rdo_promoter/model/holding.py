"""What holds `consistent` back: the packages whose newest build is not good. Pure.

DLRN's builder moves `consistent` only when the newest build of every package is good. A build that failed
moves neither `consistent` nor `current`, so that the two are equal says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rdo_promoter.model.build import CONSISTENT, DlrnHash
from rdo_promoter.model.clock import utc
from rdo_promoter.model.text import one_line, web_address

#: The one status with which a package holds nothing back; RETRY does, though the builder tries it again.
_GOOD = "SUCCESS"

#: Packages named in the sentence; the list has all of them.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class PackageRow:
    """How a package stands at DLRN.

    :param package: its name.
    :param status: of its newest build, as DLRN spells it.
    :param timestamp: when its newest build was made, or its newest good one; seconds since the epoch.
    :param newest: its newest build, None when DLRN tells of the newest good one.
    """

    package: str
    status: str
    timestamp: int
    newest: DlrnHash | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A package that holds `consistent` back.

    :param package: its name.
    :param status: of its newest build.
    :param log: address of that build's log, empty when it is not known.
    :param told: the whole of it, in one line.
    """

    package: str
    status: str
    log: str
    told: str

    def to_json(self) -> dict[str, str]:
        """Return the fields as JSON values, for XCom."""
        return {"package": self.package, "status": self.status, "log": self.log, "told": self.told}


def holding(rows: Iterable[PackageRow], repo_url: str) -> tuple[Held, ...]:
    """Return what holds `consistent` back, the oldest build first.

    :param rows: each package's.
    :param repo_url: the repository tree's address, without credentials.
    """
    held = {row for row in rows if row.status != _GOOD}
    return tuple(_held(row, repo_url) for row in sorted(held, key=_age))


def sentence(held: Sequence[Held]) -> str:
    """Say what holds `consistent` back, in one line; empty when nothing does."""
    if not held:
        return ""
    named = ", ".join(f"{each.package} ({each.status})" for each in held[:_NAMED])
    more = f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    packages = "1 package" if len(held) == 1 else f"{len(held)} packages"
    return f"{CONSISTENT} is held back by {packages}: {named}{more}"


def _held(row: PackageRow, repo_url: str) -> Held:
    package, status = one_line(row.package, limit=100), one_line(row.status, limit=40)
    if row.newest is None:
        told = f"{package}: {status}, its last good build is of {utc(row.timestamp)}"
        return Held(package, status, "", told)
    # DLRN writes the log also of a build that never began.
    log = web_address(f"{repo_url}/{row.newest.path}/rpmbuild.log")
    return Held(package, status, log, f"{package}: {status}, built {utc(row.timestamp)}, {log or 'no log'}")


def _age(row: PackageRow) -> tuple[int, str, str, str]:
    return row.timestamp, row.package, row.status, row.newest.path if row.newest else ""
