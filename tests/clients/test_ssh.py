"""The strict SSH connection against a real sshd: host keys, logins, servers that do not answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lab import image_server as lab
from lab.image_server import ImageServerFacts
from lab.outage import Outage
from lab.ports import free_port
from lab.service import HOST
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.ssh import parse_host_key, sftp_errors
from rdo_promoter.errors import AuthError, ConfigError, ServiceError
from tests.clients.sshd_fixtures import LABEL, login, running_sshd

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("ssh")
    with running_sshd(root):
        yield root


@pytest.fixture(scope="module")
def facts(root: Path) -> ImageServerFacts:
    return lab.facts(root)


def _fingerprint(line: str) -> str:
    return parse_host_key(line).fingerprint


def _other_host_key() -> str:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_unknown_host_key_is_refused_and_named(facts: ImageServerFacts) -> None:
    with (
        pytest.raises(AuthError, match="is not known: extra 'host_key' of Connection x is missing") as caught,
        login(facts, host_key=None, source="Connection x"),
    ):
        pytest.fail("logged in without a host key")
    message = str(caught.value)
    assert f"{facts.host}:{facts.port}" in message
    assert _fingerprint(facts.host_key) in message
    assert f'set extra "host_key" of Connection x to "{facts.host_key}"' in message


def test_changed_host_key_is_refused_and_both_are_named(facts: ImageServerFacts) -> None:
    other = _other_host_key()
    with pytest.raises(AuthError, match="showed another host key") as caught, login(facts, host_key=other):
        pytest.fail("logged in with another host key")
    assert _fingerprint(facts.host_key) in str(caught.value)
    assert _fingerprint(other) in str(caught.value)


def test_host_key_of_another_kind_than_the_server_has(facts: ImageServerFacts) -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    with pytest.raises(AuthError, match=r"ssh-ed25519 .* instead of ssh-rsa"), login(facts, host_key=line):
        pytest.fail("logged in with another host key")


@pytest.mark.parametrize(
    "spelling", ["{type} {key}", "{key}", "{type} {key} root@images", "host {type} {key}\n"]
)
def test_spellings_of_a_host_key(facts: ImageServerFacts, spelling: str) -> None:
    kind, key = facts.host_key.split()
    with login(facts, host_key=spelling.format(type=kind, key=key)) as sftp:
        assert sftp.stat(str(facts.images)) is not None


@pytest.mark.parametrize(
    "text", ["ssh-ed25519", "AAAA", "AAAA!", "nonsense", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"]
)
def test_host_key_that_is_none(facts: ImageServerFacts, text: str) -> None:
    with (
        pytest.raises(ConfigError, match="'host_key' of the Connection is no public key"),
        login(facts, host_key=text),
    ):
        pytest.fail("logged in")


def _private(key: Any, passphrase: bytes | None = None) -> str:
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, protection)
    return text.decode()


def _authorize(root: Path, key: Any) -> None:
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    with (root / "images" / "sshd" / "authorized_keys").open("a") as file:
        file.write(f"{line}\n")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_kinds_of_private_keys(
    root: Path, facts: ImageServerFacts, tmp_path: Path, kind: str, passphrase: str | None
) -> None:
    key: Any
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    elif kind == "ecdsa":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(65537, 2048)
    _authorize(root, key)
    text = _private(key, passphrase.encode() if passphrase else None)
    with login(facts, key_file=None, private_key=text, passphrase=passphrase) as sftp:
        assert sftp.stat(".") is not None
    (tmp_path / "id").write_text(text)
    with login(facts, key_file=tmp_path / "id", passphrase=passphrase) as sftp:
        assert sftp.stat(".") is not None


def test_key_that_the_server_does_not_know(facts: ImageServerFacts) -> None:
    text = _private(ed25519.Ed25519PrivateKey.generate())
    with (
        pytest.raises(AuthError, match=f"login as {facts.username} was refused") as caught,
        login(facts, key_file=None, private_key=text),
    ):
        pytest.fail("logged in")
    assert text.splitlines()[2] not in str(caught.value)


def test_password_is_refused_and_not_repeated(facts: ImageServerFacts) -> None:
    with pytest.raises(AuthError) as caught, login(facts, key_file=None, password="open-sesame"):
        pytest.fail("logged in")
    assert "open-sesame" not in str(caught.value)


def test_nothing_to_log_in_with(facts: ImageServerFacts) -> None:
    with pytest.raises(ConfigError, match="holds nothing to log in with"), login(facts, key_file=None):
        pytest.fail("logged in")


def test_keys_that_cannot_be_used(facts: ImageServerFacts, tmp_path: Path) -> None:
    encrypted = _private(ed25519.Ed25519PrivateKey.generate(), b"open sesame")
    (tmp_path / "id").write_bytes(b"\xff\xfe")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"key_file": tmp_path / "nothing"}, "'key_file' .*/nothing of the Connection cannot be read"),
        ({"key_file": tmp_path / "id"}, "cannot be read"),
        ({"private_key": "x"}, "both extras 'private_key' and 'key_file'"),
        ({"key_file": None, "private_key": "secret-x"}, "is no private key that can be used"),
        ({"key_file": None, "private_key": encrypted}, "is encrypted: set extra 'private_key_passphrase'"),
        ({"key_file": None, "private_key": encrypted, "passphrase": "wrong-x"}, "its passphrase is wrong"),
    ]
    for settings, message in cases:
        with pytest.raises(ConfigError, match=message) as caught, login(facts, **settings):
            pytest.fail(f"logged in with {settings}")
        assert "secret-x" not in str(caught.value)
        assert "wrong-x" not in str(caught.value)


def test_nobody_listens(facts: ImageServerFacts) -> None:
    with pytest.raises(ServiceError, match="does not answer"), login(facts, port=free_port()):
        pytest.fail("logged in")


def test_server_that_says_nothing(facts: ImageServerFacts) -> None:
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]
        with (
            pytest.raises(ServiceError, match="does not answer"),
            login(facts, port=port, handshake_timeout=0.3),
        ):
            pytest.fail("logged in")


def test_server_that_takes_nothing_any_more(facts: ImageServerFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little room on the way, as between two machines: a megabyte lies nowhere."""
    dial = socket.create_connection

    def narrow(*args: Any, **kwargs: Any) -> socket.socket:
        sock = dial(*args, **kwargs)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
        return sock

    with Outage(HOST, facts.port, http=False) as server:
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)
        monkeypatch.setattr(socket, "create_connection", narrow)
        with login(facts, port=server.port, answer_timeout=0.5) as sftp:
            handle = sftp.open(str(facts.images / "large"), "wx")
            handle.set_pipelined(True)
            server.break_("slow", seconds=60)
            with pytest.raises(ServiceError, match="write large: the connection"), sftp_errors("write large"):
                handle.write(b"x" * 2**20)


