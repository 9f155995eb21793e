from __future__ import annotations

import gzip
import io
import json
import signal
import stat
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lab import overlay, prerequisites
from lab.images import build_image, kind_of, push_build
from lab.jwt import Signer
from lab.registries import LabRegistries, registries
from lab.service import LabError
from lab.tokens import ISSUER, SERVICE, granted
from rdo_promoter.clients.registry import Registry, digest_of, heads
from rdo_promoter.clients.registry.bearer import Scope, spell_scopes
from rdo_promoter.clients.registry.manifest import DOCKER_MANIFEST, MANIFEST_TYPES
from rdo_promoter.errors import AuthError, ConfigError
from tests.clients.registry_fixtures import new_namespace, running_registries

BUILD = "54480e7142f4ed0ea0bb1a8f3cbbd1e1fb4d4d3d_a6d9b2cf"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRegistries]:
    with running_registries(tmp_path_factory.mktemp("registries")) as found:
        yield found


def test_the_names_of_a_release() -> None:
    names = overlay.read().short_names
    assert len(names) == len(set(names)) == 96
    assert {"nova-api", "neutron-server", "tempest"} <= set(names)
    assert not any(name.startswith("centos-binary-") or "daemon" in name for name in names)


def test_a_release_has_images_of_all_kinds_and_mostly_the_usual_one() -> None:
    kinds = Counter(map(kind_of, overlay.read().short_names))
    assert set(kinds) == set(MANIFEST_TYPES)
    assert kinds[DOCKER_MANIFEST] > sum(kinds.values()) / 2


@pytest.mark.parametrize("kind", MANIFEST_TYPES)
def test_the_same_name_and_build_give_the_same_bytes(kind: str) -> None:
    first, second = (build_image("nova-api", BUILD, kind=kind) for _ in range(2))
    assert first.manifest == second.manifest
    assert build_image("nova-api", "another", kind=kind).manifest.digest != first.manifest.digest
    assert build_image("nova-compute", BUILD, kind=kind).manifest.digest != first.manifest.digest


def test_layers_are_shared_between_containers_and_between_builds() -> None:
    def layers(name: str, build: str) -> set[str]:
        return {blob.digest for blob in build_image(name, build, kind=DOCKER_MANIFEST).manifest.blobs[1:]}

    assert len(layers("a", "x")) == 3
    assert len(layers("a", "x") & layers("b", "x")) == 2
    assert len(layers("a", "x") & layers("a", "y")) == 1


def test_layers_are_what_the_config_says() -> None:
    image = build_image("nova-api", BUILD, kind=DOCKER_MANIFEST)
    config, *layers = (image.content[blob.digest] for blob in image.manifest.blobs)
    archives = [gzip.decompress(layer) for layer in layers]
    assert json.loads(config)["rootfs"]["diff_ids"] == [digest_of(archive) for archive in archives]
    for archive in archives:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            assert len(tar.getmembers()) == 1


def test_other_tools_accept_the_images(running: LabRegistries, tmp_path: Path) -> None:
    namespace = new_namespace()
    with running.rdo.client() as registry:
        names = [next(n for n in overlay.read().short_names if kind_of(n) == kind) for kind in MANIFEST_TYPES]
        digests = push_build(registry, namespace, names, BUILD)
    for name in names:
        folder = tmp_path / name
        source = f"docker://{running.rdo.host}/{namespace}/{name}:{BUILD}"
        command = [
            "skopeo",
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            "--all",
            source,
            f"dir:{folder}",
        ]
        subprocess.run(command, check=True, capture_output=True)
        assert digest_of((folder / "manifest.json").read_bytes()) == digests[name]


def test_a_whole_build_is_pushed_and_pushing_again_changes_nothing(running: LabRegistries) -> None:
    namespace = new_namespace()
    for lab, names in (
        (running.rdo, overlay.read().short_names),
        (running.dockerhub, overlay.read().short_names[:12]),
        (running.quay, overlay.read().short_names[:6]),
    ):
        repositories = [f"{namespace}/{name}" for name in names]
        with lab.client() as registry:
            digests = push_build(registry, namespace, names, BUILD)
            assert digests == {name: build_image(name, BUILD).manifest.digest for name in names}
            assert push_build(registry, namespace, names, BUILD) == digests
            found = heads(registry, repositories, BUILD)
        assert [each and each.digest for each in found.values()] == list(digests.values())


def test_the_stand_in_for_docker_io_wants_its_own_login_and_ca(running: LabRegistries) -> None:
    assert running.dockerhub.url.startswith("https://")
    with running.dockerhub.client(username=None, password=None) as registry, pytest.raises(AuthError):
        registry.ping()
    with running.dockerhub.client(verify=True) as registry, pytest.raises(ConfigError):
        registry.ping()
    with running.dockerhub.client() as registry:
        registry.ping()


