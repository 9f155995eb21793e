"""One registry: looking, reading, tagging, against real registries; skopeo has the second opinion."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.images import Image, build_image, build_index, push_build, push_image
from lab.registries import LabRegistries, LabRegistry
from lab.service import wait_for
from rdo_promoter.clients.registry import Manifest, Registry, digest_of, heads, tag_all
from rdo_promoter.clients.registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, OCI_INDEX
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, DigestMismatchError, NotFoundError
from tests.clients.registry_fixtures import new_namespace, running_registries, seen

BUILD = "54480e7142f4ed0ea0bb1a8f3cbbd1e1fb4d4d3d_a6d9b2cf"
KINDS = pytest.mark.parametrize("kind", MANIFEST_TYPES)


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRegistries]:
    with running_registries(tmp_path_factory.mktemp("registries")) as running:
        yield running


@pytest.fixture(params=["rdo", "dockerhub", "quay"])
def lab(request: pytest.FixtureRequest, registries: LabRegistries) -> LabRegistry:
    found: LabRegistry = getattr(registries, request.param)
    return found


@pytest.fixture
def registry(lab: LabRegistry) -> Iterator[Registry]:
    with lab.client() as client:
        yield client


@pytest.fixture
def namespace() -> str:
    return new_namespace()


def test_a_registry_that_is_there_answers(registry: Registry) -> None:
    registry.ping()


@pytest.mark.parametrize("sign", ["", "/", "#", "?", "@"])
def test_an_address_with_a_login_is_not_repeated(sign: str) -> None:
    with pytest.raises(ConfigError, match="put login and password in the Connection") as raised:
        Registry(f"https://user:open{sign}sesame@registry.example.org", name="rdo")
    assert "open" not in str(raised.value)
    assert "sesame" not in str(raised.value)


@KINDS
def test_what_was_put_comes_back_byte_for_byte(
    lab: LabRegistry, registry: Registry, namespace: str, kind: str
) -> None:
    repository, image = f"{namespace}/nova-api", build_image("nova-api", BUILD, kind=kind)
    push_image(registry, repository, BUILD, image)
    manifest = registry.get(repository, BUILD)
    assert manifest == image.manifest
    assert registry.get(repository, image.manifest.digest) == manifest
    assert registry.head(repository, BUILD) == manifest.descriptor
    assert lab.inspect_raw(repository, BUILD) == image.manifest.body


@KINDS
def test_a_tag_is_moved_by_digest(lab: LabRegistry, registry: Registry, namespace: str, kind: str) -> None:
    repository = f"{namespace}/nova-api"
    old, new = (build_image("nova-api", build, kind=kind) for build in ("aaaa", "bbbb"))
    push_image(registry, repository, "aaaa", old)
    push_image(registry, repository, "bbbb", new)
    assert registry.tag(repository, old.manifest.digest, "current") is True
    assert registry.tag(repository, new.manifest.digest, "current") is True
    assert lab.inspect_raw(repository, "current") == new.manifest.body
    assert lab.inspect_raw(repository, "aaaa") == old.manifest.body


def test_a_tag_that_is_right_is_left_alone(lab: LabRegistry, registry: Registry, namespace: str) -> None:
    repository, image = f"{namespace}/cron", build_image("cron", BUILD)
    push_image(registry, repository, "current", image)
    assert registry.tag(repository, image.manifest.digest, "current") is False
    assert registry.tag(repository, image.manifest.digest, "last") is True

    def manifests() -> list[str]:
        return [each.path.rpartition("/")[2] for each in seen(lab, namespace) if each.manifest_put]

    wait_for(lambda: "last" in manifests(), "the access log has the last request")
    assert manifests().count("current") == 1


def test_what_does_not_exist(registry: Registry, namespace: str) -> None:
    repository, image = f"{namespace}/cron", build_image("cron", BUILD, kind=DOCKER_MANIFEST)
    missing = digest_of(b"missing")
    assert registry.head(repository, "current") is None
    with pytest.raises(NotFoundError, match=f"get {repository}:current"):
        registry.get(repository, "current")
    with pytest.raises(NotFoundError, match=f"list the tags of {repository}"):
        registry.tags(repository)
    push_image(registry, repository, BUILD, image)
    assert registry.head(repository, "current") is None
    assert registry.head(repository, missing) is None
    with pytest.raises(NotFoundError, match=f"registry {registry.name} .*{repository}@{missing}"):
        registry.tag(repository, missing, "current")
    assert registry.tags(repository) == [BUILD]


def test_all_tags_of_a_repository(registry: Registry, namespace: str) -> None:
    repository, image = f"{namespace}/cron", build_image("cron", BUILD)
    push_image(registry, repository, BUILD, image)
    for tag in ("current", "previous"):
        registry.tag(repository, image.manifest.digest, tag)
    assert sorted(registry.tags(repository)) == sorted((BUILD, "current", "previous"))


def test_a_tag_in_many_repositories(lab: LabRegistry, registry: Registry, namespace: str) -> None:
    names = [f"service-{number}" for number in range(12)]
    digests = push_build(registry, namespace, names, BUILD, prefix="")
    repositories = {f"{namespace}/{name}": digest for name, digest in digests.items()}
    absent = f"{namespace}/absent"
    assert heads(registry, [*repositories, absent], "current") == dict.fromkeys([*repositories, absent])
    assert tag_all(registry, repositories, "current") == dict.fromkeys(repositories, True)
    found = heads(registry, [*repositories, absent], "current")
    assert {name: each and each.digest for name, each in found.items()} == {**repositories, absent: None}
    assert tag_all(registry, repositories, "current") == dict.fromkeys(repositories, False)
    for repository, digest in list(repositories.items())[:3]:
        assert digest_of(lab.inspect_raw(repository, "current")) == digest


def test_no_repositories_need_no_requests(registry: Registry) -> None:
    assert heads(registry, [], "current") == {}


def test_a_manifest_without_its_blobs_is_refused_by_the_registry(registry: Registry, namespace: str) -> None:
    image = build_image("cron", BUILD, kind=DOCKER_MANIFEST)
    with pytest.raises(
        AnswerError, match=rf"put {namespace}/cron:current: answered 400 .*MANIFEST_BLOB_UNKNOWN"
    ):
        registry.put(f"{namespace}/cron", "current", image.manifest)
    assert registry.head(f"{namespace}/cron", "current") is None


@pytest.mark.parametrize("kind", [DOCKER_LIST, OCI_INDEX])
def test_an_index_without_its_children_is_refused_by_the_registry(
    registry: Registry, namespace: str, kind: str
) -> None:
    image = build_index([build_image("cron", BUILD, kind=DOCKER_MANIFEST)], kind=kind)
    with pytest.raises(AnswerError, match="answered 400"):
        registry.put(f"{namespace}/cron", "current", image.manifest)


def test_a_manifest_under_another_digest_is_refused(registry: Registry, namespace: str) -> None:
    repository, image, other = f"{namespace}/cron", build_image("cron", "aaaa"), build_image("cron", "bbbb")
    push_image(registry, repository, "current", image)
    with pytest.raises(AnswerError, match=f"put {repository}@{other.manifest.digest}"):
        registry.put(repository, other.manifest.digest, image.manifest)


def test_a_wrong_password_is_named_but_not_shown(registries: LabRegistries, namespace: str) -> None:
    lab = registries.dockerhub
    with lab.client(password="not-the-password") as registry:
        actions: tuple[Callable[[], object], ...] = (
            registry.ping,
            lambda: registry.head(f"{namespace}/cron", "current"),
        )
        for action in actions:
            with pytest.raises(
                AuthError, match="refuses the login 'promoter': check login and password"
            ) as refused:
                action()
            assert "not-the-password" not in str(refused.value)
            assert str(lab.password) not in str(refused.value)
        assert "not-the-password" not in repr(registry)


def test_missing_credentials_are_named(registries: LabRegistries) -> None:
    with (
        registries.dockerhub.client(username=None, password=None) as registry,
        pytest.raises(AuthError, match="wants credentials: set login and password"),
    ):
        registry.ping()


def test_half_of_the_credentials_is_refused(registries: LabRegistries) -> None:
    with pytest.raises(ConfigError, match="registry dockerhub: its Connection has no password"):
        registries.dockerhub.client(password=None)


def test_an_unknown_ca_is_refused_and_the_remedy_named(registries: LabRegistries) -> None:
    with (
        registries.dockerhub.client(verify=True) as registry,
        pytest.raises(ConfigError, match=r"certificate could not be verified .*to 'ca' in the extra"),
    ):
        registry.ping()


def test_a_ca_file_that_is_missing_is_named(registries: LabRegistries) -> None:
    with (
        registries.dockerhub.client(verify="/nowhere/ca.crt") as registry,
        pytest.raises(ConfigError, match=r"/nowhere/ca\.crt"),
    ):
        registry.ping()


def test_tls_where_there_is_none_is_said(registries: LabRegistries) -> None:
    with (
        Registry(registries.rdo.url.replace("http:", "https:"), name="rdo") as registry,
        pytest.raises(ConfigError, match="does not speak TLS"),
    ):
        registry.ping()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("registry.example.org", "start with https://"),
        ("ftp://registry.example.org", "start with https://"),
        ("https://", "start with https://"),
        ("https://me:secret@registry.example.org", "not in the address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        Registry(url, name="rdo")
    assert "secret" not in str(refused.value)


def test_a_digest_that_is_not_the_manifests_is_refused(registry: Registry, namespace: str) -> None:
    repository, image = f"{namespace}/cron", build_image("cron", BUILD)
    push_image(registry, repository, "current", image)
    forged = Manifest(image.manifest.media_type, image.manifest.body, digest_of(b"forged"), (), ())
    with pytest.raises(DigestMismatchError) as refused:
        registry.put(repository, "current", forged)
    assert (refused.value.actual, refused.value.expected) == (image.manifest.digest, forged.digest)
    assert refused.value.where == f"registry {registry.name}"


def test_images_are_what_their_kind_says() -> None:
    images: list[Image] = [build_image("cron", BUILD, kind=kind) for kind in MANIFEST_TYPES]
    assert [image.manifest.media_type for image in images] == list(MANIFEST_TYPES)
