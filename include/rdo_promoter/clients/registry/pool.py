"""Many small actions at a time, and an end to all of them when one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
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

    The first error ends it: what has not begun does not begin, what has begun finds ``stop`` set, and the
    error is raised as it is, once no thread works any more.

    :param threads: how many at a time at most.
    :param stop: set when one has failed.
    """
    stop = stop or Event()
    if not items:
        return []

    def guarded(item: Item) -> Result:
        if stop.is_set():
            raise StoppedError
        try:
            return function(item)
        except BaseException:
            # Here and not where the results are collected: this thread goes on to the next item at once.
            stop.set()
            raise

    with ThreadPoolExecutor(max_workers=min(threads, len(items)), thread_name_prefix="registry") as executor:
        futures = [executor.submit(guarded, item) for item in items]
        try:
            wait(futures)
        except BaseException:
            stop.set()
            raise
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        first = next((error for error in errors if not isinstance(error, StoppedError)), errors[0])
        done = len(items) - len(errors)
        first.add_note(f"{done} of {len(items)} were finished when the first error ended the rest")
        raise first
    return [future.result() for future in futures]
