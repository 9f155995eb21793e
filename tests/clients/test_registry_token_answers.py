"""Token servers and registries that misbehave, which no real ones can be made to: `FakeRegistry` is both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.certificates import server_certificate
from lab.faults import FaultProxy
from lab.images import build_image, push_image
from rdo_promoter.clients.registry import Descriptor, digest_of
from rdo_promoter.clients.registry.manifest import DOCKER_MANIFEST
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, PromoterError, ServiceError
from tests.clients.registry_fixtures import Answer, FakeRegistry, Fault, faulty

BUILD = "54480e7142f4ed0ea0bb1a8f3cbbd1e1fb4d4d3d_a6d9b2cf"
INDEX = Answer(
    200, b'{"schemaVersion": 2, "manifests": []}', {"Content-Type": "application/vnd.oci.image.index.v1+json"}
)
ACCESS = {"username": "robot", "password": "hidden-word"}
GRANT = Answer(200, b'{"token": "hidden-token", "expires_in": 300}')

Rule = Callable[[str, str, int], Fault]


def challenge(realm: str, scope: str) -> Answer:
    return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="{scope}"'})


@contextmanager
def fakes(
    token: Rule | Answer = GRANT,
    registry: Rule = lambda *_: INDEX,
    *,
    accepted: str = "hidden-token",
    realm: str = "{}/token",
    scope: str = "",
) -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    """Run a token server and a registry that wants a token of it.

    :param token: what the token server answers.
    :param registry: what the registry answers to a request with the token; a bare 401 asks for another one.
    :param accepted: the token.
    :param realm: how the registry names the token server, whose address comes for ``{}``.
    :param scope: what the registry asks for.
    """

    def guarded(method: str, path: str, before: int) -> Fault:
        wanted = challenge(realm.format(tokens.url), scope)
        if asked.requests[-1][2].get("Authorization") != f"Bearer {accepted}":
            return wanted
        answer = registry(method, path, before)
        return wanted if answer == Answer(401) else answer

    with (
        FakeRegistry(token if callable(token) else lambda *_: token) as tokens,
        FakeRegistry(guarded) as asked,
    ):
        yield tokens, asked


def shown(fake: FakeRegistry) -> list[str | None]:
    return [headers.get("Authorization", "").partition(" ")[0] or None for _, _, headers in fake.requests]


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}'), AuthError, "UNAUTHORIZED.*login 'robot'"),
        (Answer(403), AuthError, "refuses the login 'robot'"),
        (Answer(429, headers={"Retry-After": "0"}), ServiceError, "answered 429"),
        (Answer(503), ServiceError, "answered 503"),
        (Answer(500, b'{"token": "hidden-token"}'), ServiceError, "answered 500"),
        (Answer(404), AnswerError, "answered 404"),
        (Answer(400, b'{"errors": [{"code": "BAD", "message": "scope"}]}'), AnswerError, "BAD: scope"),
        (Answer(200, b"{}"), AnswerError, "its answer holds no token"),
        (Answer(200, b"hidden-token"), AnswerError, "not that of a token server"),
        (Answer(200, b'{"token": "hidden-token\\r\\nX: y"}'), AnswerError, "characters that no header may"),
        (
            Answer(302, headers={"Location": "https://other.example.org/x"}),
            AnswerError,
            "to other.example.org",
        ),
        (Answer(302), AnswerError, "answered 302"),
    ],
)
def test_what_a_token_server_may_answer(
    answer: Answer, kind: type[PromoterError], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with fakes(answer) as (tokens, fake), faulty(fake, **ACCESS) as registry:
        host = tokens.url.removeprefix("http://")
        begin = f"registry faulty .*: get a token for repository:team/a:pull from {host}: "
        with pytest.raises(kind, match=begin + f".*{message}") as failed:
            registry.head("team/a", "current")
        assert "hidden" not in str(failed.value) + caplog.text + repr(registry)
        assert len(tokens.requests) == (3 if kind is ServiceError else 1)


@pytest.mark.parametrize("trouble", [Answer(429, headers={"Retry-After": "0"}), Answer(503)])
def test_a_short_trouble_of_a_token_server_is_not_noticed(trouble: Answer) -> None:
    def first(method: str, path: str, before: int) -> Fault:
        return GRANT if before else trouble

    with fakes(first) as (tokens, fake), faulty(fake, **ACCESS) as registry:
        assert registry.head("team/a", "current") is not None
        assert len(tokens.requests) == 2


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_token_goes_by_two_names(key: str) -> None:
    with (
        fakes(Answer(200, b'{"%s": "hidden-token"}' % key.encode())) as (tokens, fake),
        faulty(fake) as registry,
    ):
        assert registry.get("team/a", "current").digest == digest_of(INDEX.body)
        assert shown(tokens) == [None]
        assert shown(fake) == [None, "Bearer"]


def test_the_login_is_for_the_token_server_once_the_registry_has_named_it() -> None:
    with fakes() as (tokens, fake), faulty(fake, **ACCESS) as registry:
        for _ in range(2):
            registry.head("team/a", "current")
        registry.head("team/b", "current")
        assert shown(fake) == ["Basic", *["Bearer"] * (len(fake.requests) - 1)]
        assert shown(tokens) == ["Basic"] * 2
        asked = [path for _, path, _ in tokens.requests]
        assert asked == [f"/token?service=s&scope=repository:team/{name}:pull" for name in "ab"]


@pytest.mark.parametrize("scope", ["repository:team/a:pull", "repository:team/a:delete,pull"])
def test_a_token_that_is_not_enough_is_fetched_once_more_when_it_may_be_old(scope: str) -> None:
    with fakes(accepted="another", scope=scope) as (tokens, fake), faulty(fake, **ACCESS) as registry:
        # The first is fresh, and refused all the same.
        for requests, fetched in ((2, 1), (4, 2)):
            with pytest.raises(AuthError, match=f"gave the login 'robot' does not allow {scope}: have it"):
                registry.head("team/a", "current")
            assert (len(fake.requests), len(tokens.requests)) == (requests, fetched)
        assert tokens.requests[0][1] == f"/token?service=s&scope={scope}", "what the registry asks for counts"


def test_a_token_that_was_fetched_for_the_request_is_not_fetched_again() -> None:
    with fakes(accepted="another") as (tokens, fake), faulty(fake, **ACCESS) as registry:
        for requests, name in ((2, "a"), (3, "b")):
            with pytest.raises(AuthError, match=f"does not allow repository:team/{name}:pull"):
                registry.head(f"team/{name}", "current")
            assert (len(fake.requests), len(tokens.requests)) == (requests, requests - 1)


@contextmanager
def late(names: tuple[str, ...]) -> Iterator[FakeRegistry]:
    """Run a registry that answers "later" once, until the token that lasts a second is over.

    :param names: what the token server gives, one after the other; ``short`` lasts a second.
    """
    told: list[str] = []

    def grant(method: str, path: str, before: int) -> Fault:
        name = names[len(tokens.requests) - 1]
        lasts = 1 if name == "short" else 300
        return Answer(200, f'{{"token": "{name}", "expires_in": {lasts}}}'.encode())

    def answer(method: str, path: str, before: int) -> Fault:
        shown = asked.requests[-1][2].get("Authorization")
        if shown == "Bearer good":
            return INDEX
        if shown == "Bearer short" and not told:
            told.append(path)
            return Answer(503, headers={"Retry-After": "1"})
        return challenge(f"{tokens.url}/token", "")

    with FakeRegistry(grant) as tokens, FakeRegistry(answer) as asked:
        yield asked
        assert len(tokens.requests) == len(names)


def test_a_token_that_ends_while_a_request_is_repeated_is_fetched_anew() -> None:
    with late(("good", "short", "good")) as asked, faulty(asked, **ACCESS) as registry:
        assert registry.head("team/a", "current") is not None
        assert registry.head("team/b", "current") is not None


def test_a_refusal_of_a_token_that_is_over_is_not_for_good() -> None:
    with (
        late(("short",)) as asked,
        faulty(asked, **ACCESS) as registry,
        pytest.raises(ServiceError, match="its token's time was over"),
    ):
        registry.head("team/a", "current")


def test_what_is_forbidden_with_a_token_is_not_tried_again() -> None:
    with (
        fakes(registry=lambda *_: Answer(403, b'{"errors": [{"code": "DENIED"}]}')) as (tokens, fake),
        faulty(fake, **ACCESS) as registry,
    ):
        for requests in (2, 3):
            with pytest.raises(AuthError, match=r"DENIED.* does not allow repository:team/a:pull: have it"):
                registry.get("team/a", "current")
            assert (len(fake.requests), len(tokens.requests)) == (requests, 1)


@pytest.mark.parametrize("refusals", [1, 2])
def test_a_stream_that_is_refused_is_sent_once_more_with_another_token(refusals: int) -> None:
    def registry(method: str, path: str, before: int) -> Fault:
        if method == "PUT":
            return Answer(401) if before < refusals else Answer(201)
        return Answer(202, headers={"Location": path + "1"}) if method == "POST" else Answer(404)

    blob = Descriptor(digest_of(b"content"), "application/octet-stream", 7)

    @contextmanager
    def opener(_: Descriptor) -> Iterator[Iterable[bytes]]:
        yield [b"content"]

    with fakes(registry=registry) as (tokens, fake), faulty(fake, **ACCESS) as client:
        if refusals == 1:
            assert client.blobs.upload("team/a", blob, opener) == 7
        else:
            with pytest.raises(
                AuthError, match=r"put blob team/a@sha256:.* does not allow repository:team/a"
            ):
                client.blobs.upload("team/a", blob, opener)
        assert fake.count("PUT", "/blobs/uploads/") == 2
        assert shown(fake)[0] == "Basic"
        # One for writing, one instead of it; of the second that is refused nothing can be hoped.
        assert len(tokens.requests) == 1 + refusals


@pytest.mark.parametrize("realm", ["http://localhost:1/token", "http://auth.example.org/token"])
def test_a_login_is_not_sent_in_clear_text_to_another_host(realm: str) -> None:
    with fakes(realm=realm) as (tokens, fake), faulty(fake, **ACCESS) as registry:
        with pytest.raises(
            ConfigError, match=f"its token server is {realm}, where .* in clear text"
        ) as refused:
            registry.head("team/a", "current")
        assert tokens.requests == []
        assert "hidden" not in str(refused.value)


def test_a_login_is_not_sent_in_clear_text_where_the_registry_speaks_tls(tmp_path: Path) -> None:
    ca = server_certificate(tmp_path)
    pair = (tmp_path / "server.crt", tmp_path / "server.key")
    with fakes() as (tokens, fake), FaultProxy(fake.url, tls=pair) as proxy:
        with faulty(proxy, verify=str(ca), **ACCESS) as registry:
            with pytest.raises(ConfigError, match="where login and password would be sent in clear text"):
                registry.head("team/a", "current")
            assert tokens.requests == []
        # An anonymous user has nothing to lose.
        with faulty(proxy, verify=str(ca)) as registry:
            assert registry.head("team/a", "current") is not None


@pytest.mark.parametrize("realm", ["/token", "", "https://me:secret@example.org/token", "file:///etc/passwd"])
def test_a_realm_that_is_no_address_is_refused(realm: str) -> None:
    with (
        fakes(realm=realm) as (_, fake),
        faulty(fake, **ACCESS) as registry,
        pytest.raises(AnswerError, match="names no usable token server"),
    ):
        registry.head("team/a", "current")


def test_login_and_token_go_to_no_third_host() -> None:
    """Neither where an upload goes nor where a blob is, and what those ask for is not done."""

    def elsewhere(method: str, path: str, before: int) -> Fault:
        if method == "HEAD":
            return Answer(404)
        return Answer(307 if method == "GET" else 202, headers={"Location": f"{other.url}/x?_state=x"})

    blob = Descriptor(digest_of(b"content"), "application/octet-stream", 7)
    image = build_image("cron", BUILD, kind=DOCKER_MANIFEST)
    with (
        FakeRegistry(lambda *_: GRANT) as thief,
        FakeRegistry(lambda *_: challenge(thief.url, "repository:team/a:pull")) as other,
        fakes(registry=elsewhere) as (_, fake),
        faulty(fake, **ACCESS) as registry,
    ):
        host = other.url.removeprefix("http://")
        with pytest.raises(
            AuthError, match=f"the answer of {host}, which the registry named and which gets no"
        ):
            push_image(registry, "team/a", BUILD, image)
        with pytest.raises(AuthError, match=f"the answer of {host}"), registry.blobs.open("team/a", blob):
            pass
        assert [method for method, _, _ in other.requests] == ["PUT", "GET"]
        assert shown(other) == [None, None]
        assert thief.requests == []
        assert registry.head("team/a", "current") is None, "the client knows its own token server still"


def test_an_anonymous_user_is_asked_for_nothing_until_a_repository_is_named() -> None:
    """quay.io has no token for somebody without a login who names no repository."""
    with fakes(Answer(401)) as (_, fake):
        with faulty(fake) as registry:
            registry.ping()
            with pytest.raises(AuthError, match="it wants a login: set login and password"):
                registry.head("team/a", "current")
        with faulty(fake, **ACCESS) as registry, pytest.raises(AuthError, match="refuses the login 'robot'"):
            registry.ping()
