"""Whether it is still our turn, asked again and again while many small writes go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from rdo_promoter.clients.registry.pool import StoppedError

#: Seconds for which one answer serves.
EVERY = 1.0


class StillOurTurn:
    """Called by several threads, each before it writes; looks when the last look is not fresh any more.

    Nobody writes while it looks. The first look that fails is the last one, and nobody writes after it.

    :param look: raises when it is not our turn, or when nobody can tell. The one before these writes was
        just made.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._looked = time.monotonic()
        self._failed = False
        self._lock = Lock()

    def __call__(self) -> None:
        """Return when it is still our turn.

        :raises StoppedError: when an earlier look has failed; whoever made it has raised why.
        """
        with self._lock:
            if self._failed:
                raise StoppedError
            now = time.monotonic()
            if now - self._looked < EVERY:
                return
            try:
                self._look()
            except BaseException:
                self._failed = True
                raise
            # When the question was asked: its answer may have taken a while.
            self._looked = now
