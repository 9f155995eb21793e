"""Write down what a person decides, after everything was checked."""

from __future__ import annotations

from dataclasses import dataclass

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.control.force import Report, report
from rdo_promoter.control.wish import Author, Wish, check, entries, labels_of
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.model.ledger import Via
from rdo_promoter.release import Release


@dataclass(frozen=True)
class Decided:
    """What became of a wish.

    :param written: the names of the new entries, below the ledger's root; none when all was so already.
    :param report: what is decided now.
    """

    written: tuple[str, ...]
    report: Report


def decide(wish: Wish, release: Release, dlrn: DlrnClient, ledger: Ledger, *, by: str, via: Via) -> Decided:
    """Check a wish and write it down, all of it or nothing.

    :param wish: what is wanted.
    :param release: the release.
    :param dlrn: its DLRN, which has to know the build, and whose clock counts.
    :param ledger: where it is written.
    :param by: the person.
    :param via: how it is done.
    :raises ConfigError: when something cannot be written down; one line a problem.
    :raises NotFoundError: when DLRN does not know the build.
    :raises ServiceError: when DLRN or the ledger does not answer.
    """
    now = dlrn.now()
    check(wish, release, now=now)
    if wish.full_hash:
        dlrn.named(wish.full_hash)
    reader = DecisionsReader(release.dag_id, release.waivers, ledger)
    made = entries(wish, release, reader.read(), Author(by, via, now))
    written = tuple(ledger.append(entry) for entry in made)
    return Decided(written, _report(reader, release, now))


def decided(release: Release, ledger: Ledger, *, now: int) -> Report:
    """Return what is decided about a release.

    :param release: the release.
    :param ledger: where it is written.
    :param now: DLRN's time, seconds since the epoch.
    """
    return _report(DecisionsReader(release.dag_id, release.waivers, ledger), release, now)


def _report(reader: DecisionsReader, release: Release, now: int) -> Report:
    return report(reader.read(), release.jobs, labels_of(release), now=now)
