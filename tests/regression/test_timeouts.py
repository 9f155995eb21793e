"""Fault 13 of the script before this package: requests had no time-outs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab.service import HOST
from rdo_promoter.clients import http, ssh
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.registry import Registry
from rdo_promoter.clients.registry.manifest import OCI_MANIFEST, Manifest, digest_of
from rdo_promoter.errors import ServiceError
from rdo_promoter.model.build import DlrnHash
from tests.clients.registry_fixtures import Answer, FakeRegistry

#: Seconds that the clients here wait.
SHORT = (0.2, 0.2)
#: Seconds: a slow machine needs some, waiting for ever needs more.
BOUND = 20.0
BUILD = DlrnHash("a" * 40, "b" * 40)
BODY = b"{}"
MANIFEST = Manifest(OCI_MANIFEST, BODY, digest_of(BODY), (), ())


@contextmanager
def falling_silent(says: bytes) -> Iterator[int]:
    """Run a server that begins each answer like this, and says no more."""
    stop = threading.Event()
    taken: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while not stop.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                taken.append(connection)
                connection.sendall(says)

    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(0.05)
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            server.join()
            for connection in taken:
                connection.close()


def dlrn(port: int) -> DlrnClient:
    return DlrnClient(
        f"http://{HOST}:{port}",
        f"http://{HOST}:{port}",
        username="promoter",
        password="x",
        timeout=SHORT,
        retries=1,
        backoff=0.01,
        patience=0.1,
    )


def registry(port: int) -> Registry:
    return Registry(
        f"http://{HOST}:{port}",
        name="hub",
        username="u",
        password="p",
        timeout=SHORT,
        retries=1,
        backoff=0.01,
    )


def log_in(port: int) -> object:
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with ssh.connect(
        HOST, port, "u", private_key=key.decode(), host_key=None, handshake_timeout=0.2, connect_timeout=0.2
    ) as sftp:
        return sftp


ASKED: dict[str, Callable[[int], object]] = {
    "a label in DLRN": lambda port: dlrn(port).current("current-tripleo"),
    "votes in DLRN": lambda port: dlrn(port).votes(BUILD),
    "DLRN's time": lambda port: dlrn(port).now(),
    "a login at DLRN": lambda port: dlrn(port).check_credentials(),
    "the right to promote": lambda port: dlrn(port).check_may_promote("current-tripleo"),
    "a vote reported to DLRN": lambda port: dlrn(port).report_vote(BUILD, "job", True, "", timestamp=1),
    "consistent in the tree": lambda port: dlrn(port).consistent(),
    "a build in the tree": lambda port: dlrn(port).find(BUILD.full_hash),
    "a directory in the tree": lambda port: dlrn(port).has_directory(BUILD),
    "a registry": lambda port: registry(port).ping(),
    "a tag in a registry": lambda port: registry(port).head("team/cron", "current"),
    "a manifest in a registry": lambda port: registry(port).get("team/cron", "current"),
    "tags in a registry": lambda port: registry(port).tags("team/cron"),
    "a manifest put into a registry": lambda port: registry(port).put("team/cron", "current", MANIFEST),
    "a blob in a registry": lambda port: registry(port).blobs.exists("team/cron", MANIFEST.digest),
    "an SSH server": log_in,
}


@pytest.mark.parametrize("what", ASKED)
def test_13_a_server_that_never_answers_is_not_waited_for(what: str) -> None:
    """No request had a time-out: one server that took a connection and said nothing stopped everything."""
    with socket.create_server((HOST, 0)) as server:
        began = time.monotonic()
        with pytest.raises(ServiceError):
            ASKED[what](server.getsockname()[1])
    assert time.monotonic() - began < BOUND


def test_13_a_token_server_that_never_answers_is_not_waited_for() -> None:
    """No request had a time-out: one server that took a connection and said nothing stopped everything."""
    with socket.create_server((HOST, 0)) as server:
        realm = f'Bearer realm="http://{HOST}:{server.getsockname()[1]}/token",service="hub"'
        ask_a_token = Answer(401, headers={"WWW-Authenticate": realm})
        with FakeRegistry(lambda *_: ask_a_token) as fake:
            began = time.monotonic()
            with pytest.raises(ServiceError, match="get a token"):
                registry(int(fake.url.rpartition(":")[2])).head("team/cron", "current")
    assert time.monotonic() - began < BOUND


@pytest.mark.parametrize("what", ["a label in DLRN", "consistent in the tree", "a manifest in a registry"])
def test_13_an_answer_that_ends_in_the_middle_is_not_waited_for(what: str) -> None:
    """No request had a time-out: one server that took a connection and said nothing stopped everything."""
    with falling_silent(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[") as port:
        began = time.monotonic()
        with pytest.raises(ServiceError):
            ASKED[what](port)
    assert time.monotonic() - began < BOUND


def test_13_nobody_has_to_ask_for_a_timeout() -> None:
    """No request had a time-out: each had to bring its own, and none did."""
    assert all(0 < seconds <= 60 for seconds in http.TIMEOUT)
    assert all(
        0 < seconds <= 60 for seconds in (ssh.CONNECT_TIMEOUT, ssh.HANDSHAKE_TIMEOUT, ssh.ANSWER_TIMEOUT)
    )
    package = Path(http.__file__).parents[1]
    made = [path for path in package.rglob("*.py") if "requests.Session(" in path.read_text()]
    assert [path.name for path in made] == ["http.py"]
    direct = ("requests.get(", "requests.post(", "requests.head(", "requests.request(", "urlopen(")
    assert not [path for path in package.rglob("*.py") if any(call in path.read_text() for call in direct)]