def test_the_stand_in_for_quay_io_wants_a_token_of_its_token_server(running: LabRegistries) -> None:
    quay = running.quay
    assert quay.issuer is not None
    # Basic authentication is for the token server alone.
    answer = requests.get(
        f"{quay.url}/v2/", auth=("promoter", str(quay.password)), verify=str(quay.ca), timeout=10
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{quay.issuer.realm}",service="{SERVICE}"'
    with quay.client(verify=True) as registry, pytest.raises(ConfigError):
        registry.ping()
    with quay.client() as registry:
        registry.ping()


@pytest.mark.parametrize(
    ("account", "asked", "expected"),
    [
        ("promoter", "repository:team/a:pull,push", "repository:team/a:pull,push"),
        ("promoter", "repository:team/a:delete,pull,push", "repository:team/a:pull,push"),
        ("promoter", "registry:catalog:*", ""),
        ("promoter", "repository:a:pull repository:b:pull", "repository:a:pull repository:b:pull"),
        ("reader", "repository:team/a:pull,push", "repository:team/a:pull"),
        ("reader", "repository:team/a:push", ""),
        ("", "repository:team/a:pull", ""),
        ("", "repository:public/a:pull,push", "repository:public/a:pull"),
        ("nobody", "repository:team/a:pull", ""),
        ("promoter", "", ""),
    ],
)
def test_a_token_allows_what_the_account_may_do(account: str, asked: str, expected: str) -> None:
    assert spell_scopes(granted(account, asked.split())) == expected


@pytest.mark.parametrize(("valid", "status"), [(300, 404), (-50, 404), (-60, 401)])
def test_the_registry_takes_a_token_for_a_minute_beyond_its_end(
    running: LabRegistries, valid: int, status: int
) -> None:
    """Distribution's leeway for clocks that differ: tests of expiry have to know it."""
    signer = Signer(running.quay.folder / "tokens" / "signing")
    scopes = (Scope("repository", "team/nothing", ("pull",)),)
    token = signer.token(ISSUER, "promoter", SERVICE, scopes, valid=valid)
    answer = requests.get(
        f"{running.quay.url}/v2/team/nothing/tags/list",
        headers={"Authorization": f"Bearer {token}"},
        verify=str(running.quay.ca),
        timeout=10,
    )
    assert answer.status_code == status


def test_its_certificate_is_valid_for_localhost_too(running: LabRegistries) -> None:
    lab = running.dockerhub
    url = lab.url.replace("127.0.0.1", "localhost")
    with Registry(
        url, name="hub", username=lab.username, password=lab.password, verify=str(lab.ca)
    ) as registry:
        registry.ping()


def test_secrets_are_for_the_owner_alone_and_of_each_lab(tmp_path: Path) -> None:
    first, second = registries(tmp_path / "one"), registries(tmp_path / "two")
    for name in ("dockerhub", "quay"):
        passwords = [str(getattr(each, name).password) for each in (first, second)]
        assert passwords[0] != passwords[1]
        assert passwords[0] not in repr(first)
    files = [file for file in (tmp_path / "one" / "registries").rglob("*") if file.is_file()]
    assert {"password", "htpasswd", "server.key", "ca.crt", "promoter"} <= {file.name for file in files}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_started_again_it_is_the_same_registry(tmp_path: Path) -> None:
    with running_registries(tmp_path) as before:
        with before.dockerhub.client() as registry:
            digests = push_build(registry, "team", ["cron"], BUILD)
        before.dockerhub.service.stop(signal.SIGKILL)
        after = registries(tmp_path)
        assert (after.dockerhub.url, after.dockerhub.password) == (
            before.dockerhub.url,
            before.dockerhub.password,
        )
        assert after.dockerhub.service.start() is True
        after.dockerhub.service.wait_ready()
        assert digest_of(after.dockerhub.inspect_raw("team/cron", BUILD)) == digests["cron"]
        # The client of before has the CA of before, and it still fits.
        with before.dockerhub.client() as registry:
            registry.ping()
        assert after.dockerhub.service.start() is False


def test_a_missing_program_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(LabError, match="docker-registry is not installed: run `apt-get install"):
        registries(tmp_path).rdo.service.start()


def test_what_skopeo_cannot_find_is_said(running: LabRegistries) -> None:
    with pytest.raises(LabError, match=r"skopeo cannot inspect .*nothing"):
        running.dockerhub.inspect_raw("team/nothing", "current")
