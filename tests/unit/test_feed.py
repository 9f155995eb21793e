from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest

from lab.service import wait_for
from rdo_promoter.errors import AuthError, ServiceError
from rdo_promoter.triggers import feed as feeds
from rdo_promoter.triggers.feed import Feed, join

DEADLINE = 20.0


class Counter:
    """Answers with the number of the question; what is planned for a question is raised instead."""

    def __init__(self, *plan: Exception | None) -> None:
        self.plan = list(plan)
        self.asked: list[float] = []
        self.closed = 0
        self.context: set[object] = set()

    def ask(self) -> int:
        self.asked.append(time.monotonic())
        error = self.plan.pop(0) if self.plan else None
        if error is not None:
            raise error
        return len(self.asked)

    def close(self) -> None:
        self.closed += 1


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), DEADLINE))


async def until(bell: asyncio.Event, condition: Callable[[], bool]) -> None:
    while not condition():
        await bell.wait()
        bell.clear()


async def ended(feed: Feed[int]) -> None:
    """Wait for the feed's loop, which is the one other task besides the test."""
    name = f"feed {feed._name}"
    await asyncio.gather(
        *(task for task in asyncio.all_tasks() if task.get_name() == name), return_exceptions=True
    )


def test_many_that_wait_for_the_same_ask_once_a_poll() -> None:
    source = Counter()

    async def test() -> None:
        bells = [asyncio.Event() for _ in range(50)]
        with ExitStack() as stack:
            joined = [
                stack.enter_context(join("key", source, service="s", name="n", poll=0.02, bell=bell))
                for bell in bells
            ]
            assert all(feed is joined[0] for feed in joined)
            await asyncio.gather(*(until(bell, lambda: (joined[0].answer or 0) >= 5) for bell in bells))
            assert joined[0].answer == len(source.asked)

    run(test)
    gaps = [later - earlier for earlier, later in zip(source.asked, source.asked[1:], strict=False)]
    assert len(gaps) >= 4
    assert min(gaps) >= 0.02 * 0.9


def test_other_keys_and_other_loops_have_feeds_of_their_own() -> None:
    sources = [Counter(), Counter(), Counter()]

    def ask(first: Counter, second: Counter) -> None:
        async def test() -> None:
            bell = asyncio.Event()
            with (
                join("a", first, service="s", name="a", poll=60, bell=bell) as one,
                join("b", second, service="s", name="b", poll=60, bell=bell) as other,
            ):
                await until(bell, lambda: one.answer is not None and other.answer is not None)

        run(test)

    ask(sources[0], sources[1])
    ask(sources[2], sources[1])
    assert [len(source.asked) for source in sources] == [1, 2, 1]


def test_what_was_asked_before_a_moment_is_told_from_what_was_asked_since() -> None:
    source = Counter()

    async def test() -> None:
        bell = asyncio.Event()
        with join("key", source, service="s", name="n", poll=0.02, bell=bell) as feed:
            await until(bell, lambda: feed.answer is not None)
            moment = asyncio.get_running_loop().time()
            seen = len(source.asked)
            assert feed.since(moment) is None
            assert feed.since(feed.asked_at) == feed.answer
            await until(bell, lambda: feed.since(moment) is not None)
            assert (feed.since(moment) or 0) > seen

    run(test)


def test_an_error_is_kept_and_asking_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    source = Counter(None, ServiceError("no answer"), ServiceError("no answer"))

    async def test() -> None:
        bell = asyncio.Event()
        with join("key", source, service="s", name="votes", poll=0.01, bell=bell) as feed:
            await until(bell, lambda: feed.error is not None)
            assert feed.answer == 1
            await until(bell, lambda: feed.error is None)
            assert feed.answer == 4

    with caplog.at_level(logging.INFO, logger=feeds.__name__):
        run(test)
    assert caplog.messages == [
        "votes: no answer; asking goes on",
        "votes: answered again after 2 failed questions",
    ]


