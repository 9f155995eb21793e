"""How a registry learns who asks: nothing, basic authentication, or bearer tokens.

Which of them is the registry's to say: it gets the login, if there is one, until it answers with a
challenge to bring a token. From then on each request brings one that allows it, fetched before the request
is sent.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from rdo_promoter.clients.registry.bearer import (
    Challenge,
    Scopes,
    find_bearer,
    merged,
    needed,
    spell_scopes,
)
from rdo_promoter.clients.registry.tokens import Token, Tokens
from rdo_promoter.clients.registry.wire import Credentials
from rdo_promoter.errors import ConfigError


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@dataclass(frozen=True, slots=True)
class Signature:
    """What one request shows of who asks.

    :param shown: login and password or a token, None for a request that shows nothing.
    :param scopes: what a token has to allow for the request.
    :param token: the token, when one is shown.
    :param fresh: the token was fetched for this very request.
    """

    shown: Credentials | None
    scopes: Scopes
    token: Token | None = None
    fresh: bool = False

    @property
    def over(self) -> bool:
        """Whether the token's time is over: a request may have been repeated for minutes."""
        return self.token is not None and self.token.over


class Auth:
    """Who asks one registry; may be used from several threads.

    Password and tokens go to the registry itself (the same scheme, host and port), the password to its token
    server as well, and neither to anybody else: an upload or a redirect may lead to another host.

    :param url: the registry's address.
    :param name: its name in messages.
    :param username: the login, or None.
    :param password: its password, or None.
    :param session: to ask token servers with.
    :param tries: how often one is asked when its answer is cut off.
    :raises ConfigError: when only one of login and password is there.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        username: str | None,
        password: str | None,
        session: requests.Session,
        tries: int,
    ) -> None:
        if bool(username) != bool(password):
            missing = "password" if username else "login"
            raise ConfigError(
                f"registry {name}: its Connection has no {missing}; set both login and password"
            )
        self._origin = origin(url)
        self._username = username or None
        login = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._basic = Credentials(f"Basic {login}") if username else None
        self._challenge: Challenge | None = None
        self._written: set[str] = set()
        self._tokens = Tokens(
            url, name=name, username=self._username, login=self._basic, session=session, tries=tries
        )

    @property
    def anonymous(self) -> bool:
        """Whether there is no login."""
        return self._basic is None

    @property
    def wants_tokens(self) -> bool:
        """Whether the registry has asked for a token."""
        return self._challenge is not None

    def will_write(self, repositories: Iterable[str]) -> None:
        """Ask for reading and writing at once from now on, so that these repositories need one token each."""
        self._written.update(repositories)

    def sign(
        self, method: str, url: str, repository: str | None, *, mount_from: str | None = None
    ) -> Signature:
        """Return what a request has to show; fetches a token when there is none that lasts.

        :param repository: that the request is about, None for the registry as a whole.
        :param mount_from: the repository that a blob is taken over from.
        """
        if repository is not None and method not in ("GET", "HEAD"):
            self._written.add(repository)
        writes = repository in self._written
        scopes = needed(method, repository, writes=writes, mount_from=mount_from)
        if origin(url) != self._origin:
            return Signature(None, scopes)
        if self._challenge is None:
            return Signature(self._basic, scopes)
        return _bearer(scopes, self._tokens.get(self._challenge, scopes))

    def renew(self, response: requests.Response, used: Signature) -> Signature | None:
        """Return what to show instead after a 401, or None when nothing else could be accepted.

        :param used: what the refused request had shown.
        """
        if origin(response.url) != self._origin:
            return None
        challenge = find_bearer(response.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return None
        # What the registry asks for counts, should it be more than what was foreseen.
        scopes = merged(used.scopes, challenge.scopes)
        if used.fresh and not used.over and scopes == used.scopes:
            return None
        self._challenge = challenge
        return _bearer(scopes, self._tokens.get(challenge, scopes, stale=used.token))

    def refusal(self, response: requests.Response, used: Signature) -> str:
        """Return what a 401 or 403 means and what to do about it.

        :param used: what the refused request had shown.
        """
        if origin(response.url) != self._origin:
            host = urlsplit(response.url).netloc
            return f"this is the answer of {host}, which the registry named and which gets no login"
        who = f"the login {self._username!r}" if self._username else "an anonymous user"
        challenge = find_bearer(response.headers.get("WWW-Authenticate", ""))
        if used.token is not None and self._challenge is not None:
            host = urlsplit(self._challenge.realm).netloc
            scopes = spell_scopes((challenge.scopes if challenge else ()) or used.scopes)
            remedy = (
                "have it permitted there" if self._username else "set login and password in its Connection"
            )
            return (
                f"the token that {host} gave {who} does not allow {scopes or 'this'}: {remedy}. Some "
                "registries say the same of a repository that does not exist"
            )
        if response.status_code == 403:
            return f"{who} may not do this: have it permitted there"
        if self._username is None:
            return "it wants credentials: set login and password in its Connection"
        return f"it refuses the login {self._username!r}: check login and password in its Connection"


def _bearer(scopes: Scopes, found: tuple[Token, bool]) -> Signature:
    token, fresh = found
    return Signature(Credentials(f"Bearer {token.value}"), scopes, token, fresh)
