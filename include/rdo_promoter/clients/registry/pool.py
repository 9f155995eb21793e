"""Many small actions at a time, and an end to all of them when one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoppedError(CancelledError):
    """An action ended early because another one failed."""


def run_all(
    function: Callable[[Item], Result], items: Sequence[Item], *, threads: int, stop: Event | None = None
) -> list[Result]:
    """Call the function for each item in a bounded number of threads; return the results in order.

    The first error ends it: what has not begun is dropped, what has begun finds ``stop`` set, and the error
    is raised as it is, once no thread works any more.

    :param threads: how many at a time at most.
    :param stop: set when one has failed.
    """
    stop = stop or Event()
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=min(threads, len(items)), thread_name_prefix="registry") as executor:
        futures = [executor.submit(function, item) for item in items]
        try:
            for done in as_completed(futures):
                done.result()
        except BaseException as error:
            stop.set()
            executor.shutdown(cancel_futures=True)
            finished = sum(1 for each in futures if not each.cancelled() and each.exception() is None)
            error.add_note(f"{finished} of {len(items)} were finished when the first error ended the rest")
            raise
        return [future.result() for future in futures]
