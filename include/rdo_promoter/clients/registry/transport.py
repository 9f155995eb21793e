"""Requests to one registry, and what its answers mean as errors of this package."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from pydantic import BaseModel, ValidationError

from rdo_promoter.clients.http import RETRY_STATUS, make_session
from rdo_promoter.clients.registry.auth import make_auth, refusal
from rdo_promoter.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    NotFoundError,
    PromoterError,
    ServiceError,
)

_DETAIL_MAX = 300


class _Problem(BaseModel):
    code: str = ""
    message: str = ""


class _Problems(BaseModel):
    errors: tuple[_Problem, ...] = ()


class Transport:
    """Sends requests to one registry.

    May be used from several threads: the only thing that a requests session changes while it works is its
    cookie jar, and cookies are refused here; the connection pool below it has locks of its own.

    :param url: the registry's address, ``https://registry.example.org``.
    :param name: its name in messages.
    :param username: login, None for an open registry.
    :param password: its password.
    :param verify: True, or the path of a CA bundle.
    :param pool: connections, so the number of requests at a time.
    :param retries: how often a request is sent again after an answer that says "later" or none at all.
    :param backoff: seconds of the first pause.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        username: str | None,
        password: str | None,
        verify: bool | str,
        pool: int,
        retries: int,
        backoff: float,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"registry {name}: its address has to start with https:// (or http://) and a host"
            )
        if parts.username or parts.password:
            raise ConfigError(
                f"registry {name}: put login and password in the Connection, not in the address"
            )
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ConfigError(
                f"registry {name}: its address has {parts.path!r} behind the host; write the host alone, for "
                "docker.io https://registry-1.docker.io; a prefix of all repositories belongs into the "
                "namespace of the release file"
            )
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.name = name
        self.retries = retries
        self.backoff = backoff
        self._username = username
        auth = make_auth(self.url, username, password, name=name)
        # Manifests are named by their digest and a mount or a new upload may be asked for twice, so all of
        # these may be sent again. A streamed body may not: it is half gone. It has a session without retries.
        methods = ("GET", "HEAD", "PUT", "POST", "DELETE")
        self._session = make_session(
            verify=verify, pool=pool, retries=retries, backoff=backoff, retry_methods=methods
        )
        self._streams = make_session(verify=verify, pool=pool, retries=0)
        for session in (self._session, self._streams):
            session.auth = auth
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            # A transparently unpacked body is not what the digest was made of.
            session.headers["Accept-Encoding"] = "identity"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        self._streams.close()

    def request(
        self,
        method: str,
        address: str,
        *,
        what: str,
        ok: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request and return its answer.

        :param address: a path, or a whole address that the registry gave.
        :param what: the action with its subject, for messages: ``put team/nova-api:current``.
        :param ok: statuses that the caller handles.
        :param body: bytes, or a stream, which is sent once and never repeated here.
        :param stream: leave the answer's body to the caller, who closes the answer.
        :raises AuthError: for 401 and 403.
        :raises NotFoundError: for 404.
        :raises ServiceError: for 429 and 5xx after the retries, and when there is no answer.
        :raises ConfigError: when the certificate cannot be verified.
        :raises AnswerError: for anything else.
        """
        once = body is not None and not isinstance(body, bytes)
        session = self._streams if once else self._session
        for attempt in range(self.retries + 1):
            try:
                response = session.request(
                    method,
                    urljoin(self.url, address),
                    headers=headers,
                    params=params,
                    data=body,
                    stream=stream,
                    allow_redirects=method in ("GET", "HEAD"),
                )
                break
            except requests.exceptions.ChunkedEncodingError as error:
                # The answer was cut off; urllib3's retries end where the body begins.
                if once or attempt == self.retries:
                    raise self._unanswered(what, error) from error
            except OSError as error:
                # Every error of requests is an OSError; its complaint about a missing CA file is a bare one.
                raise self._unanswered(what, error) from error
        if response.status_code not in ok:
            with response:
                raise self._refused(what, response)
        return response

    def stream(self, response: requests.Response, size: int, *, what: str) -> Iterator[bytes]:
        """Yield the body of a streamed answer as it was sent, chunk by chunk.

        :param size: bytes of a chunk at most.
        :param what: the action with its subject, for messages.
        :raises ServiceError: when the body ends early.
        """
        try:
            yield from response.raw.stream(size, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unanswered(what, error) from error

    def where(self, what: str) -> str:
        """Return the beginning of each message: registry, address and action."""
        return f"registry {self.name} ({self.url}): {what}"

    def _unanswered(self, what: str, error: Exception) -> PromoterError:
        chain = list(_causes(error))
        reason = f"{type(chain[-1]).__name__}: {chain[-1]}"
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
            return ConfigError(
                f"{self.where(what)}: its certificate could not be verified ({reason}). If it has a CA of "
                "its own, set `verify` in the Connection's extra to the path of that CA's certificate"
            )
        if any(isinstance(cause, ssl.SSLError) for cause in chain) and "WRONG_VERSION_NUMBER" in reason:
            return ConfigError(
                f"{self.where(what)}: it does not speak TLS at this address; use http:// or its TLS port"
            )
        if isinstance(error, requests.exceptions.InvalidURL):
            return ConfigError(f"{self.where(what)}: the address cannot be used ({reason})")
        if not isinstance(error, requests.RequestException) and "CA certificate" in str(error):
            return ConfigError(f"{self.where(what)}: the file that `verify` names cannot be read ({error})")
        return ServiceError(f"{self.where(what)}: no answer ({reason})")

    def _refused(self, what: str, response: requests.Response) -> PromoterError:
        status = response.status_code
        message = f"{self.where(what)}: answered {status} {response.reason}{_details(response)}"
        if status == 401:
            return AuthError(
                f"{message}; {refusal(response.headers.get('WWW-Authenticate', ''), self._username)}"
            )
        if status == 403:
            who = f"the login {self._username!r}" if self._username else "an anonymous user"
            return AuthError(f"{message}; {who} may not do this: have it permitted there")
        if status == 404:
            return NotFoundError(message)
        if status in RETRY_STATUS or status >= 500 or status == 408:
            return ServiceError(message, status=status)
        return AnswerError(message)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it wraps; requests and urllib3 wrap with ``args`` and ``reason``."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        wrapped = (getattr(inner, "reason", None), *inner.args)
        inner = next((cause for cause in wrapped if isinstance(cause, BaseException)), None)


def _details(response: requests.Response) -> str:
    """Return the registry's own words, when it has any."""
    try:
        problems = _Problems.model_validate_json(response.content).errors
    except (ValidationError, requests.RequestException):
        return ""
    words = "; ".join(f"{problem.code}: {problem.message}" for problem in problems)
    return f" ({words[:_DETAIL_MAX]})" if words else ""
