"""What is decided about a release: in the ledger, and in its reviewed file of waivers."""

from __future__ import annotations

from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.errors import ConfigError, ServiceError
from rdo_promoter.files.folder import named, releases_folder
from rdo_promoter.files.waivers import read_waivers
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.decisions import Decisions, in_force
from rdo_promoter.model.waivers import Waiver


class DecisionsReader:
    """Reads a release's decisions again and again; what the ledger has once told is not asked for twice.

    :param dag_id: the release's Dag.
    :param waivers_file: the reviewed file, relative to the releases folder; None when there is none.
    :param book: the ledger; the one that the environment names when None, opened at the first question.
    """

    def __init__(self, dag_id: str, waivers_file: str | None = None, book: Ledger | None = None) -> None:
        self.dag_id = dag_id
        self.waivers_file = waivers_file
        self._ledger = book

    def read(self, *, until: int | None = None) -> Decisions:
        """Return what is decided and not lifted.

        :param until: what was decided and lifted later counts for nothing, in seconds since the epoch; the
            reviewed file says only what it says now.
        :raises ServiceError: when the ledger does not answer, or the file cannot be used: nobody knows then
            what is decided, and that never means that nothing is.
        """
        if self._ledger is None:
            self._ledger = ledger()
        entries = self._ledger.decisions(self.dag_id)
        known = [entry for entry in entries if until is None or entry.at <= until]
        return in_force(known, self._reviewed())

    def _reviewed(self) -> tuple[Waiver, ...]:
        if self.waivers_file is None:
            return ()
        folder = releases_folder()
        path = folder / self.waivers_file
        try:
            return read_waivers(path, named(path, folder))
        except ConfigError as error:
            # The release is broken until it is mended, and goes on then: no reason to fail what waits.
            raise ServiceError(f"the reviewed waivers cannot be used: {error}") from error
