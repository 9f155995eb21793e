"""Triggers that wait for the end of what we have started: a build of Jenkins, a container."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from rdo_promoter.errors import TransientError
from rdo_promoter.hooks.engine import engine_of
from rdo_promoter.hooks.jenkins import JenkinsHook
from rdo_promoter.model.jobs import ID_NAME
from rdo_promoter.triggers.answer import SETTLED
from rdo_promoter.triggers.feed import Source, join

if TYPE_CHECKING:
    from docker import APIClient

    from rdo_promoter.clients.jenkins import JenkinsClient

#: Looks at a Jenkins that knows nothing of a build until it counts as lost: on its way from the queue to the
#: list of builds it is in neither for a moment.
LOOKS = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What a trigger has seen of a job.

    :param over: the task has to look: the job has ended, or is gone.
    :param handle: where it is now.
    :param lost: nobody knows of it any more.
    """

    over: bool
    handle: str
    lost: bool = False


class StartedTrigger(BaseTrigger):
    """Waits until a job of ours needs its task again, which then looks for itself.

    A service that does not answer ends nothing: it is asked on, less and less often, until the limit.

    :param conn_id: Connection to what runs the job.
    :param job_id: the job's id.
    :param handle: where the job was found.
    :param until: when waiting ends, seconds since the epoch.
    :param poll: seconds between two looks.
    """

    def __init__(self, *, conn_id: str, job_id: str, handle: str, until: float, poll: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's has no annotations
        self.conn_id = conn_id
        self.job_id = job_id
        self.handle = handle
        self.until = until
        self.poll = poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made from again."""
        names = ("conn_id", "job_id", "handle", "until", "poll")
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {name: getattr(self, name) for name in names}

    @abstractmethod
    def source(self) -> Source[Seen]:
        """Return what is asked."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the one event that wakes the task."""
        # The task has just looked, and Airflow may not yet have taken in that it waits.
        # Not at once either when the time is over by this machine's clock and not by the worker's.
        await asyncio.sleep(min(self.poll, max(self._left, SETTLED)))
        seen = await self._wait()
        yield TriggerEvent({"handle": seen.handle, "lost": seen.lost})  # type: ignore[no-untyped-call]  # as above

    async def _wait(self) -> Seen:
        bell, silent = asyncio.Event(), False
        with join(
            ("started", self.conn_id, self.job_id),
            self.source(),
            service=self.conn_id,
            name=f"{self.job_id} in {self.conn_id}",
            poll=self.poll,
            bell=bell,
        ) as feed:
            while True:
                if feed.failure is not None:
                    # The task finds the same and says what to do.
                    self.log.error("%s %s", self.job_id, feed.failure)
                    break
                if feed.answer is not None and feed.answer.over:
                    return feed.answer
                if self._left <= 0:
                    break
                if feed.error is not None and not silent:
                    self.log.warning("%s %s; waiting goes on", self.job_id, feed.error)
                silent = feed.error is not None
                try:
                    await asyncio.wait_for(bell.wait(), self._left)
                except TimeoutError:
                    continue
                bell.clear()
            return feed.answer or Seen(over=False, handle=self.handle)

    @property
    def _left(self) -> float:
        return max(0.0, self.until - time.time())


class JenkinsTrigger(StartedTrigger):
    """Waits for a build of Jenkins: first in the queue, then among the job's builds.

    :param job: the Jenkins job.
    :param since: when the build was asked for at the earliest, seconds since the epoch.
    """

    def __init__(self, *, job: str, since: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.since = since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made from again."""
        path, kwargs = super().serialize()
        return path, {**kwargs, "job": self.job, "since": self.since}

    def source(self) -> Source[Seen]:
        """Return what is asked."""
        return JenkinsSource(self.conn_id, self.job, self.job_id, self.handle, self.since)


class JenkinsSource:
    """Asks Jenkins for a build of ours; runs in threads of the triggerer.

    :param conn_id: Connection of type ``jenkins``.
    :param job: the Jenkins job.
    :param job_id: our id of the build.
    :param handle: where the build was found.
    :param since: when it was asked for at the earliest, seconds since the epoch.
    """

    def __init__(self, conn_id: str, job: str, job_id: str, handle: str, since: int) -> None:
        self._hook = JenkinsHook(conn_id)
        self._job = job
        self._id = job_id
        self._handle = handle
        self._since = since
        self._missed = 0
        self._client: JenkinsClient | None = None

    def ask(self) -> Seen:
        """Return how the build is."""
        from rdo_promoter.clients.jenkins_job import follow

        try:
            # Asked once: the feed asks again.
            self._client = self._client or self._hook.get_conn(retries=0)
            found = follow(
                self._client, self._job, (ID_NAME, self._id), handle=self._handle, since=self._since
            )
        except TransientError:
            # An edited Connection is read at the next question.
            self.close()
            raise
        self._missed = self._missed + 1 if found.gone else 0
        self._handle = found.handle or self._handle
        lost = self._missed >= LOOKS
        return Seen(over=found.over or lost, handle=self._handle, lost=lost)

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


class ContainerTrigger(StartedTrigger):
    """Waits for the end of a container."""

    def source(self) -> Source[Seen]:
        """Return what is asked."""
        return ContainerSource(self.conn_id, self.job_id)


class ContainerSource:
    """Asks a container engine for a container of ours; runs in threads of the triggerer.

    :param conn_id: Connection of type ``docker`` to the engine.
    :param name: the container.
    """

    def __init__(self, conn_id: str, name: str) -> None:
        self._conn_id = conn_id
        self._name = name
        self._client: APIClient | None = None

    def ask(self) -> Seen:
        """Return how the container is."""
        from rdo_promoter.clients.engine import look

        try:
            if self._client is None:
                self._client = engine_of(self._conn_id).client()
            found = look(self._client, self._name, self._conn_id)
        except TransientError:
            self.close()
            raise
        if found is None:
            return Seen(over=True, handle="", lost=True)
        return Seen(over=found.status is not None, handle=found.id)

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None
