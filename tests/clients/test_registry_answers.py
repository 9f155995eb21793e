"""Answers that no real registry can be made to give: a `FakeRegistry` gives them by itself."""

from __future__ import annotations

import json

import pytest

from lab.images import build_image, push_image
from rdo_promoter.clients.registry import digest_of
from rdo_promoter.clients.registry.manifest import DOCKER_MANIFEST
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, DigestMismatchError, NotFoundError
from tests.clients.registry_fixtures import Answer, FakeRegistry, Fault, faulty

BUILD = "54480e7142f4ed0ea0bb1a8f3cbbd1e1fb4d4d3d_a6d9b2cf"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def answering(**headers: str) -> FakeRegistry:
    """Return a fake that has one OCI index under each name."""
    body = b'{"schemaVersion": 2, "manifests": []}'
    kept = {"Content-Type": "application/vnd.oci.image.index.v1+json", **headers}
    return FakeRegistry(lambda *_: Answer(201 if _[0] == "PUT" else 200, body, kept))


@pytest.mark.parametrize("content_type", [SCHEMA1, SCHEMA1.replace("prettyjws", "json"), DOCKER_MANIFEST])
def test_schema1_is_refused(content_type: str) -> None:
    body = json.dumps({"schemaVersion": 1, "name": "team/old", "fsLayers": []}).encode()
    headers = {"Content-Type": content_type, "Docker-Content-Digest": digest_of(body)}
    with FakeRegistry(lambda *_: Answer(200, body, headers)) as fake, faulty(fake) as registry:
        with pytest.raises(
            AnswerError, match=r"registry faulty .*get team/old:current: it is a schema1 manifest"
        ):
            registry.get("team/old", "current")
        if content_type != DOCKER_MANIFEST:
            with pytest.raises(AnswerError, match="schema1"):
                registry.head("team/old", "current")


@pytest.mark.parametrize("named", [True, False])
def test_a_tag_is_moved_away_from_whatever_it_names(named: bool) -> None:
    """From an unknown format, too, whether or not the registry names its digest."""
    other, wanted, tagged = b'{"format": "of 2030"}', build_image("cron", BUILD).manifest, [False]

    def registry_of_tomorrow(method: str, path: str, before: int) -> Fault:
        tagged[0] |= method == "PUT"
        body, media_type = other, "application/vnd.example.2030+json"
        if tagged[0] or not path.endswith("current"):
            body, media_type = wanted.body, wanted.media_type
        digest = {"Docker-Content-Digest": digest_of(body)} if named else {}
        return Answer(201 if method == "PUT" else 200, body, {"Content-Type": media_type, **digest})

    with FakeRegistry(registry_of_tomorrow) as fake, faulty(fake) as registry:
        with pytest.raises(AnswerError, match=r"it is of media type 'application/vnd\.example\.2030"):
            registry.head("team/a", "current")
        found = registry.head("team/a", "current", any_type=True)
        assert found is not None
        assert found.digest == digest_of(other)
        assert registry.tag("team/a", wanted.digest, "current")
        assert not registry.tag("team/a", wanted.digest, "current")


def test_bytes_of_another_digest_are_refused() -> None:
    asked = digest_of(b"asked for")
    with answering() as fake, faulty(fake) as registry:
        with pytest.raises(DigestMismatchError) as refused:
            registry.get("team/a", asked)
        assert refused.value.expected == asked
    with answering(**{"Docker-Content-Digest": asked}) as fake, faulty(fake) as registry:
        with pytest.raises(DigestMismatchError):
            registry.get("team/a", "current")
        with pytest.raises(DigestMismatchError):
            registry.head("team/a", digest_of(b"another"))
        with pytest.raises(DigestMismatchError):
            registry.put("team/a", "current", build_image("cron", BUILD).manifest)


def test_a_tag_that_did_not_stay_is_noticed() -> None:
    def forgets(method: str, path: str, before: int) -> Fault:
        return Answer(201 if method == "PUT" else 404)

    manifest = build_image("cron", BUILD).manifest
    with (
        FakeRegistry(forgets) as fake,
        faulty(fake) as registry,
        pytest.raises(DigestMismatchError, match=f"team/a:current is missing, expected {manifest.digest}"),
    ):
        registry.put("team/a", "current", manifest)


