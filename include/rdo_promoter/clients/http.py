"""An HTTP session with the manners that every client here needs: time-outs, bounded retries, no netrc."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

#: Seconds to connect, and seconds between two bytes of an answer.
TIMEOUT = (10.0, 60.0)

#: Answers that say "later".
RETRY_STATUS = (429, 500, 502, 503, 504)

#: A server may ask for hours in Retry-After; a task would rather end and be retried.
RETRY_AFTER_MAX = 60


class _TimeoutAdapter(HTTPAdapter):
    """requests waits for ever unless each call says otherwise; this one waits for `TIMEOUT`."""

    def __init__(self, *, timeout: tuple[float, float], **kwargs: Any) -> None:
        self._timeout = timeout
        super().__init__(**kwargs)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with a time-out unless the call brought its own."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
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
    # Otherwise ~/.netrc overrides the Authorization header; proxies are then read explicitly.
    session.trust_env = False
    session.proxies.update(requests.utils.getproxies())
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
    )
    adapter = _TimeoutAdapter(timeout=timeout, max_retries=retry, pool_maxsize=pool, pool_block=True)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
