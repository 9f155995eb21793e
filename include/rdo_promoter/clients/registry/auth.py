"""How a registry learns who asks: one object a registry, called for each request.

Basic auth for now; token auth is another `AuthBase` with the same place in `Transport`.
"""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from rdo_promoter.errors import ConfigError


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class BasicAuth(AuthBase):
    """Sends name and password to the registry itself and to nobody else.

    A registry may send an upload to another host (a ``Location``); that host gets no password.

    :param url: the registry's address.
    :param username: the login.
    :param password: its password.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self._origin = origin(url)
        self._header = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header when the request goes to the registry."""
        if origin(request.url or "") == self._origin:
            request.headers["Authorization"] = self._header
        return request


def make_auth(url: str, username: str | None, password: str | None, *, name: str) -> AuthBase | None:
    """Return what signs the requests, or None for a registry that is open.

    :param url: the registry's address.
    :param username: the login, or None.
    :param password: its password, or None.
    :param name: the registry's name, for the message.
    :raises ConfigError: when only one of login and password is there.
    """
    if not username and not password:
        return None
    if not username or not password:
        missing = "password" if username else "login"
        raise ConfigError(f"registry {name}: its Connection has no {missing}; set both login and password")
    return BasicAuth(url, username, password)


def refusal(challenge: str, username: str | None) -> str:
    """Return what a 401 means and what to do about it.

    :param challenge: the header ``WWW-Authenticate``.
    :param username: the login that was used, or None.
    """
    if challenge.lower().startswith("bearer"):
        return "it asks for a bearer token, and only open registries and basic auth are supported"
    if username is None:
        return "it wants credentials: set login and password in its Connection"
    return f"it refuses the login {username!r}: check login and password in its Connection"
