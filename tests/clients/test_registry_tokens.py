"""A registry that asks for bearer tokens, with the token server that it names: both are real."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import requests

from lab.images import build_image, push_build, push_image
from lab.registries import LabRegistries, LabRegistry
from lab.service import wait_for
from lab.tokens import SERVICE, Settings, TokenServer
from rdo_promoter.clients.registry import CopyItem, Registry, copy, digest_of, heads, run_all, tag_all
from rdo_promoter.clients.registry.manifest import DOCKER_MANIFEST
from rdo_promoter.errors import AuthError, ConfigError, ServiceError
from tests.clients.registry_fixtures import (
    Answer,
    FakeRegistry,
    Fault,
    Seen,
    faulty,
    new_namespace,
    running_registries,
    seen,
)

BUILD = "54480e7142f4ed0ea0bb1a8f3cbbd1e1fb4d4d3d_a6d9b2cf"

#: A signed token begins so: with `{"` in base64.
TOKEN = "eyJ"


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRegistries]:
    with running_registries(tmp_path_factory.mktemp("registries")) as running:
        yield running


@pytest.fixture
def quay(registries: LabRegistries) -> LabRegistry:
    return registries.quay


@pytest.fixture
def issuer(quay: LabRegistry) -> Iterator[TokenServer]:
    assert quay.issuer is not None
    yield quay.issuer
    quay.issuer.configure(Settings())


@pytest.fixture
def client(quay: LabRegistry) -> Iterator[Registry]:
    with quay.client(backoff=0.01) as registry:
        yield registry


@pytest.fixture
def namespace() -> str:
    return new_namespace()


def pushed(registries: LabRegistries, namespace: str, names: list[str]) -> list[CopyItem]:
    """Push images to the open registry; returns how they are to be copied."""
    with registries.rdo.client() as source:
        digests = push_build(source, namespace, names, BUILD)
    return [
        CopyItem(f"{namespace}/{name}", f"{namespace}/{name}", digest, BUILD)
        for name, digest in digests.items()
    ]


def refused(registry: LabRegistry, namespace: str) -> list[Seen]:
    """Return the writes that the registry refused for their token, from its access log."""
    with registry.client() as client:
        marker = new_namespace()
        client.head(f"{namespace}/marker", marker)
    wait_for(lambda: any(marker in one.path for one in seen(registry, namespace)), "the log has the marker")
    return [one for one in seen(registry, namespace) if one.writes and one.status == 401]


def asked(issuer: TokenServer, namespace: str) -> Counter[tuple[str, ...]]:
    return Counter(one.asked for one in issuer.issued(namespace))


def test_what_was_pushed_is_there_for_others(quay: LabRegistry, client: Registry, namespace: str) -> None:
    digests = push_build(client, namespace, ["nova-api", "cron", "mariadb"], BUILD)
    for name, digest in digests.items():
        assert digest_of(quay.inspect_raw(f"{namespace}/{name}", BUILD)) == digest


def test_a_copy_needs_a_token_a_repository_and_one_a_mount(
    registries: LabRegistries, quay: LabRegistry, issuer: TokenServer, namespace: str
) -> None:
    items = pushed(registries, namespace, [f"c{number}" for number in range(12)])
    with registries.rdo.client() as source, quay.client(pool=16) as target:
        report = copy(source, target, items)
    assert (len(report.copied), report.blobs_mounted > 0) == (12, True)
    for item in items[:3]:
        assert digest_of(quay.inspect_raw(item.target_repository, BUILD)) == item.digest
    tokens = asked(issuer, namespace)
    own = {(f"repository:{item.target_repository}:pull,push",) for item in items}
    mounts = {scopes for scopes in tokens if len(scopes) == 2}
    # skopeo's own, for three of them.
    skopeos = {(f"repository:{item.target_repository}:pull",) for item in items[:3]}
    assert set(tokens) == own | mounts | skopeos
    assert set(tokens.values()) == {1}, "no token was fetched twice"
    for scopes in mounts:
        assert sorted(scope.rpartition(":")[2] for scope in scopes) == ["pull", "pull,push"]
    assert all(one.granted == one.asked for one in issuer.issued(namespace))
    assert refused(quay, namespace) == []


def test_many_threads_fetch_one_token_a_scope(
    quay: LabRegistry, issuer: TokenServer, client: Registry, namespace: str
) -> None:
    digests = push_build(client, namespace, [f"c{number}" for number in range(24)], BUILD)
    repositories = {f"{namespace}/{name}": digest for name, digest in digests.items()}
    before = asked(issuer, namespace)

    def new() -> dict[str, int]:
        return {" ".join(scopes): count for scopes, count in (asked(issuer, namespace) - before).items()}

    with quay.client(pool=16) as registry:
        for _ in range(3):
            heads(registry, repositories, BUILD)
        reading = {f"repository:{name}:pull": 1 for name in repositories}
        assert new() == reading
        assert tag_all(registry, repositories, "current") == dict.fromkeys(repositories, True)
        both = reading | {f"repository:{name}:pull,push": 1 for name in repositories}
        assert new() == both
        # Who may write may read: no third token.
        assert tag_all(registry, repositories, "current") == dict.fromkeys(repositories, False)
        found = heads(registry, repositories, "current")
        assert new() == both
    assert {name: each and each.digest for name, each in found.items()} == repositories
    with quay.client(pool=16) as registry:
        tag_all(registry, repositories, "next")
    assert new() == both | {f"repository:{name}:pull,push": 2 for name in repositories}, "one a repository"


def test_many_threads_that_ask_the_same_fetch_one_token(
    quay: LabRegistry, issuer: TokenServer, namespace: str
) -> None:
    repository = f"{namespace}/cron"
    with quay.client(pool=16) as registry:
        assert run_all(lambda _: registry.head(repository, BUILD), range(64), threads=16) == [None] * 64
    assert asked(issuer, namespace) == {(f"repository:{repository}:pull",): 1}


def test_looking_asks_for_no_more_than_reading(
    quay: LabRegistry, issuer: TokenServer, client: Registry, namespace: str
) -> None:
    """quay.io makes a repository that does not exist when somebody asks for a token to push to it."""
    assert heads(client, [f"{namespace}/never-made"], BUILD) == {f"{namespace}/never-made": None}
    assert asked(issuer, namespace) == {(f"repository:{namespace}/never-made:pull",): 1}


def test_a_blob_is_mounted_from_another_repository(
    issuer: TokenServer, client: Registry, namespace: str
) -> None:
    image = build_image("cron", BUILD, kind=DOCKER_MANIFEST)
    push_image(client, f"{namespace}/from", BUILD, image)
    layer = image.manifest.blobs[1].digest
    assert client.blobs.mount(f"{namespace}/to", layer, source=f"{namespace}/from") is None
    assert client.blobs.exists(f"{namespace}/to", layer)
    both = (f"repository:{namespace}/from:pull", f"repository:{namespace}/to:pull,push")
    assert asked(issuer, namespace)[both] == 1


def test_an_upload_that_may_not_be_cancelled_is_left(client: Registry, namespace: str) -> None:
    """Distribution wants a right to delete for that, which nobody gives a promoter."""
    location = client.blobs.mount(f"{namespace}/to", digest_of(b"nowhere"), source=f"{namespace}/from")
    assert location is not None
    client.blobs.cancel(f"{namespace}/to", location)


def token_for(quay: LabRegistry, issuer: TokenServer, scope: str) -> str:
    assert quay.username
    assert quay.password
    answer = requests.get(
        issuer.realm,
        params={"service": SERVICE, "scope": scope},
        auth=(quay.username, quay.password),
        verify=str(quay.ca),
        timeout=10,
    )
    token: str = answer.json()["token"]
    assert token.startswith(TOKEN)
    return token


def test_tokens_that_end_in_the_middle_are_fetched_anew_once(
    registries: LabRegistries,
    quay: LabRegistry,
    issuer: TokenServer,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They last some seconds, and their answer says minutes: the registry is the first to know.

    The copy stands still at its first blob until they are over. So the upload of that blob is refused in
    the middle of its stream, and many threads that read meet the end at once.
    """
    caplog.set_level(logging.DEBUG)
    (item,) = pushed(registries, namespace, ["cron"])
    other = f"{namespace}/other"
    scope = f"repository:{item.target_repository}:pull,push"
    # Distribution takes a token for 60 s beyond its end: four seconds are left.
    issuer.configure(Settings(valid=-56))
    reader = quay.client(pool=16)

    def all_over(method: str, path: str, before: int) -> Fault:
        if "/blobs/" in path and asked(issuer, other) == {(f"repository:{other}:pull",): 1}:
            probe = token_for(quay, issuer, f"repository:{namespace}/probe:pull")
            wait_for(lambda: not accepts(probe), "a token is over")
            issuer.configure(Settings())
            run_all(lambda _: reader.head(other, BUILD), range(64), threads=16)
        return None

    def accepts(token: str) -> bool:
        answer = requests.get(
            f"{quay.url}/v2/{namespace}/probe/tags/list",
            headers={"Authorization": f"Bearer {token}"},
            verify=str(quay.ca),
            timeout=10,
        )
        return answer.status_code != 401

    with (
        reader,
        FakeRegistry(all_over, registries.rdo.service) as fake,
        faulty(fake) as source,
        quay.client(backoff=0.01) as target,
    ):
        assert reader.head(other, BUILD) is None
        assert copy(source, target, [item]).copied == (item,)
    assert digest_of(quay.inspect_raw(item.target_repository, BUILD)) == item.digest
    assert asked(issuer, other) == {(f"repository:{other}:pull",): 2}
    assert asked(issuer, item.target_repository)[scope,] == 2
    assert [one.blob_put for one in refused(quay, namespace)] == [True]
    assert_no_secret(caplog.text, quay)


