"""The trigger that waits until a hand-off is acknowledged or rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdo_promoter.errors import TransientError
from rdo_promoter.hooks.handoff import HandoffReceiverHook
from rdo_promoter.triggers.feed import Source
from rdo_promoter.triggers.started import Seen, StartedTrigger

if TYPE_CHECKING:
    from rdo_promoter.clients.receiver import Receiver


class HandoffTrigger(StartedTrigger):
    """Waits until the receiver of a hand-off has decided; `job_id` is the hand-off's key."""

    def source(self) -> Source[Seen]:
        """Return what is asked."""
        return HandoffSource(self.conn_id, self.job_id)


class HandoffSource:
    """Asks a receiver for a hand-off; runs in threads of the triggerer.

    :param conn_id: Connection to the receiver.
    :param key: the hand-off's key.
    """

    def __init__(self, conn_id: str, key: str) -> None:
        self._hook = HandoffReceiverHook(conn_id)
        self._key = key
        self._client: Receiver | None = None

    def ask(self) -> Seen:
        """Return whether the receiver has decided."""
        from rdo_promoter.clients.receiver import State

        try:
            # Asked once: the feed asks again.
            self._client = self._client or self._hook.get_conn(retries=0)
            said = self._client.state(self._key)
        except TransientError:
            # An edited Connection is read at the next question.
            self.close()
            raise
        return Seen(over=said.state is not State.PENDING, handle="")

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None
