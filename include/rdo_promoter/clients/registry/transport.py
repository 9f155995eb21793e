"""Requests to one registry, and what its answers mean as errors of this package."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from rdo_promoter.clients.registry.auth import Auth, Signature
from rdo_promoter.clients.registry.wire import codes, details, exchange, open_session, says_later, unanswered
from rdo_promoter.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    NotFoundError,
    PromoterError,
    ServiceError,
)

#: What a registry says of an upload that it does not know any more: another one can be begun.
_FORGOTTEN = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})


class StaleTokenError(ServiceError):
    """The registry refused the token of a stream, which cannot be repeated; there is another token now.

    :param refused: what it means if the registry refuses that one as well.
    """

    def __init__(self, refused: PromoterError) -> None:
        super().__init__(str(refused), status=401)
        self.refused = refused


class Transport:
    """Sends requests to one registry; may be used from several threads.

    :param url: the registry's address, ``https://registry.example.org``.
    :param name: its name in messages.
    :param username: login, None for an open registry.
    :param password: its password.
    :param verify: True, or the path of a CA bundle.
    :param pool: connections, so the number of requests at a time.
    :param retries: how often a request is sent again after an answer that says "later" or none at all.
    :param backoff: seconds of the first pause.
    :param timeout: seconds to connect, seconds between two bytes of an answer.
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
        timeout: tuple[float, float],
    ) -> None:
        # Anywhere: a password may hold what ends a host.
        if "@" in url:
            raise ConfigError(
                f"registry {name}: put login and password in the Connection, not in the address"
            )
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"registry {name}: its address has to start with https:// (or http://) and a host"
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
        options = {"verify": verify, "pool": pool, "backoff": backoff, "timeout": timeout}
        self._asking = open_session(retries=retries, **options)
        self.auth = Auth(
            self.url,
            name=name,
            username=username,
            password=password,
            session=self._asking,
            tries=retries + 1,
        )
        # Manifests are named by their digest and a mount or a new upload may be asked for twice, so all of
        # these may be sent again. A streamed body may not: it is half gone. It has a session without retries.
        methods = ("GET", "HEAD", "PUT", "POST", "DELETE")
        self._session = open_session(retries=retries, retry_methods=methods, **options)
        self._streams = open_session(retries=0, **options)
        for session in (self._session, self._streams):
            # A transparently unpacked body is not what the digest was made of.
            session.headers["Accept-Encoding"] = "identity"

    def close(self) -> None:
        """Close the connections."""
        for session in (self._session, self._streams, self._asking):
            session.close()

    def request(
        self,
        method: str,
        address: str,
        *,
        what: str,
        repository: str | None = None,
        mount_from: str | None = None,
        ok: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request and return its answer.

        :param address: a path, or a whole address that the registry gave.
        :param what: the action with its subject, for messages: ``put team/nova-api:current``.
        :param repository: that the request is about, None for the registry as a whole.
        :param mount_from: the repository that a blob is taken over from.
        :param ok: statuses that the caller handles.
        :param body: bytes, or a stream, which is sent once and never repeated here.
        :param stream: leave the answer's body to the caller, who closes the answer.
        :raises AuthError: for 401 and 403, and when the token server refuses the login.
        :raises NotFoundError: for 404.
        :raises ServiceError: for 429 and 5xx after the retries, when there is no answer, and when the
            registry has forgotten an upload.
        :raises StaleTokenError: when a stream was refused and there is another token now.
        :raises ConfigError: when the certificate cannot be verified.
        :raises AnswerError: for anything else.
        """
        url = urljoin(self.url, address)
        once = body is not None and not isinstance(body, bytes)

        def send(signature: Signature) -> requests.Response:
            return exchange(
                self._streams if once else self._session,
                method,
                url,
                where=self.where(what),
                tries=1 if once else self.retries + 1,
                auth=signature.shown,
                headers=headers,
                params=params,
                data=body,
                stream=stream,
                allow_redirects=method in ("GET", "HEAD"),
            )

        signature = self.auth.sign(method, url, repository, mount_from=mount_from)
        response = send(signature)
        if response.status_code == 401 and 401 not in ok:
            with response:
                refused = self._refused(what, response, signature)
                renewed = self.auth.renew(response, signature)
            if renewed is None:
                raise refused
            if once:
                raise StaleTokenError(refused)
            signature, response = renewed, send(renewed)
        if response.status_code not in ok:
            with response:
                raise self._refused(what, response, signature)
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
            raise unanswered(self.where(what), error) from error

    def where(self, what: str) -> str:
        """Return the beginning of each message: registry, address and action."""
        return f"registry {self.name} ({self.url}): {what}"

    def _refused(self, what: str, response: requests.Response, signature: Signature) -> PromoterError:
        status = response.status_code
        message = f"{self.where(what)}: answered {status} {response.reason}{details(response)}"
        if status == 401 and signature.over:
            return ServiceError(f"{message}; its token's time was over when this was answered", status=status)
        if status in (401, 403):
            return AuthError(f"{message}; {self.auth.refusal(response, signature)}")
        if _FORGOTTEN & codes(response):
            return ServiceError(message, status=status)
        if status == 404:
            return NotFoundError(message)
        if says_later(status):
            return ServiceError(message, status=status)
        return AnswerError(message)
