"""The hooks: Connections as Airflow reads them give clients that work, or messages that say what to write."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from lab import image_server as lab_images
from lab.image_server import ImageServerFacts
from lab.ports import free_port
from lab.registries import LabRegistries
from lab.service import HOST
from rdo_promoter.errors import AuthError, ConfigError, ServiceError
from rdo_promoter.hooks.connection import read_url
from rdo_promoter.hooks.dlrn import DlrnHook
from rdo_promoter.hooks.image_server import ImageServerHook
from rdo_promoter.hooks.registry import RegistryHook
from tests.clients.dlrn_lab import LabDlrn
from tests.clients.registry_fixtures import running_registries
from tests.clients.sshd_fixtures import IMAGE, LABEL, OLD, running_sshd

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab

#: Stores a Connection in the environment, as people do, and returns its id.
Define = Callable[..., str]


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    def define(conn_id: str, /, **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return define


# --- DLRN ------------------------------------------------------------------------------------------------


@pytest.fixture
def dlrn(lab_dlrn: LabDlrn, define: Define) -> Callable[..., DlrnHook]:
    def dlrn(**changes: Any) -> DlrnHook:
        facts = lab_dlrn.facts
        right = {
            "conn_type": "dlrn",
            "host": facts.api_url,
            "login": facts.username,
            "password": facts.password,
        }
        return DlrnHook(define("dlrn_test", **{**right, **changes}), facts.repo_url)

    return dlrn


def test_dlrn_client(dlrn: Callable[..., DlrnHook], lab_dlrn: LabDlrn) -> None:
    build = lab_dlrn.build()
    with dlrn().get_conn() as client:
        client.check_credentials()
        assert [vote.job for vote in client.votes(build)] == ["consistent"]
        assert client.has_directory(build)


def test_dlrn_client_without_a_repository(dlrn: Callable[..., DlrnHook]) -> None:
    with pytest.raises(ConfigError, match=r"DlrnHook\('dlrn_test'\) has no repo_url"):
        DlrnHook(dlrn().dlrn_conn_id).get_conn()


def test_dlrn_test_button(dlrn: Callable[..., DlrnHook], lab_dlrn: LabDlrn) -> None:
    hook = dlrn()
    message = f"DLRN API {lab_dlrn.facts.api_url} accepts user {lab_dlrn.facts.username}; nothing was changed"
    assert hook.test_connection() == (True, message)
    # The UI finds the hook by the Connection's type, and gives it nothing but the id.
    assert Connection.get(hook.dlrn_conn_id).test_connection() == (True, message)


def test_dlrn_test_button_with_a_wrong_password(dlrn: Callable[..., DlrnHook]) -> None:
    works, message = dlrn(password="open-sesame").test_connection()
    assert not works
    assert "401" in message
    assert "open-sesame" not in message


def test_missing_connection() -> None:
    works, message = DlrnHook("dlrn_nowhere").test_connection()
    assert not works
    assert "Connection 'dlrn_nowhere' does not exist" in message
    assert "AIRFLOW_CONN_DLRN_NOWHERE" in message


# --- registries ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRegistries]:
    with running_registries(tmp_path_factory.mktemp("registries")) as found:
        yield found


@pytest.mark.parametrize("host", ["https://{host}", "https://{host}/", "{host}"])
@pytest.mark.parametrize("key", ["ca", "verify"])
def test_registry_with_login_and_an_own_ca(
    registries: LabRegistries, define: Define, host: str, key: str
) -> None:
    hub = registries.dockerhub
    conn_id = define(
        "registry_test",
        conn_type="docker",
        host=host.format(host=hub.host),
        login=hub.username,
        password=hub.password,
        extra={key: str(hub.ca), "reauth": False},
    )
    with RegistryHook(conn_id, "dockerhub").get_conn() as registry:
        registry.ping()
        assert registry.name == "dockerhub"


def test_registry_with_its_port_in_the_field_for_it(registries: LabRegistries, define: Define) -> None:
    port = registries.rdo.service.port
    conn_id = define("registry_test", conn_type="docker", host=f"http://{HOST}", port=port)
    with RegistryHook(conn_id).get_conn() as registry:
        registry.ping()
        assert (registry.url, registry.name) == (registries.rdo.url, "registry_test")


@pytest.mark.parametrize("wrong", [False, True])
def test_registry_with_tokens(registries: LabRegistries, define: Define, wrong: bool) -> None:
    quay = registries.quay
    password = "open-sesame" if wrong else quay.password
    fields = {"conn_type": "docker", "host": quay.url, "extra": {"ca": str(quay.ca)}}
    conn_id = define("registry_test", login=quay.username, password=password, **fields)
    with RegistryHook(conn_id).get_conn() as registry:
        if not wrong:
            registry.ping()
            return
        with pytest.raises(AuthError, match=r"get a token .* refuses the login 'promoter'") as caught:
            registry.ping()
        assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("docker.io", "https://registry-1.docker.io"),
        ("https://docker.io/", "https://registry-1.docker.io"),
        ("https://index.docker.io/v1/", "https://registry-1.docker.io"),
        ("hub.docker.com", "https://registry-1.docker.io"),
        ("registry-1.docker.io", "https://registry-1.docker.io"),
        # The login never goes there in clear text, whatever somebody wrote.
        ("http://docker.io", "https://registry-1.docker.io"),
        ("docker.io:5000", "https://docker.io:5000"),
        ("quay.io", "https://quay.io"),
    ],
)
def test_registry_by_the_name_that_images_have(define: Define, host: str, url: str) -> None:
    conn_id = define("registry_test", conn_type="docker", host=host, login="robot", password="x")
    with RegistryHook(conn_id).get_conn() as registry:
        assert registry.url == url


def test_a_repository_in_the_address_of_docker_io_is_refused(define: Define) -> None:
    conn_id = define("registry_test", conn_type="docker", host="docker.io/tripleomaster")
    with pytest.raises(ConfigError, match=r"for docker\.io https://registry-1\.docker\.io"):
        RegistryHook(conn_id).get_conn()


@pytest.mark.parametrize(
    "extra", [{"ca": "", "verify": None}, {"verify": True}, {"verify": "true"}, "", None]
)
def test_registry_extra_as_the_form_of_the_ui_stores_it(define: Define, extra: object) -> None:
    conn_id = define("registry_test", conn_type="docker", host="registry.example.org", extra=extra)
    with RegistryHook(conn_id).get_conn() as registry:
        assert registry.url == "https://registry.example.org"


# --- addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "example.org"}, "https://example.org"),
        ({"host": " http://example.org/api/ "}, "http://example.org/api"),
        ({"host": "example.org:5000", "port": 1}, "https://example.org:5000"),
        ({"host": "example.org/api", "port": 8443}, "https://example.org:8443/api"),
        ({"host": "https://[::1]", "port": 8443}, "https://[::1]:8443"),
    ],
)
def test_addresses(fields: dict[str, Any], url: str) -> None:
    assert read_url(Connection(conn_id="c", **fields), "https://x") == url


# --- image servers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServerFacts]:
    root = tmp_path_factory.mktemp("images")
    with running_sshd(root):
        lab_images.put_images(root, "master", OLD, {IMAGE: 2000})
        yield lab_images.facts(root)


@pytest.fixture
def image_server(images: ImageServerFacts, define: Define) -> Callable[..., ImageServerHook]:
    def image_server(extra: object = None, **changes: Any) -> ImageServerHook:
        fields = {**images.connection(), **changes}
        if extra is not None:
            fields["extra"] = extra
        return ImageServerHook(define("images_test", **fields), "images", images.path("master"))

    return image_server


@pytest.mark.parametrize("conn_type", ["sftp", "ssh"])
@pytest.mark.parametrize("with_text", [False, True])
def test_image_server(
    images: ImageServerFacts, image_server: Callable[..., ImageServerHook], conn_type: str, with_text: bool
) -> None:
    extra = {"private_key": images.private_key, "host_key": images.host_key} if with_text else None
    with image_server(extra, conn_type=conn_type).connect() as server:
        assert server.name == "images"
        assert server.md5(OLD, IMAGE) == server.declared_md5(OLD, IMAGE)
        server.set_link(LABEL, OLD)
        assert server.link(LABEL) == OLD


def test_image_server_that_is_not_there(image_server: Callable[..., ImageServerHook]) -> None:
    with pytest.raises(ServiceError, match="does not answer"), image_server(port=free_port()).connect():
        pytest.fail("logged in")


# --- costs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (
            "rdo_promoter.hooks.dlrn, rdo_promoter.hooks.registry, rdo_promoter.hooks.image_server",
            ["paramiko", "rdo_promoter.clients.http", "rdo_promoter.clients.ssh"],
        ),
        ("rdo_promoter.provider", ["airflow", "pydantic", "requests"]),
    ],
)
def test_what_an_import_brings(modules: str, unwanted: list[str], tmp_path: Path) -> None:
    code = f"import sys, {modules}; print([name for name in {unwanted} if name in sys.modules])"
    include = Path(__file__).resolve().parents[2] / "include"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(include)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
