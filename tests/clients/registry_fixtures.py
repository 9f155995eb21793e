"""What the registry tests share: running registries, the requests they saw, and a proxy that makes faults."""

from __future__ import annotations

import http.client
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lab.faults import FaultProxy
from lab.registries import LabRegistries, LabRegistry, registries
from lab.service import HOST, Service
from rdo_promoter.clients.registry import Registry

_ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.1" (?P<status>\d+)')


@contextmanager
def running_registries(root: Path) -> Iterator[LabRegistries]:
    """Start the registries of a lab in this folder and end them afterwards."""
    found = registries(root)
    services = [service for each in found for service in each.services]
    try:
        for service in services:
            service.start()
        for service in services:
            service.wait_ready()
        yield found
    finally:
        for service in services:
            service.stop()


def new_namespace() -> str:
    """Return a namespace that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@dataclass(frozen=True)
class Seen:
    """One request that a registry saw."""

    method: str
    path: str
    status: int = 0

    @property
    def digest(self) -> str | None:
        """The digest that an upload ends with."""
        return parse_qs(urlsplit(self.path).query).get("digest", [None])[0]

    @property
    def writes(self) -> bool:
        return self.method not in ("GET", "HEAD")

    @property
    def manifest_put(self) -> bool:
        return self.method == "PUT" and "/manifests/" in self.path

    @property
    def blob_put(self) -> bool:
        return self.method == "PUT" and "/blobs/uploads/" in self.path


def seen(registry: LabRegistry, namespace: str) -> list[Seen]:
    """Return the requests about a namespace, from the registry's own access log."""
    lines = registry.service.log.read_text(errors="replace").splitlines()
    found = (_ACCESS.search(line) for line in lines if f"/v2/{namespace}/" in line)
    return [Seen(hit["method"], unquote(hit["path"]), int(hit["status"])) for hit in found if hit]


@dataclass
class Answer:
    """What a fake server says instead of the registry."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """Close the connection: before the registry sees it, after, or within its answer."""

    when: str = "before"


@dataclass(frozen=True)
class Change:
    """Forward, with another path, or with the answer's body changed."""

    path: str | None = None
    body: Callable[[bytes], bytes] = bytes


Fault = Answer | Drop | Change | None


class FakeRegistry:
    """A fake: an HTTP server that answers by itself, or stands before a real registry and disturbs it.

    :param fault: called with each request's method, path and how often the pair came before; None forwards.
    :param upstream: the real registry (plain HTTP), None when every request has an `Answer`.
    """

    def __init__(self, fault: Callable[[str, str, int], Fault], upstream: Service | None = None) -> None:
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self._fault = fault
        self._upstream = upstream
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def _any(self) -> None:
                fake.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - names that http.server asks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> FakeRegistry:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str, part: str) -> int:
        """Return how many requests with this method came for paths that contain a text."""
        return sum(1 for m, path, _ in self.requests if m == method and part in unquote(path))

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        # An upload has a new address each time; its repository and digest say what it is about.
        key = re.sub(r"uploads/[^?]+|_state=[^&]+&?", "uploads/", unquote(request.path))
        with self._lock:
            before = sum(1 for m, k, _ in self.requests if (m, k) == (request.command, key))
            self.requests.append((request.command, key, dict(request.headers)))
        fault = self._fault(request.command, key, before)
        if isinstance(fault, Drop) and fault.when == "before":
            request.close_connection = True
            return
        answer = fault if isinstance(fault, Answer) else self._forward(request, body, fault)
        if answer is None or (isinstance(fault, Drop) and fault.when == "after"):
            request.close_connection = True
            return
        content = fault.body(answer.body) if isinstance(fault, Change) else answer.body
        request.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                request.send_header(name, value)
        length = (
            answer.headers.get("Content-Length", str(len(content)))
            if request.command == "HEAD"
            else len(content)
        )
        request.send_header("Content-Length", str(length))
        request.end_headers()
        if request.command != "HEAD":
            if isinstance(fault, Drop):
                content = content[: len(content) // 2]
                request.close_connection = True
            request.wfile.write(content)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> Answer | None:
        assert self._upstream is not None, f"no answer for {request.command} {request.path}"
        path = fault.path if isinstance(fault, Change) and fault.path else request.path
        connection = http.client.HTTPConnection(HOST, self._upstream.port, timeout=30)
        try:
            connection.request(request.command, path, body=body or None, headers=dict(request.headers))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))
        except OSError:
            return None
        finally:
            connection.close()


def faulty(fake: FakeRegistry | FaultProxy, **options: Any) -> Registry:
    """Return a client of the fake that does not wait long between its tries."""
    return Registry(fake.url, **{"name": "faulty", "retries": 2, "backoff": 0.01, **options})