def test_a_token_is_given_up_when_its_time_is_over(
    issuer: TokenServer, client: Registry, namespace: str
) -> None:
    issuer.configure(Settings(expires_in=0))
    for _ in range(3):
        assert client.head(f"{namespace}/cron", BUILD) is None
    assert asked(issuer, namespace) == {(f"repository:{namespace}/cron:pull",): 3}


def test_a_wrong_password_is_refused_by_the_token_server_and_not_shown(
    quay: LabRegistry, issuer: TokenServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with quay.client(password="not-the-password") as registry:
        actions: tuple[Callable[[], object], ...] = (
            registry.ping,
            lambda: registry.head(f"{namespace}/cron", BUILD),
        )
        for action in actions:
            with pytest.raises(AuthError, match="it refuses the login 'promoter': check login") as refused:
                action()
            said = str(refused.value)
            assert said.startswith(f"registry quay ({quay.url}): get a token for ")
            assert f"from 127.0.0.1:{issuer.service.port}: answered 401" in said
            assert_no_secret(said + caplog.text, quay)
            assert "not-the-password" not in said + caplog.text + repr(registry)


def test_an_account_that_may_not_push_is_told_which_scope_it_lacks(
    quay: LabRegistry, issuer: TokenServer, client: Registry, namespace: str
) -> None:
    image = build_image("cron", BUILD)
    repository = f"{namespace}/cron"
    push_image(client, repository, BUILD, image)
    with quay.client(username="reader", password=issuer.password("reader")) as reader:
        reader.ping()
        assert reader.head(repository, BUILD) == image.manifest.descriptor
        for reference in ("current", "current"):
            with pytest.raises(AuthError, match=f"put {repository}:{reference}: answered 401") as refused:
                reader.put(repository, reference, image.manifest)
            said = str(refused.value)
            assert f"gave the login 'reader' does not allow repository:{repository}:pull,push" in said
            assert_no_secret(said, quay)
        # The second time the token might have been an old one, so another was fetched, once.
        counted = [one for one in issuer.issued(repository) if one.account == "reader"]
        assert [one.granted for one in counted] == [(f"repository:{repository}:pull",)] * 3
        assert reader.head(repository, "current") is None


def test_everybody_may_read_what_is_public(quay: LabRegistry, client: Registry, namespace: str) -> None:
    image = build_image("cron", BUILD)
    for repository in (f"public/{namespace}", f"{namespace}/private"):
        push_image(client, repository, BUILD, image)
    with quay.client(username=None, password=None) as anybody:
        anybody.ping()
        assert anybody.get(f"public/{namespace}", BUILD) == image.manifest
        with pytest.raises(AuthError, match=r"an anonymous user does not allow .*: set login and password"):
            anybody.get(f"{namespace}/private", BUILD)
        with pytest.raises(AuthError, match=f"does not allow repository:public/{namespace}:pull,push"):
            anybody.put(f"public/{namespace}", "current", image.manifest)


def test_a_token_server_that_is_down_is_a_service_error_and_all_goes_on_after(
    registries: LabRegistries, quay: LabRegistry, issuer: TokenServer, namespace: str
) -> None:
    items = pushed(registries, namespace, ["a", "b", "c"])
    killed: list[str] = []

    def down_at_the_second(method: str, path: str, before: int) -> Fault:
        if f"/{namespace}/b/" in path and not killed:
            issuer.service.stop(signal.SIGKILL)
            killed.append(path)
        return None

    host = f"127.0.0.1:{issuer.service.port}"
    try:
        with (
            FakeRegistry(down_at_the_second, registries.rdo.service) as fake,
            faulty(fake) as source,
            quay.client(pool=1, retries=1, backoff=0.01) as target,
        ):
            with pytest.raises(ServiceError, match=f"registry quay .*get a token .* from {host}: no answer"):
                copy(source, target, items)
            # What it has a token for goes on.
            assert target.head(f"{namespace}/a", BUILD) is not None
            issuer.service.start()
            issuer.service.wait_ready()
            report = copy(source, target, items)
        assert (len(report.copied), len(report.already)) == (2, 1)
    finally:
        issuer.service.start()
        issuer.service.wait_ready()


def test_the_token_servers_certificate_is_verified(quay: LabRegistry, issuer: TokenServer) -> None:
    """Against the CA that the Connection names: a challenge alone is enough to be sent elsewhere."""
    challenge = {"WWW-Authenticate": f'Bearer realm="{issuer.realm}",service="{SERVICE}"'}
    access = {"username": quay.username, "password": quay.password}
    with FakeRegistry(lambda *_: Answer(401, headers=challenge)) as fake:
        with faulty(fake, **access) as registry, pytest.raises(ConfigError, match="certificate could not be"):
            registry.ping()
        with (
            faulty(fake, **access, verify=str(quay.ca)) as registry,
            pytest.raises(AuthError, match="does not allow this"),
        ):
            registry.ping()


def test_no_token_is_in_any_log(
    registries: LabRegistries,
    quay: LabRegistry,
    issuer: TokenServer,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    items = pushed(registries, namespace, ["a", "b"])
    with registries.rdo.client() as source, quay.client() as target:
        copy(source, target, items)
        assert_no_secret(repr(target) + repr(vars(target)), quay)
    assert issuer.realm.partition("//")[2].partition("/")[0].rpartition(":")[2] in caplog.text, (
        "it was logged"
    )
    assert_no_secret(caplog.text, quay)
    for service in quay.services:
        assert_no_secret(service.log.read_text(errors="replace"), quay)


def assert_no_secret(text: str, quay: LabRegistry) -> None:
    assert TOKEN not in text
    assert quay.password
    assert quay.password not in text
