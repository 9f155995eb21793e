"""What the feeds ask of DLRN. Runs in threads of the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdo_promoter.engine.observe import standing
from rdo_promoter.errors import TransientError
from rdo_promoter.hooks.dlrn import DlrnHook
from rdo_promoter.model.build import Build
from rdo_promoter.model.evidence import Evidence
from rdo_promoter.model.order import Standing
from rdo_promoter.triggers.outcome import Labels, Votes
from rdo_promoter.triggers.terms import Where

if TYPE_CHECKING:
    from rdo_promoter.clients.dlrn import DlrnClient


class DlrnSource:
    """A client that is made at the first question, and made anew after an error.

    An edited Connection is so read at the next question after the one that failed.

    :param where: the DLRN and the labels.
    """

    def __init__(self, where: Where) -> None:
        self.where = where
        self._client: DlrnClient | None = None

    @property
    def client(self) -> DlrnClient:
        """The client; asking for it the first time reads the Connection."""
        if self._client is None:
            self._client = DlrnHook(self.where.dlrn_conn_id, self.where.repo_url).get_conn()
        return self._client

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def place(self, build: Build) -> Standing | None:
        """Return a build's place in the order of builds."""
        if self.where.promoted_label is None:
            return None
        return standing(
            self.client,
            build,
            candidate_label=self.where.candidate_label,
            promoted_label=self.where.promoted_label,
        )


class VotesSource(DlrnSource):
    """Asks for the votes on one build: one request, and once another for its place.

    :param where: the DLRN and the labels.
    :param build: the build.
    """

    def __init__(self, where: Where, build: Build) -> None:
        super().__init__(where)
        self.build = build
        self._place: Standing | None = None
        self._placed = False

    def ask(self) -> Votes:
        """Return what DLRN knows of the build."""
        try:
            if not self._placed:
                self._place, self._placed = self.place(self.build), True
            found = self.evidence()
            page = self.client.votes_page(self.build)
            return Votes(found.votes, self.client.now(), self._place, page, found.jobs)
        except TransientError:
            self.close()
            raise

    def evidence(self) -> Evidence:
        """Return what says that the build is good."""
        return Evidence(tuple(self.client.votes(self.build)))


class LabelsSource(DlrnSource):
    """Asks who holds a stage's labels: two requests, and one more when the holder is a new one."""

    _holder: Standing | None = None

    def ask(self) -> Labels:
        """Return who holds the labels."""
        try:
            candidate = self.client.current(self.where.candidate_label)
            if self.where.promoted_label is None:
                return Labels(candidate)
            row = self.client.current(self.where.promoted_label)
            if row is None:
                return Labels(candidate)
            if self._holder is None or self._holder.build != row.build:
                self._holder = self.place(row.build)
            return Labels(candidate, self._holder)
        except TransientError:
            self.close()
            raise
