"""One poll loop for all triggers of a process that wait for the same thing.

Thirty sensors wait for the votes on one build; DLRN is asked once a poll all the same. A feed asks, keeps
the last answer, and rings the bell of each trigger that has joined it. It lives in the event loop of the
triggerer, and its requests are made in threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from rdo_promoter.errors import TransientError

log = logging.getLogger(__name__)

Answer_co = TypeVar("Answer_co", covariant=True)
Answer = TypeVar("Answer")

#: Seconds between two questions at most while a service does not answer, unless polls are longer anyway.
BACKOFF_MAX = 300.0

#: Threads for each service: one that hangs must not delay the questions to others.
THREADS = 4


class Source(Protocol[Answer_co]):
    """What a feed asks; used by one thread at a time."""

    def ask(self) -> Answer_co:
        """Return the answer; a `TransientError` is survived, anything else ends the feed."""

    def close(self) -> None:
        """Give up what it holds; called once, at the end."""


class Feed(Generic[Answer]):
    """The shared poll loop; `join` makes one.

    :param name: what logs call it.
    :param source: what is asked.
    :param poll: seconds between two questions.
    :param pool: threads for the questions.
    """

    def __init__(self, name: str, source: Source[Answer], *, poll: float, pool: ThreadPoolExecutor) -> None:
        self.poll = poll
        #: The last answer, None before the first.
        self.answer: Answer | None = None
        #: When it was asked for, by the clock of the event loop.
        self.asked_at = -math.inf
        #: Why the last question was not answered, None when it was.
        self.error: TransientError | None = None
        #: What ended the feed for good.
        self.failure: BaseException | None = None
        self._name = name
        self._source = source
        self._pool = pool
        self._bells: list[asyncio.Event] = []
        self._deserted_at = 0.0
        self._failures = 0

    def add(self, bell: asyncio.Event) -> None:
        """Ring the bell at each answer and each error from now on."""
        self._bells.append(bell)

    def since(self, moment: float) -> Answer | None:
        """Return the answer if it was asked for at a moment or later: what was written before is in it.

        :param moment: by the clock of the event loop.
        """
        return self.answer if self.asked_at >= moment else None

    def remove(self, bell: asyncio.Event) -> None:
        """No longer ring the bell; without any, the loop ends after one more interval."""
        self._bells.remove(bell)
        self._deserted_at = asyncio.get_running_loop().time()

    async def run(self, forget: Callable[[], None]) -> None:
        """Ask until nobody has been interested for one interval.

        :param forget: called at the end, before anybody else can run: who joins after that joins another.
        """
        loop = asyncio.get_running_loop()
        try:
            while True:
                if self._bells:
                    await self._ask(loop)
                    pause = self._pause()
                else:
                    # Whoever is retried, or waits next in the same run, still finds the answer.
                    pause = self._deserted_at + self.poll - loop.time()
                    if pause <= 0:
                        return
                await asyncio.sleep(pause)
        finally:
            forget()

    def ended(self, task: asyncio.Task[None]) -> None:
        """Tell everybody who still waits why the loop has ended."""
        if not task.cancelled():
            self.failure = task.exception()
            self._pool.submit(self._source.close)
        self._ring()

    async def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        asked_at = loop.time()
        try:
            self.answer = await loop.run_in_executor(self._pool, self._source.ask)
        except TransientError as error:
            self.error = error
            self._failures += 1
            if self._failures == 1:
                log.warning("%s: %s; asking goes on", self._name, error)
        else:
            if self._failures:
                log.info("%s: answered again after %d failed questions", self._name, self._failures)
            self.asked_at = asked_at
            self.error = None
            self._failures = 0
        self._ring()

    def _pause(self) -> float:
        """Return the seconds until the next question: jittered, and longer while there is no answer."""
        pause: float = min(self.poll * 2 ** min(self._failures, 20), max(self.poll, BACKOFF_MAX))
        return pause * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, no secret

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()


#: The feeds of each event loop; a process has one loop, tests have many.
_feeds: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Feed[object]]] = WeakKeyDictionary()

_pools: dict[str, ThreadPoolExecutor] = {}


@contextmanager
def join(
    key: Hashable, source: Source[Answer], *, service: str, name: str, poll: float, bell: asyncio.Event
) -> Iterator[Feed[Answer]]:
    """Join the feed of this key, and leave it at the end of the `with` block.

    :param key: the same for everybody who asks the same of the same service.
    :param source: asked if there is no such feed yet.
    :param service: feeds of one service share its threads.
    :param name: what logs call the feed.
    :param poll: seconds between two questions; the shortest of all that have joined counts.
    :param bell: set at each answer and each error.
    """
    feed = _feed(key, source, service=service, name=name, poll=poll)
    feed.poll = min(feed.poll, poll)
    feed.add(bell)
    try:
        yield feed
    finally:
        feed.remove(bell)


def _feed(key: Hashable, source: Source[Answer], *, service: str, name: str, poll: float) -> Feed[Answer]:
    loop = asyncio.get_running_loop()
    feeds = _feeds.setdefault(loop, {})
    if key in feeds:
        return cast("Feed[Answer]", feeds[key])
    if service not in _pools:
        _pools[service] = ThreadPoolExecutor(THREADS, thread_name_prefix=f"feed-{service}")
    feed = Feed(name, source, poll=poll, pool=_pools[service])
    feeds[key] = cast("Feed[object]", feed)

    # A context of its own: in the first trigger's, everything would be logged into that task's log.
    task = loop.create_task(
        feed.run(lambda: feeds.__delitem__(key)), name=f"feed {name}", context=contextvars.Context()
    )
    task.add_done_callback(feed.ended)
    return feed
