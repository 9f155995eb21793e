"""An HTTP session with the manners that every client here needs: time-outs, bounded retries, no netrc."""

from __future__ import annotations

import html
import re
import ssl
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from rdo_promoter.errors import ConfigError, ServiceError
from rdo_promoter.model.text import one_line

#: Seconds to connect, and seconds between two bytes of an answer.
TIMEOUT = (10.0, 60.0)

#: Answers that say "later".
RETRY_STATUS = (429, 500, 502, 503, 504)

#: A server may ask for hours in Retry-After; a task would rather end and be retried.
RETRY_AFTER_MAX = 60

_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)


class _Adapter(HTTPAdapter):
    """Waits for `TIMEOUT`, where requests waits for ever, and asks the environment about proxies.

    requests looks at ``no_proxy`` only in sessions that trust the environment, and those read ``~/.netrc``.
    """

    def __init__(self, *, timeout: tuple[float, float], **kwargs: Any) -> None:
        self._timeout = timeout
        super().__init__(**kwargs)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with a time-out, unless the call brought its own, and through the proxy for this address."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        kwargs["proxies"] = requests.utils.get_environ_proxies(request.url or "")
        return super().send(request, *args, **kwargs)


def make_session(
    *,
    verify: bool | str = True,
    pool: int = 10,
    timeout: tuple[float, float] = TIMEOUT,
    retries: int = 4,
    backoff: float = 0.5,
    retry_methods: Collection[str] = ("GET", "HEAD"),
    retry_status: Collection[int] = RETRY_STATUS,
    headers: Mapping[str, str] | None = None,
) -> requests.Session:
    """Make a session.

    Retried are only the methods named: a promotion or an upload decides itself what a lost answer means.

    :param verify: True, or the path of a CA bundle.
    :param pool: connections kept open to one host.
    :param timeout: seconds to connect, seconds between two bytes.
    :param retries: how often a request is sent again at most.
    :param backoff: seconds of the first pause; doubles each time, with as much jitter again.
    :param retry_methods: methods that may be sent twice.
    :param retry_status: answers that are worth a retry.
    :param headers: sent with each request.
    """
    session = requests.Session()
    # Otherwise ~/.netrc overrides the Authorization header.
    session.trust_env = False
    session.verify = verify
    session.headers.update(headers or {})
    retry = Retry(
        total=retries,
        status_forcelist=retry_status,
        allowed_methods=retry_methods,
        backoff_factor=backoff,
        backoff_jitter=backoff,
        backoff_max=RETRY_AFTER_MAX,
        retry_after_max=RETRY_AFTER_MAX,
        raise_on_status=False,
        redirect=5,
        # A bad certificate is none the better for a second look; urllib3 would repeat it for any method.
        other=0,
    )
    adapter = _Adapter(timeout=timeout, max_retries=retry, pool_maxsize=pool, pool_block=True)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def send(
    session: requests.Session, method: str, url: str, *, service: str, **kwargs: Any
) -> requests.Response:
    """Send one request and return the answer, whatever its status.

    :param service: who is asked, for messages, for example ``DLRN``.
    :raises ServiceError: when no whole answer came.
    :raises ConfigError: when the server's certificate is not trusted, it speaks no TLS, or the address is
        none.
    """
    where = f"{method} {safe_url(url)}"
    try:
        return session.request(method, url, **kwargs)
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
        raise ConfigError(f"{service}: {safe_url(url)!r} is no address: {_innermost(error)}") from error
    except requests.exceptions.RequestException as error:
        cause = _innermost(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ConfigError(
                f"{service}: the certificate behind {where} is not trusted ({cause.verify_message}); "
                "if it has a CA of its own, write the path of that CA's certificate to 'ca' in the extra of "
                "its Connection"
            ) from error
        if no_tls(cause):
            raise ConfigError(
                f"{service}: {where}: it does not speak TLS at this address; use http:// or its TLS port"
            ) from error
        raise ServiceError(f"{service} gave no answer to {where}: {_text(cause)}") from error
    except OSError as error:
        # What requests says when the file that `verify` names is missing.
        raise ConfigError(f"{service}: {where} was not sent: {error}") from error


def no_tls(error: BaseException) -> bool:
    """Tell whether an error says that the server speaks plain HTTP where TLS was tried."""
    return isinstance(error, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(error)


def attempts(response: requests.Response) -> int:
    """Return how often the request was sent until this answer came."""
    retries = getattr(response.raw, "retries", None)
    return 1 + (len(retries.history) if retries is not None else 0)


def safe_url(url: str) -> str:
    """Return the URL without user and password, so that it can stand in a message."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def reason(response: requests.Response, *, limit: int = 200) -> str:
    """Return what an error answer says, in one line: a JSON message, or the text of an HTML page.

    :param limit: characters.
    """
    try:
        body = response.json()
    except (ValueError, RecursionError):  # no JSON, or nested beyond all reason
        body = None
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        text = body["message"]
    else:
        # An error page says the same in its title, its heading and a paragraph: one is enough.
        page = _PARAGRAPH.search(response.text) or _TITLE.search(response.text)
        text = html.unescape(re.sub(r"<[^>]*>", " ", page[1] if page else response.text))
    text = " ".join(text.split()) or response.reason or "no reason given"
    return one_line(text if len(text) <= limit else text[: limit - 3] + "...")


def _innermost(error: BaseException) -> BaseException:
    """Return the first cause of a requests error; the outer ones repeat it."""
    while True:
        deeper = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(deeper, BaseException):
            return error
        error = deeper


def _text(error: BaseException) -> str:
    """Return what an error says, without the object addresses that urllib3 puts before it."""
    return re.sub(r"<[^>]*object at 0x[0-9a-f]+>:? ?", "", str(error)) or type(error).__name__