def test_server_hangs(tmp_path: Path) -> None:
    with running_sshd(tmp_path) as service:
        facts = lab.facts(tmp_path)
        with login(facts, answer_timeout=0.3) as sftp:
            server = ImageServer(sftp, root=str(facts.images), name="images")
            assert server.link(LABEL) is None
            listener = service.process()
            assert listener is not None
            for session in listener.children(recursive=True):
                session.suspend()
            with pytest.raises(ServiceError, match="image server images: read link"):
                server.link(LABEL)


def test_a_server_that_falls_silent_at_any_moment_of_the_login_is_not_waited_for(
    facts: ImageServerFacts,
) -> None:
    """Each hundred bytes: shorter than every answer, so that none of them is left out."""

    def log_in(after: int) -> str:
        with Outage(HOST, facts.port, http=False) as server:
            server.break_("slow", seconds=60, after=after)
            settings = {"port": server.port, "handshake_timeout": 0.5, "answer_timeout": 0.5}
            with pytest.raises(ServiceError) as caught, login(facts, **settings):
                pytest.fail(f"logged in after {after} bytes")
            return str(caught.value)

    with ThreadPoolExecutor(8) as pool:
        for said in pool.map(log_in, range(0, 2400, 100)):
            assert f"does not answer the login of {facts.username}" in said
