"""What requests to registries and to their token servers have in common."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from pydantic import BaseModel, ValidationError
from requests.auth import AuthBase

from rdo_promoter.clients.http import RETRY_STATUS, make_session, no_tls
from rdo_promoter.errors import ConfigError, PromoterError, ServiceError
from rdo_promoter.model.text import one_line

_DETAIL_MAX = 300


@dataclass(frozen=True, slots=True)
class Credentials(AuthBase):
    """What a request shows of who asks; no representation and no traceback with variables shows it.

    :param header: the value of ``Authorization``.
    """

    header: str = field(repr=False)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add it."""
        request.headers["Authorization"] = self.header
        return request


class _Problem(BaseModel):
    code: str = ""
    message: str = ""


class _Problems(BaseModel):
    errors: tuple[_Problem, ...] = ()


def open_session(**options: Any) -> requests.Session:
    """Return a session that several threads may use: all that a session changes while it works is cookies.

    :param options: for `make_session`.
    """
    session = make_session(**options)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def exchange(
    session: requests.Session, method: str, url: str, *, where: str, tries: int, **options: Any
) -> requests.Response:
    """Send a request and return its answer, whatever its status.

    :param where: the beginning of each message: who is asked for what.
    :param tries: how often it is sent when the answer is cut off: urllib3's own retries end
        where the body begins.
    :param options: for requests.
    :raises ServiceError: when no whole answer came.
    :raises ConfigError: when the certificate cannot be verified, or the address is none.
    """
    for left in reversed(range(tries)):
        try:
            return session.request(method, url, **options)
        except requests.exceptions.ChunkedEncodingError as error:
            if not left:
                raise unanswered(where, error) from error
        except OSError as error:
            # Every error of requests is an OSError; its complaint about a missing CA file is a bare one.
            raise unanswered(where, error) from error
    raise AssertionError("unreachable")


def says_later(status: int) -> bool:
    """Tell whether an answer means that the same request may succeed later."""
    return status in RETRY_STATUS or status >= 500 or status == 408


def codes(response: requests.Response) -> frozenset[str]:
    """Return the codes of the problems that the server names, as ``BLOB_UNKNOWN``."""
    return frozenset(problem.code for problem in _problems(response))


def details(response: requests.Response) -> str:
    """Return the server's own words, when it has any, in parentheses."""
    words = "; ".join(f"{problem.code}: {problem.message}" for problem in _problems(response))
    return f" ({one_line(words[:_DETAIL_MAX])})" if words else ""


def unanswered(where: str, error: Exception) -> PromoterError:
    """Return what the absence of an answer means.

    :param where: the beginning of the message: who was asked for what.
    """
    chain = list(_causes(error))
    reason = f"{type(chain[-1]).__name__}: {chain[-1]}"
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
        return ConfigError(
            f"{where}: its certificate could not be verified ({reason}); if it has a CA of its own, write "
            "the path of that CA's certificate to 'ca' in the extra of its Connection"
        )
    if any(no_tls(cause) for cause in chain):
        return ConfigError(f"{where}: it does not speak TLS at this address; use http:// or its TLS port")
    if isinstance(error, requests.exceptions.InvalidURL):
        return ConfigError(f"{where}: the address cannot be used ({reason})")
    if not isinstance(error, requests.RequestException) and "CA certificate" in str(error):
        return ConfigError(f"{where}: the CA file that its Connection names cannot be read ({error})")
    return ServiceError(f"{where}: no answer ({reason})")


def _problems(response: requests.Response) -> tuple[_Problem, ...]:
    try:
        return _Problems.model_validate_json(response.content).errors
    except (ValidationError, requests.RequestException):
        return ()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it wraps; requests and urllib3 wrap with ``args`` and ``reason``."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        wrapped = (getattr(inner, "reason", None), *inner.args)
        inner = next((cause for cause in wrapped if isinstance(cause, BaseException)), None)
