"""Tokens for one registry: fetched from the server that the registry names, and kept while they last."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import urljoin, urlsplit

import requests

from rdo_promoter.clients.registry.bearer import (
    Challenge,
    Scopes,
    is_realm,
    may_log_in,
    parse_grant,
    spell_scopes,
    usable_for,
)
from rdo_promoter.clients.registry.wire import Credentials, details, exchange, says_later
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, PromoterError, ServiceError
from rdo_promoter.model.text import one_line

_Key = tuple[str, str, Scopes]


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    :param value: what is shown to the registry.
    :param until: when it is given up, on the clock of `time.monotonic`.
    """

    value: str = field(repr=False)
    until: float

    @property
    def over(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self.until


class Tokens:
    """The tokens of one registry, one for each set of scopes; may be used from several threads.

    :param url: the registry's address.
    :param name: its name in messages.
    :param username: login at the token server, None to ask without one.
    :param login: login and password, None to ask without them.
    :param session: to ask token servers with; it verifies them by the same CA as the registry.
    :param tries: how often one is asked when its answer is cut off.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        username: str | None,
        login: Credentials | None,
        session: requests.Session,
        tries: int,
    ) -> None:
        self._url = url
        self._name = name
        self._username = username
        self._login = login
        self._session = session
        self._tries = tries
        self._kept: dict[_Key, Future[Token]] = {}
        self._lock = Lock()

    def get(self, challenge: Challenge, scopes: Scopes, *, stale: Token | None = None) -> tuple[Token, bool]:
        """Return a token, and whether it was fetched for this call.

        Threads that ask for the same at a time get the same token, or the same error.

        :param challenge: names the token server.
        :param scopes: what the token has to allow.
        :param stale: a token that the registry refused; another one is fetched unless that was done already.
        :raises AuthError: when the token server refuses the login.
        :raises ServiceError: when it does not answer, or says "later".
        :raises ConfigError: when the login would travel in clear text, or a certificate cannot be verified.
        :raises AnswerError: when its answer has no token.
        """
        key = (challenge.realm, challenge.service, scopes)
        with self._lock:
            kept = self._kept.get(key)
            mine = kept is None or _outworn(kept, stale)
            if kept is None or mine:
                kept = self._kept[key] = Future()
        fresh = mine or not kept.done()
        if mine:
            try:
                kept.set_result(self._fetch(challenge, scopes))
            except BaseException as error:
                kept.set_exception(error)
                raise
        return kept.result(), fresh

    def _fetch(self, challenge: Challenge, scopes: Scopes) -> Token:
        where = f"registry {self._name} ({self._url})"
        if not is_realm(challenge.realm):
            raise AnswerError(
                f"{where}: it asks for a bearer token and names no usable token server, "
                f"but the realm {challenge.realm[:80]!r}"
            )
        host = urlsplit(challenge.realm).netloc
        if self._login is not None and not may_log_in(self._url, challenge.realm):
            realm = one_line(challenge.realm.partition("?")[0], limit=200)
            raise ConfigError(
                f"{where}: its token server is {realm}, where login and password would be sent in clear "
                "text. Have the registry name an https address (its `realm`), or, where reading needs no "
                "login, leave both empty in the Connection"
            )
        where += f": get a token for {spell_scopes(scopes) or 'the login'} from {host}"
        asked = [("service", challenge.service)] if challenge.service else []
        begun = time.monotonic()
        response = exchange(
            self._session,
            "GET",
            challenge.realm,
            where=where,
            tries=self._tries,
            params=[*asked, *(("scope", str(scope)) for scope in scopes)],
            auth=self._login,
            # The login is for the server that the registry named and for no other.
            allow_redirects=False,
        )
        with response:
            if response.status_code != 200:
                raise self._refused(where, response)
            grant = parse_grant(response.content, what=where)
        return Token(grant.token, begun + usable_for(grant.expires_in))

    def _refused(self, where: str, response: requests.Response) -> PromoterError:
        status = response.status_code
        message = f"{where}: answered {status} {response.reason}{details(response)}"
        if status in (401, 403):
            if self._username is None:
                return AuthError(f"{message}; it wants a login: set login and password in the Connection")
            remedy = "check login and password in the Connection"
            return AuthError(f"{message}; it refuses the login {self._username!r}: {remedy}")
        if says_later(status):
            return ServiceError(message, status=status)
        if response.is_redirect:
            host = urlsplit(urljoin(response.url, response.headers["Location"])).netloc
            return AnswerError(f"{message}; it sends on to {host}, where no login is brought to")
        return AnswerError(message)


def _outworn(kept: Future[Token], stale: Token | None) -> bool:
    """Tell whether another token has to be fetched; one that is on its way will do."""
    if not kept.done():
        return False
    if kept.exception() is not None:
        return True
    token = kept.result()
    return token is stale or token.over
