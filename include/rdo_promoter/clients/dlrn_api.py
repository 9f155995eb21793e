"""Requests to DLRN's API: how they must look, and what its refusals mean."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import requests

from rdo_promoter.clients.http import attempts, reason, safe_url, send
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError
from rdo_promoter.model.clock import SKEW_MAX, skew, utc

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Clock:
    """What an answer told of the server's clock.

    :param date: its Date, seconds since the epoch.
    :param seen: when it came, by this machine's monotonic clock.
    :param skew: seconds that this machine's clock is ahead of the server's.
    """

    date: float
    seen: float
    skew: float


class DlrnApi:
    """One DLRN API server.

    :param url: the API's address, without ``/api``.
    :param session: carries no credentials: they go with what needs them alone.
    :param username: for what changes something.
    :param password: of that user.
    :param source: where address and login were read from, for messages.
    """

    def __init__(
        self,
        url: str,
        session: requests.Session,
        *,
        username: str | None = None,
        password: str | None = None,
        source: str = "DLRN's Connection",
    ) -> None:
        self.url = url.rstrip("/")
        self.requests_made = 0
        self._session = session
        self._username = username
        self._password = password
        self._source = source
        self._clock: _Clock | None = None
        self._warned = False

    def __repr__(self) -> str:
        return f"DlrnApi({safe_url(self.url)})"

    def get(self, path: str, params: Mapping[str, str | int]) -> object:
        """Ask with query parameters only.

        A Content-Type makes 0.26.1 merge a body with the query, and newer servers ignore the query.

        :param path: below ``/api/``.
        """
        return self._get(path, params)

    def _get(
        self, path: str, params: Mapping[str, str | int], headers: Mapping[str, str] | None = None
    ) -> object:
        sent = time.time()
        response = send(
            self._session,
            "GET",
            f"{self.url}/api/{path}",
            params=params,
            headers=headers,
            service="DLRN",
            allow_redirects=True,
        )
        return self._content(response, self.where("GET", path), sent)

    def post(self, path: str, body: Mapping[str, object] | Sequence[Mapping[str, object]]) -> object:
        """Send JSON, once, with credentials.

        :param path: below ``/api/``.
        :raises ServiceError: without an answer or with a 5xx: what the server did is then not known.
        """
        where = self.where("POST", path)
        if not self._username or not self._password:
            raise AuthError(f"{where} needs a user and a password; set them in {self._source}")
        sent = time.time()
        # As bytes: requests would refuse a password beyond latin-1. `json=` sets the Content-Type to
        # exactly application/json; DLRN answers 415 to a charset.
        response = send(
            self._session,
            "POST",
            f"{self.url}/api/{path}",
            json=body,
            auth=(self._username.encode(), self._password.encode()),
            service="DLRN",
            # A redirected POST becomes a GET.
            allow_redirects=False,
        )
        return self._content(response, where, sent)

    def now(self) -> int:
        """Return the server's time, in seconds since the epoch.

        From the Date header of its last answer, plus what has passed since by our clock.

        :raises AnswerError: when the server sends no Date, or a cache answers in its place.
        """
        if self._clock is None:
            # A cache that gave the answers so far has to ask the server for this one.
            self._get("health", {}, {"Cache-Control": "no-cache"})
        if self._clock is None:
            raise AnswerError(
                f"DLRN at {safe_url(self.url)} sends no Date header, or an HTTP cache before it answers with "
                "old ones (an Age header): without DLRN's time no deadline can be told; let its web server "
                "send Date, and no cache keep what is below /api"
            )
        return int(self._clock.date + time.monotonic() - self._clock.seen)

    @property
    def skew(self) -> float | None:
        """Seconds that this machine's clock is certainly ahead of the server's; None before any answer."""
        return None if self._clock is None else self._clock.skew

    def where(self, method: str, path: str) -> str:
        """Return the request as it is named in messages."""
        return f"DLRN {method} {safe_url(self.url)}/api/{path}"

    def _content(self, response: requests.Response, where: str, sent: float) -> object:
        self.requests_made += attempts(response)
        self._read_clock(response, sent)
        if not 200 <= response.status_code < 300:
            raise self._refusal(response, where)
        try:
            content: object = response.json()
        except ValueError as error:
            raise AnswerError(
                f"{where} answered {response.status_code} without JSON ({reason(response, limit=80)}); "
                "is this the address of a DLRN API?"
            ) from error
        return content

    def _read_clock(self, response: requests.Response, sent: float) -> None:
        received, seen = time.time(), time.monotonic()
        if response.headers.get("Age", "0").strip() != "0":
            return  # a cache has kept it: its Date is that of the first time it was asked for
        try:
            date = parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        # "-0000" says that the zone is not known. HTTP knows but one, and Python would take this machine's.
        server = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        self._clock = _Clock(server, seen, skew(server, sent=sent, received=received))
        if abs(self._clock.skew) > SKEW_MAX and not self._warned:
            self._warned = True
            log.warning(
                "the clock of this machine is %.0f s %s that of DLRN at %s: here it is %s, there it was %s. "
                "Deadlines and ages go by DLRN's clock; have both set by NTP (timedatectl says which is not)",
                abs(self._clock.skew),
                "ahead of" if self._clock.skew > 0 else "behind",
                safe_url(self.url),
                utc(received),
                utc(server),
            )

    def _refusal(self, response: requests.Response, where: str) -> Exception:  # noqa: PLR0911 - a table
        """Return the exception that an answer other than 2xx stands for."""
        status = response.status_code
        said = f"{where} answered {status}: {reason(response)}"
        user = f"user {self._username!r}" if self._username else "without a user"
        if status >= 500 or status == 429:
            return ServiceError(said, status=status)
        if status == 401:
            return AuthError(f"{said} ({user}); check login and password of {self._source}")
        if status == 403 and "promote_name" in response.text:
            return ConfigError(f"{said}; DLRN does not let anybody promote to this label, take another")
        if status == 403:
            return AuthError(
                f"{said} ({user} is not allowed to do this); let DLRN's administrators allow it, or set the "
                f"login of another user in {self._source}"
            )
        if status == 410:
            return NotFoundError(f"{said}; the build is purged, a newer one has to be taken")
        if status == 400 and "not found" in response.text:
            return NotFoundError(f"{said}; DLRN has no successful build with these hashes")
        if status == 404 or 300 <= status < 400:
            target = response.headers.get("Location")
            hint = f"it points to {safe_url(target)}; " if target else ""
            return ConfigError(
                f"{said}; {hint}the host of {self._source} is the API's address without /api, "
                "such as https://trunk.rdoproject.org/api-centos9-master-uc"
            )
        return AnswerError(said)