def test_a_digest_is_computed_where_the_registry_names_none() -> None:
    body = b'{"schemaVersion": 2, "manifests": []}'
    with answering() as fake, faulty(fake) as registry:
        found = registry.head("team/a", "current")
    assert found is not None
    assert (found.digest, found.size) == (digest_of(body), len(body))


def test_forbidden_is_an_auth_error_in_the_registrys_words() -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "requested access is denied"}]}'
    options = {"username": "robot", "password": "hidden-word"}
    with (
        FakeRegistry(lambda *_: Answer(403, body)) as fake,
        faulty(fake, **options) as registry,
        pytest.raises(AuthError, match=r"DENIED: requested access is denied.*'robot' may not") as refused,
    ):
        registry.get("team/a", "current")
    assert "hidden-word" not in str(refused.value)


def test_an_immutable_tag_is_for_good() -> None:
    def immutable(method: str, path: str, before: int) -> Fault:
        return Answer(409, b'{"errors": [{"code": "TAG_IMMUTABLE"}]}')

    with FakeRegistry(immutable) as fake, faulty(fake) as registry:
        with pytest.raises(AnswerError, match=r"put team/a:current: answered 409 .*TAG_IMMUTABLE"):
            registry.put("team/a", "current", build_image("cron", BUILD).manifest)
        assert len(fake.requests) == 1


def test_the_password_goes_to_nobody_but_the_registry() -> None:
    def elsewhere(method: str, path: str, before: int) -> Fault:
        if method == "HEAD":
            return Answer(404)
        return Answer(202, headers={"Location": f"{other.url}/upload/1?_state=x"})

    blob = build_image("cron", BUILD, kind=DOCKER_MANIFEST)
    options = {"username": "robot", "password": "hidden-word"}
    with (
        FakeRegistry(lambda *_: Answer(201)) as other,
        FakeRegistry(elsewhere) as fake,
        faulty(fake, **options) as registry,
        pytest.raises(AnswerError),  # the fake takes no manifest
    ):
        push_image(registry, "team/cron", BUILD, blob)
    assert fake.requests
    assert all("Authorization" in headers for _, _, headers in fake.requests)
    assert [method for method, _, _ in other.requests] == ["PUT"] * 4
    assert not any("Authorization" in headers for _, _, headers in other.requests)


def test_cookies_are_not_kept() -> None:
    with answering(**{"Set-Cookie": "session=1; Path=/"}) as fake, faulty(fake) as registry:
        registry.head("team/a", "current")
        registry.head("team/a", "current")
    assert len(fake.requests) == 4
    assert not any("Cookie" in headers for _, _, headers in fake.requests)


def test_tags_on_several_pages() -> None:
    def page(method: str, path: str, before: int) -> Fault:
        if "last=b" in path:
            return Answer(200, b'{"name": "team/a", "tags": ["c"]}')
        link = {"Link": '</v2/team/a/tags/list?n=2&last=b>; rel="next"'}
        return Answer(200, b'{"name": "team/a", "tags": ["a", "b"]}', link)

    with FakeRegistry(page) as fake, faulty(fake) as registry:
        assert registry.tags("team/a") == ["a", "b", "c"]


@pytest.mark.parametrize(("body", "expected"), [(b'{"name": "x", "tags": null}', []), (b'{"tags": []}', [])])
def test_a_repository_without_tags(body: bytes, expected: list[str]) -> None:
    with FakeRegistry(lambda *_: Answer(200, body)) as fake, faulty(fake) as registry:
        assert registry.tags("team/a") == expected


@pytest.mark.parametrize(("repository", "reference"), [("../x", "current"), ("a/b", "a/../b"), ("A", "c")])
def test_names_that_would_change_the_address_are_not_sent(repository: str, reference: str) -> None:
    with answering() as fake, faulty(fake) as registry:
        for action in (registry.head, registry.get):
            with pytest.raises(ConfigError):
                action(repository, reference)
        assert fake.requests == []


def test_a_place_that_is_no_registry() -> None:
    with (
        FakeRegistry(lambda *_: Answer(404, b"<html>")) as fake,
        faulty(fake) as registry,
        pytest.raises(NotFoundError, match="ask for the API version: answered 404"),
    ):
        registry.ping()
