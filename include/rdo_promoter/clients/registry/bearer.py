"""The words of token authentication: challenges, scopes, and how long a token serves. Pure, no network.

A registry answers 401 and names in ``WWW-Authenticate`` a token server (the realm), itself (the service) and
what a token has to allow (the scope). Source: distribution specification, "Token Authentication".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdo_promoter.errors import AnswerError
from rdo_promoter.model.text import one_line

#: Seconds that a token serves when the token server does not say. Source: the specification's `expires_in`.
DEFAULT_LIFETIME = 60.0

#: Seconds before its end at which a token is given up at most, so that it does not end on the way.
MARGIN = 30.0

# Grammar of RFC 9110, sections 11.2 and 11.3.
_WORD = r"[!#$%&'*+.^_`|~\w-]+"
_PARAMETER = re.compile(rf"[\s,]*({_WORD})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]*))", re.ASCII)
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)", re.ASCII)
# What may stand in a header without being taken for its end.
_VALUE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Something that a token allows.

    :param kind: the kind of the resource, ``repository`` nearly always.
    :param name: the resource.
    :param actions: what may be done with it, sorted.
    """

    kind: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(self.actions)}"


#: What one token allows: sorted, each resource once.
Scopes = tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Challenge:
    """Where a registry wants a token from.

    :param realm: address of the token server.
    :param service: what the registry calls itself there.
    :param scopes: what the token has to allow.
    """

    realm: str
    service: str = ""
    scopes: Scopes = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """A token server's answer.

    :param token: the token.
    :param expires_in: seconds that it lasts, None when the server does not say.
    """

    token: str = field(repr=False)
    expires_in: float | None = None


class _Answer(BaseModel):
    # Without the input: it is a token.
    model_config = ConfigDict(hide_input_in_errors=True)

    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = Field(default=None, allow_inf_nan=False)


def merged(*groups: Iterable[Scope]) -> Scopes:
    """Return all scopes of all groups, sorted, each resource once."""
    actions: dict[tuple[str, str], set[str]] = {}
    for group in groups:
        for scope in group:
            actions.setdefault((scope.kind, scope.name), set()).update(scope.actions)
    return tuple(sorted(Scope(kind, name, tuple(sorted(found))) for (kind, name), found in actions.items()))


def spell_scopes(scopes: Scopes) -> str:
    """Return scopes as a challenge spells them, for a message."""
    return one_line(" ".join(map(str, scopes)), limit=300)


def parse_scopes(text: str) -> Scopes:
    """Return the scopes that a challenge names; what is none is left out.

    A name may hold colons (a host with a port before the repository), kind and actions may not.
    """
    found = []
    for word in text.split():
        kind, _, rest = word.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind and name:
            found.append(Scope(kind, name, tuple(filter(None, actions.split(",")))))
    return merged(found)


def needed(
    method: str, repository: str | None, *, writes: bool = False, mount_from: str | None = None
) -> Scopes:
    """Return what a token has to allow for a request.

    :param method: of the request.
    :param repository: that it is about, None for the registry as a whole.
    :param writes: the repository will be written to, so that one token serves for reading and writing.
    :param mount_from: the repository that a blob is taken over from.
    """
    if repository is None:
        return ()
    reads = method in ("GET", "HEAD") and not writes
    own = Scope("repository", repository, ("pull",) if reads else ("pull", "push"))
    return merged([own], [Scope("repository", mount_from, ("pull",))] if mount_from else [])


def parse_challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return the challenges of a ``WWW-Authenticate``: each scheme in lower case, with its parameters.

    A registry may offer several, and requests joins several headers with commas. What is no challenge any
    more ends the list.
    """
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(header):
        if found and (hit := _PARAMETER.match(header, at)):
            quoted, bare = hit[2], hit[3]
            value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1][1].setdefault(hit[1].lower(), value)
        elif hit := _SCHEME.match(header, at):
            found.append((hit[1].lower(), {}))
        else:
            break
        at = hit.end()
    return found


def find_bearer(header: str) -> Challenge | None:
    """Return the challenge to bring a token, None when there is none among the challenges."""
    for scheme, parameters in parse_challenges(header):
        if scheme == "bearer":
            return Challenge(
                parameters.get("realm", ""),
                parameters.get("service", ""),
                parse_scopes(parameters.get("scope", "")),
            )
    return None


def parse_grant(body: bytes, *, what: str) -> Grant:
    """Return the token in a token server's answer, which calls it ``token`` or, as OAuth 2, ``access_token``.

    :param what: the action with its subject, for messages.
    :raises AnswerError: when there is no usable token in it; without the answer, which may hold one.
    """
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError as error:
        problems = ", ".join(sorted({".".join(map(str, item["loc"])) or "JSON" for item in error.errors()}))
        raise AnswerError(f"{what}: its answer is not that of a token server (wrong: {problems})") from None
    token = answer.token or answer.access_token
    if not token:
        raise AnswerError(f"{what}: its answer holds no token")
    if not _VALUE.fullmatch(token):
        raise AnswerError(f"{what}: its answer holds a token with characters that no header may have")
    return Grant(token, answer.expires_in)


def usable_for(expires_in: float | None) -> float:
    """Return for how many seconds a token is used: until a little before its end.

    :param expires_in: seconds that it lasts, None when the token server did not say.
    """
    lifetime = DEFAULT_LIFETIME if expires_in is None else max(0.0, expires_in)
    return lifetime - min(MARGIN, lifetime / 10)


def is_realm(address: str) -> bool:
    """Tell whether an address can be a token server's: whole, and without a login in it."""
    try:
        parts = urlsplit(address)
        # Read for its ValueError alone.
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def may_log_in(registry: str, realm: str) -> bool:
    """Tell whether a login may be sent to a token server.

    Never in clear text, but where the registry itself is reached in clear text on that very host: a registry
    inside a closed network, which gets such a login from everybody.

    :param registry: the registry's address.
    :param realm: the token server's.
    """
    ours, theirs = urlsplit(registry), urlsplit(realm)
    if theirs.scheme == "https":
        return True
    return ours.scheme == theirs.scheme == "http" and ours.hostname == theirs.hostname
