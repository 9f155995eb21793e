"""What token authentication says on the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients.registry.bearer import (
    DEFAULT_LIFETIME,
    MARGIN,
    Challenge,
    Scope,
    find_bearer,
    is_realm,
    may_log_in,
    merged,
    needed,
    parse_challenges,
    parse_grant,
    parse_scopes,
    spell_scopes,
    usable_for,
)
from rdo_promoter.clients.registry.tokens import Token
from rdo_promoter.clients.registry.wire import Credentials
from rdo_promoter.errors import AnswerError

#: As the services answer, docker.io's and quay.io's with another repository.
DOCKER_IO = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:tripleomaster/cron:pull,push",error="insufficient_scope"'
)
QUAY_IO = 'Bearer realm="https://quay.io/v2/auth",service="quay.io"'
CRON = Scope("repository", "tripleomaster/cron", ("pull", "push"))

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._", min_size=1, max_size=8)
scopes = st.builds(
    Scope,
    words,
    st.lists(words, min_size=1, max_size=3).map("/".join) | st.just("example.org:5000/team/a"),
    st.lists(words, min_size=1, max_size=3, unique=True).map(lambda found: tuple(sorted(found))),
)
# Everything that a quoted value of a header may hold.
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
challenges = st.tuples(words, st.dictionaries(words, values, max_size=3))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (DOCKER_IO, Challenge("https://auth.docker.io/token", "registry.docker.io", (CRON,))),
        (QUAY_IO, Challenge("https://quay.io/v2/auth", "quay.io")),
        ('bearer REALM="https://a/t"', Challenge("https://a/t")),
        ('Bearer  realm = "https://a/t" , service=s', Challenge("https://a/t", "s")),
        ('Basic realm="Artifactory", Bearer realm="https://a/t",service="s"', Challenge("https://a/t", "s")),
        ('Bearer realm="https://a/t", Basic realm="b"', Challenge("https://a/t")),
        ("Negotiate YWJj==, Bearer realm=https://a/t", Challenge("https://a/t")),
        (r'Bearer realm="https://a/t",service="a \"b\", c\\"', Challenge("https://a/t", 'a "b", c\\')),
        ("Bearer", Challenge("")),
        ('Basic realm="Bearer realm=https://a/t"', None),
        ("Basic", None),
        ("", None),
        ('"', None),
        ('=Bearer realm="https://a/t"', None),
    ],
)
def test_a_challenge_to_bring_a_token(header: str, expected: Challenge | None) -> None:
    assert find_bearer(header) == expected


@given(st.lists(challenges, max_size=3))
def test_challenges_are_read_as_they_were_written(written: list[tuple[str, dict[str, str]]]) -> None:
    def spelled(key: str, value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{key}="{escaped}"'

    header = ", ".join(
        f"{scheme} {', '.join(spelled(*pair) for pair in parameters.items())}".strip()
        for scheme, parameters in written
    )
    assert parse_challenges(header) == written


@given(st.text(max_size=60))
def test_no_header_is_too_bad_to_be_read(header: str) -> None:
    find_bearer(header)
    find_bearer(f"Bearer {header}")


@given(st.lists(scopes, max_size=4))
def test_scopes_are_read_as_they_were_written(found: list[Scope]) -> None:
    assert parse_scopes(" ".join(map(str, found))) == merged(found)
    assert spell_scopes(merged(found)) == " ".join(map(str, merged(found)))


@given(st.lists(scopes, max_size=4), st.lists(scopes, max_size=4))
def test_scopes_are_the_same_in_any_order(one: list[Scope], other: list[Scope]) -> None:
    both = merged(one, other)
    assert both == merged(reversed(other), reversed(one)) == merged(both, one)
    assert len({(scope.kind, scope.name) for scope in both}) == len(both)
    assert {(s.kind, s.name, a) for s in both for a in s.actions} == {
        (s.kind, s.name, a) for s in (*one, *other) for a in s.actions
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:team/a:push,pull", "repository:team/a:pull,push"),
        ("repository:a:pull repository:b:pull", "repository:a:pull repository:b:pull"),
        ("repository:b:pull repository:a:pull repository:b:push", "repository:a:pull repository:b:pull,push"),
        ("repository:example.org:5000/a:pull", "repository:example.org:5000/a:pull"),
        ("registry:catalog:*", "registry:catalog:*"),
        ("nonsense", ""),
        (":", ""),
        ("", ""),
    ],
)
def test_scopes(text: str, expected: str) -> None:
    assert spell_scopes(parse_scopes(text)) == expected


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("HEAD", {}, "repository:t/a:pull"),
        ("GET", {}, "repository:t/a:pull"),
        ("GET", {"writes": True}, "repository:t/a:pull,push"),
        ("PUT", {}, "repository:t/a:pull,push"),
        ("POST", {}, "repository:t/a:pull,push"),
        ("DELETE", {}, "repository:t/a:pull,push"),
        ("POST", {"mount_from": "t/b"}, "repository:t/a:pull,push repository:t/b:pull"),
        ("POST", {"mount_from": "s/b"}, "repository:s/b:pull repository:t/a:pull,push"),
        ("POST", {"mount_from": "t/a"}, "repository:t/a:pull,push"),
    ],
)
def test_what_a_request_needs(method: str, options: dict[str, object], expected: str) -> None:
    assert spell_scopes(needed(method, "t/a", **options)) == expected  # type: ignore[arg-type]


def test_the_registry_as_a_whole_needs_no_scope() -> None:
    assert needed("GET", None) == ()


@pytest.mark.parametrize(
    ("answer", "token", "expires_in"),
    [
        ({"token": "t1"}, "t1", None),
        ({"access_token": "t2", "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z"}, "t2", 300.0),
        ({"token": "t1", "access_token": "t1", "expires_in": "60"}, "t1", 60.0),
        ({"token": "", "access_token": "t2"}, "t2", None),
        ({"token": None, "access_token": "t2", "expires_in": None}, "t2", None),
    ],
)
def test_a_token_servers_answer(answer: dict[str, object], token: str, expires_in: float | None) -> None:
    grant = parse_grant(json.dumps(answer).encode(), what="x")
    assert (grant.token, grant.expires_in) == (token, expires_in)
    assert token not in repr(grant)


@pytest.mark.parametrize("secret", [Credentials("Bearer hidden-word"), Token("hidden-word", 1.0)])
def test_nothing_shows_a_token(secret: object) -> None:
    assert "hidden" not in f"{secret!r} {secret} {[secret]}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "its answer holds no token"),
        (b'{"token": "", "refresh_token": "hidden-word"}', "its answer holds no token"),
        (b'{"token": ["hidden-word"]}', r"not that of a token server \(wrong: token\)"),
        (b'{"token": "hidden-word", "expires_in": "soon"}', r"\(wrong: expires_in\)"),
        (b'{"token": "hidden-word", "expires_in": Infinity}', r"\(wrong: expires_in\)"),
        (b"<html>hidden-word</html>", r"\(wrong: JSON\)"),
        (b'["hidden-word"]', r"\(wrong: JSON\)"),
        (b'{"token": "hidden-word\\r\\nX: y"}', "characters that no header may have"),
        (b'{"token": "hidden word"}', "characters that no header may have"),
        ('{"token": "hidden-wörd"}'.encode(), "characters that no header may have"),
    ],
)
def test_an_answer_without_a_usable_token_is_refused_and_not_shown(body: bytes, message: str) -> None:
    with pytest.raises(AnswerError, match=f"get a token from x: .*{message}") as refused:
        parse_grant(body, what="get a token from x")
    assert "hidden" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("expires_in", "seconds"), [(None, 54), (60, 54), (300, 270), (3600, 3570), (10, 9), (0, 0), (-5, 0)]
)
def test_how_long_a_token_is_used(expires_in: float | None, seconds: float) -> None:
    assert usable_for(expires_in) == pytest.approx(seconds)


@given(st.floats(0, 10**6))
def test_a_token_is_given_up_before_its_end(expires_in: float) -> None:
    assert max(0.0, expires_in - MARGIN) <= usable_for(expires_in) <= expires_in
    assert usable_for(None) == usable_for(DEFAULT_LIFETIME)


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://auth.docker.io/token", True),
        ("http://127.0.0.1:5001/auth?x=y", True),
        ("/token", False),
        ("", False),
        ("https://", False),
        ("ftp://example.org/", False),
        ("https://me:secret@example.org/token", False),
        ("https://example.org:port/", False),
        ("https://[::1/", False),
    ],
)
def test_addresses_of_token_servers(address: str, good: bool) -> None:
    assert is_realm(address) is good


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://quay.io", "https://quay.io/v2/auth", True),
        ("http://registry.cloud:5000", "https://auth.example.org/token", True),
        ("http://registry.cloud:5000", "http://registry.cloud:5001/token", True),
        ("http://registry.cloud", "http://REGISTRY.cloud/token", True),
        ("http://registry.cloud", "http://auth.cloud/token", False),
        ("https://registry.cloud", "http://registry.cloud/token", False),
        ("https://registry.cloud", "http://auth.cloud/token", False),
    ],
)
def test_a_login_never_travels_in_clear_text_where_the_registrys_own_does_not(
    registry: str, realm: str, allowed: bool
) -> None:
    assert may_log_in(registry, realm) is allowed
