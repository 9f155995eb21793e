"""Requests to DLRN's API: how they must look, and what its refusals mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import requests

from rdo_promoter.clients.http import attempts, reason, safe_url, send
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError


class DlrnApi:
    """One DLRN API server.

    :param url: the API's address, without ``/api``.
    :param session: carries no credentials: they go with what needs them alone.
    :param username: for what changes something.
    :param password: of that user.
    """

    def __init__(
        self, url: str, session: requests.Session, *, username: str | None = None, password: str | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.requests_made = 0
        self._session = session
        self._username = username
        self._password = password
        self._clock: tuple[float, float] | None = None

    def __repr__(self) -> str:
        return f"DlrnApi({safe_url(self.url)})"

    def get(self, path: str, params: Mapping[str, str | int]) -> object:
        """Ask with query parameters only.

        A Content-Type makes 0.26.1 merge a body with the query, and newer servers ignore the query.

        :param path: below ``/api/``.
        """
        response = send(
            self._session,
            "GET",
            f"{self.url}/api/{path}",
            params=params,
            service="DLRN",
            allow_redirects=True,
        )
        return self._content(response, self.where("GET", path))

    def post(self, path: str, body: Mapping[str, object]) -> object:
        """Send JSON, once, with credentials.

        :param path: below ``/api/``.
        :raises ServiceError: without an answer or with a 5xx: what the server did is then not known.
        """
        where = self.where("POST", path)
        if not self._username or not self._password:
            raise AuthError(f"{where} needs a user and a password; set them in DLRN's Connection")
        # As bytes: requests would refuse a password beyond latin-1. `json=` sets the Content-Type to
        # exactly application/json; DLRN answers 415 to a charset.
        response = send(
            self._session,
            "POST",
            f"{self.url}/api/{path}",
            json=dict(body),
            auth=(self._username.encode(), self._password.encode()),
            service="DLRN",
            # A redirected POST becomes a GET.
            allow_redirects=False,
        )
        return self._content(response, where)

    def now(self) -> int:
        """Return the server's time, in seconds since the epoch.

        From the Date header of its last answer, plus what has passed since by our clock.

        :raises AnswerError: when the server sends no Date.
        """
        if self._clock is None:
            self.get("health", {})
        if self._clock is None:
            raise AnswerError(f"DLRN at {safe_url(self.url)} sends no Date header: ages cannot be told")
        date, seen = self._clock
        return int(date + time.monotonic() - seen)

    def where(self, method: str, path: str) -> str:
        """Return the request as it is named in messages."""
        return f"DLRN {method} {safe_url(self.url)}/api/{path}"

    def _content(self, response: requests.Response, where: str) -> object:
        self.requests_made += attempts(response)
        self._read_clock(response)
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

    def _read_clock(self, response: requests.Response) -> None:
        try:
            date = parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        self._clock = (date.timestamp(), time.monotonic())

    def _refusal(self, response: requests.Response, where: str) -> Exception:  # noqa: PLR0911 - a table
        """Return the exception that an answer other than 2xx stands for."""
        status = response.status_code
        said = f"{where} answered {status}: {reason(response)}"
        user = f"user {self._username!r}" if self._username else "without a user"
        if status >= 500 or status == 429:
            return ServiceError(said, status=status)
        if status == 401:
            return AuthError(f"{said} ({user}); check login and password of DLRN's Connection")
        if status == 403 and "promote_name" in response.text:
            return ConfigError(f"{said}; DLRN does not let anybody promote to this label, take another")
        if status == 403:
            return AuthError(f"{said} ({user} is not allowed to do this); ask DLRN's administrators")
        if status == 410:
            return NotFoundError(f"{said}; the build is purged, a newer one has to be taken")
        if status == 400 and "not found" in response.text:
            return NotFoundError(f"{said}; DLRN has no successful build with these hashes")
        if status == 404 or 300 <= status < 400:
            target = response.headers.get("Location")
            hint = f"it points to {safe_url(target)}; " if target else ""
            return ConfigError(
                f"{said}; {hint}the Connection's host is the API's address without /api, "
                "such as https://trunk.rdoproject.org/api-centos9-master-uc"
            )
        return AnswerError(said)