def test_the_pause_grows_while_there_is_no_answer() -> None:
    source = Counter(*[ServiceError("no answer")] * 4)

    async def test() -> None:
        bell = asyncio.Event()
        with join("key", source, service="s", name="n", poll=0.01, bell=bell) as feed:
            await until(bell, lambda: feed.answer is not None)

    run(test)
    gaps = [later - earlier for earlier, later in zip(source.asked, source.asked[1:], strict=False)]
    least = [0.01 * 2**number * 0.9 for number in (1, 2, 3, 4)]
    assert all(gap >= bound for gap, bound in zip(gaps, least, strict=True))


def test_what_a_person_has_to_mend_ends_the_feed_and_the_next_to_join_asks_anew() -> None:
    broken, mended = Counter(AuthError("refused")), Counter()

    async def test() -> None:
        bell = asyncio.Event()
        with join("key", broken, service="s", name="n", poll=60, bell=bell) as feed:
            await until(bell, lambda: feed.failure is not None)
            assert isinstance(feed.failure, AuthError)
            with join("key", mended, service="s", name="n", poll=60, bell=bell) as fresh:
                assert fresh is not feed
                await until(bell, lambda: fresh.answer == 1)

    run(test)


def test_the_last_to_leave_ends_the_loop_after_one_more_interval() -> None:
    source = Counter()

    async def test() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        with join("key", source, service="s", name="n", poll=0.05, bell=first) as feed:
            with join("key", source, service="s", name="n", poll=0.05, bell=second):
                await until(second, lambda: feed.answer is not None)
            assert source.closed == 0
            await until(first, lambda: (feed.answer or 0) >= 3)
            left = time.monotonic()
        asked = len(source.asked)
        await ended(feed)
        assert time.monotonic() - left >= 0.05
        assert len(source.asked) <= asked + 1  # one may have been on its way
        assert feed.failure is None
        with join("key", source, service="s", name="n", poll=0.05, bell=first) as fresh:
            assert fresh is not feed

    run(test)
    wait_for(lambda: source.closed > 0, "the source is closed")


def test_who_comes_back_within_the_interval_finds_the_answer() -> None:
    source = Counter()

    async def test() -> None:
        bell = asyncio.Event()
        with join("key", source, service="s", name="n", poll=30, bell=bell) as feed:
            await until(bell, lambda: feed.answer == 1)
        with join("key", source, service="s", name="n", poll=30, bell=bell) as again:
            assert again is feed
            assert again.answer == 1

    run(test)
    assert len(source.asked) == 1


def test_a_feed_does_not_log_into_the_task_of_the_first_that_joined() -> None:
    task = contextvars.ContextVar("task", default="nobody")
    seen = []

    class Source(Counter):
        def ask(self) -> int:
            seen.append(task.get())
            return super().ask()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(task.get())
            assert record.name == feeds.__name__

    source = Source(ServiceError("no answer"))
    handler = Handler()
    feeds.log.addHandler(handler)

    async def test() -> None:
        task.set("first")
        bell = asyncio.Event()
        with join("key", source, service="s", name="n", poll=0.01, bell=bell) as feed:
            await until(bell, lambda: feed.answer is not None)

    try:
        run(test)
    finally:
        feeds.log.removeHandler(handler)
    assert set(seen) == {"nobody"}
    assert len(seen) >= 3


def test_a_service_that_hangs_does_not_delay_another() -> None:
    async def test() -> None:
        bell = asyncio.Event()
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        class Hanging(Counter):
            def ask(self) -> int:
                asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
                return super().ask()

        with ExitStack() as stack:
            for number in range(feeds.THREADS + 1):
                hanging = Hanging()
                stack.enter_context(
                    join(("slow", number), hanging, service="slow", name="n", poll=60, bell=bell)
                )
            other = stack.enter_context(join("fast", Counter(), service="fast", name="n", poll=60, bell=bell))
            await until(bell, lambda: other.answer == 1)
            release.set()

    run(test)
