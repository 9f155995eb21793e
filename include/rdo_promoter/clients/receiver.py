"""A client of what takes hand-offs: posts one, and asks what has become of it.

What a receiver has to be is this package's own; it stands in ``docs/how-to/hand-off.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

import requests

from rdo_promoter.clients.http import RETRY_STATUS, make_session, reason, safe_url, send
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError
from rdo_promoter.model.text import one_line

#: By it a receiver knows what it has had before.
KEY_HEADER = "Idempotency-Key"

#: A key that no hand-off has.
_NO_KEY = "0" * 64

#: Answers that say "later", besides all of 500 and more.
_LATER = (408, 425, 429)


class State(StrEnum):
    """What has become of a hand-off that was accepted."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Said:
    """What a receiver says of a hand-off.

    :param state: what has become of it.
    :param reason: in its words, empty when it gives none.
    """

    state: State
    reason: str = ""


class Receiver:
    """One receiver of hand-offs.

    :param url: its address: hand-offs are posted there, and asked for below it by their key.
    :param username: a user, None with a token, or for one that lets everybody in.
    :param password: that user's password; without a user a token.
    :param verify: True, or the path of a CA bundle.
    :param retries: how often a request is sent again at most; posting twice is as good as once.
    :param backoff: seconds of the first pause between two tries.
    :param source: where address and login were read from, for messages.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        verify: bool | str = True,
        retries: int = 4,
        backoff: float = 0.5,
        source: str = "the receiver's Connection",
    ) -> None:
        self.url = url.rstrip("/")
        token = {"Authorization": f"Bearer {password}"} if password and not username else {}
        self._session = make_session(
            verify=verify,
            retries=retries,
            backoff=backoff,
            retry_methods=("GET", "POST"),
            retry_status=(*RETRY_STATUS, *_LATER),
            headers=token,
        )
        # As bytes: requests would refuse what is beyond latin-1.
        self._auth = (username.encode(), (password or "").encode()) if username else None
        self._source = source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Receiver({safe_url(self.url)})"

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def check_login(self) -> None:
        """Ask for a hand-off that cannot exist; nothing is changed.

        :raises AuthError: when the login is refused.
        :raises ConfigError: when it is no receiver: that one knows of none.
        """
        response = self._send("GET", f"{self.url}/{_NO_KEY}")
        if response.status_code != 404:
            self._read(response)
            raise ConfigError(
                f"{safe_url(self.url)} has a hand-off that cannot exist, so it is no receiver of hand-offs: "
                f"check the address in {self._source}"
            )

    def post(self, key: str, content: bytes) -> Said:
        """Hand off, and return what the receiver says at once; one that has it already is as good.

        :param key: the hand-off's key.
        :param content: its envelope.
        :raises AnswerError: when the receiver does not take it, in its words.
        :raises ServiceError: when it does not serve; posting again does no harm.
        """
        response = self._send(
            "POST", self.url, data=content, headers={KEY_HEADER: key, "Content-Type": "application/json"}
        )
        if response.status_code == 409 and _object(response).get("key") == key:
            return _said(response)
        return self._read(response)

    def state(self, key: str) -> Said:
        """Return what has become of a hand-off.

        :param key: the hand-off's key.
        :raises NotFoundError: when the receiver knows of none.
        """
        return self._read(self._send("GET", f"{self.url}/{key}"))

    def _send(self, method: str, url: str, **kwargs: object) -> requests.Response:
        # A redirect would take the login somewhere else, and make a GET of a POST.
        options = {"service": "receiver", "auth": self._auth, "allow_redirects": False}
        return send(self._session, method, url, **options, **kwargs)  # type: ignore[arg-type]

    def _read(self, response: requests.Response) -> Said:
        if 200 <= response.status_code < 300:
            return _said(response)
        raise self._refusal(response)

    def _refusal(self, response: requests.Response) -> Exception:
        status, said = response.status_code, _words(response) or reason(response)
        asked = response.request
        where = f"receiver {asked.method} {safe_url(asked.url or self.url)} answered {status}"
        if status >= 500 or status in _LATER:
            return ServiceError(f"{where}: {said}", status=status)
        if status in (401, 403):
            return AuthError(f"{where}: {said}; check the login, or the token, of {self._source}")
        if status == 404:
            return NotFoundError(
                f"{where}: {said}; check the address in {self._source}, or clear the task to post it again"
            )
        if status < 400:
            target = safe_url(response.headers.get("Location", ""))
            return ConfigError(
                f"{where} and points to {target}: write the receiver's own address into {self._source}"
            )
        return AnswerError(f"{where}: {said}")


def _said(response: requests.Response) -> Said:
    """Read an answer; one that says nothing of it, such as one without content, leaves it pending."""
    data = _object(response)
    if data.get("rejected") is True:
        return Said(State.REJECTED, _words(response) or "it gives no reason")
    return Said(State.ACKNOWLEDGED if data.get("acknowledged") is True else State.PENDING)


def _words(response: requests.Response) -> str:
    text = _object(response).get("reason")
    return one_line(text, limit=500) if isinstance(text, str) else ""


def _object(response: requests.Response) -> dict[str, object]:
    try:
        data: object = response.json()
    except (ValueError, RecursionError):  # no JSON, or nested beyond all reason
        return {}
    return data if isinstance(data, dict) else {}
