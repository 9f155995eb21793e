"""Look at the pipeline that tests a release's builds. Changes nothing, and decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rdo_promoter.clients.zuul import ZuulClient
from rdo_promoter.errors import PromoterError
from rdo_promoter.model.ci import JobRun, LiveJob, Sighting

log = logging.getLogger(__name__)

#: Seconds: runs that started so long before the newest one are of builds that nobody waits for any more.
HORIZON = 4 * 86400


class PipelineWatch:
    """Looks at a pipeline as often as it is told to, and asks only for what may be new.

    A Zuul that cannot be reached stops nobody: what it knows is then not known, and that is said once.

    :param open_client: makes a client; after an error anew, so that an edited Connection is read.
    :param pipeline: Zuul's name of the pipeline.
    """

    def __init__(self, open_client: Callable[[], ZuulClient], pipeline: str) -> None:
        self.pipeline = pipeline
        self._open = open_client
        self._client: ZuulClient | None = None
        self._runs: dict[str, JobRun] = {}
        self._silent = False
        self._without_status = False

    def runs(self) -> tuple[JobRun, ...]:
        """Return the pipeline's runs now.

        :raises PromoterError: when Zuul does not answer, or its Connection cannot be used.
        """
        try:
            found = self.client.recent_builds(self.pipeline, horizon=HORIZON, index_min=self._needed())
        except PromoterError:
            self.close()
            raise
        self._keep(found)
        return tuple(self._runs.values())

    def read(self) -> Sighting:
        """Return what Zuul knows now.

        :raises PromoterError: when Zuul does not answer, or its Connection cannot be used.
        """
        return Sighting(self.runs(), self._live(self.client))

    def look(self) -> Sighting:
        """Return what Zuul knows now; no error of Zuul's or of its Connection leaves this."""
        try:
            seen = self.read()
        except PromoterError as error:
            if not self._silent:
                log.warning("%s: %s; going on with votes alone", self.pipeline, error)
            self._silent = True
            return Sighting(problem=str(error))
        if self._silent:
            log.info("%s: Zuul answers again", self.pipeline)
        self._silent = False
        return seen

    @property
    def client(self) -> ZuulClient:
        """The client; asking for it the first time reads the Connection."""
        if self._client is None:
            self._client = self._open()
        return self._client

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _needed(self) -> int | None:
        """Return the lowest number of a run that may be new or may have changed; None when all are needed."""
        known = [run.index for run in self._runs.values() if run.index is not None]
        if not known or len(known) < len(self._runs):
            return None
        open_ = [run.index for run in self._runs.values() if run.running and run.index is not None]
        # One below: whether the lowest number itself is part of the answer is documented nowhere.
        return max(0, min(open_, default=max(known)) - 1)

    def _keep(self, found: list[JobRun]) -> None:
        """Take in what was found, and forget what is too old to matter."""
        runs = {**self._runs, **{run.uuid: run for run in found}}
        newest = max((run.started for run in runs.values() if run.started is not None), default=0)
        self._runs = {
            uuid: run
            for uuid, run in runs.items()
            if newest - (run.started if run.started is not None else run.ended or newest) <= HORIZON
        }

    def _live(self, client: ZuulClient) -> tuple[LiveJob, ...]:
        """Return what is in the pipeline now; nothing when this Zuul tells it in another way."""
        try:
            live = tuple(client.live(self.pipeline))
        except PromoterError as error:
            if not self._without_status:
                log.info("%s: %s; queued jobs are shown as missing", self.pipeline, error)
            self._without_status = True
            return ()
        self._without_status = False
        return live


def look_once(open_client: Callable[[], ZuulClient], pipeline: str) -> Sighting:
    """Return what Zuul knows of a pipeline now; that it does not answer stands in what is returned.

    :param open_client: makes a client.
    :param pipeline: Zuul's name of the pipeline.
    """
    watch = PipelineWatch(open_client, pipeline)
    try:
        return watch.read()
    except PromoterError as error:
        return Sighting(problem=str(error))
    finally:
        watch.close()
