"""A fault proxy: a real HTTP server before a real service, which breaks the answers it is told to break."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from lab.service import HOST

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})


@dataclass(frozen=True)
class Fault:
    """What shall go wrong.

    :param path: of the requests that are hit, as a part of the path, for example ``/api/promote``.
    :param method: of these requests.
    :param forward: the service gets the request and does its work; only its answer is lost.
    :param answer: status that is answered instead; without one the connection is cut.
    :param location: where the answer sends the client to.
    :param times: how many requests are hit.
    :param effect: done before the answer, in place of the service or after it.
    :param through: nothing goes wrong: after the effect the request is served as usual.
    """

    path: str
    method: str = "GET"
    forward: bool = False
    answer: int | None = None
    location: str | None = None
    times: int = 1
    effect: Callable[[], object] | None = None
    through: bool = False

    def hits(self, method: str, path: str) -> bool:
        return method == self.method and self.path in path


@dataclass(frozen=True)
class Seen:
    """A request as it came in.

    :param path: with its query.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class FaultProxy:
    """Stands before one HTTP service; used as a context manager.

    :param target: address of the service.
    :param tls: certificate and key, to speak HTTPS; the service itself speaks HTTP.
    """

    def __init__(self, target: str, *, tls: tuple[Path, Path] | None = None) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or HOST, parts.port or 80
        self._lock = threading.Lock()
        self._faults: list[list[Fault]] = []
        self._seen: list[Seen] = []
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address to use in place of the service's."""
        return f"{self._scheme}://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, *faults: Fault) -> None:
        """Plan faults; of those that hit a request the first planned is used up first."""
        with self._lock:
            self._faults.extend([fault] * fault.times for fault in faults)

    def seen(self, method: str = "", path: str = "") -> list[Seen]:
        """Return the requests so far, of this method and with this part in the path."""
        with self._lock:
            return [one for one in self._seen if method in ("", one.method) and path in one.path]

    @property
    def pending(self) -> int:
        """How many planned faults have not happened: a test that leaves some has not tested them."""
        with self._lock:
            return sum(len(left) for left in self._faults)

    def _take(self, seen: Seen) -> Fault | None:
        with self._lock:
            self._seen.append(seen)
            for left in self._faults:
                if left and left[0].hits(seen.method, seen.path):
                    return left.pop()
        return None

    def _forward(self, seen: Seen) -> tuple[int, str, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            headers = {key: value for key, value in seen.headers.items() if key.lower() not in _HOP_BY_HOP}
            upstream.request(seen.method, seen.path, body=seen.body or None, headers=headers)
            answer = upstream.getresponse()
            return answer.status, answer.reason, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen = Seen(self.command, self.path, dict(self.headers.items()), body)
                fault = proxy._take(seen)
                if fault is None:
                    self._answer(*proxy._forward(seen))
                    return
                if fault.forward:
                    proxy._forward(seen)
                if fault.effect is not None:
                    fault.effect()
                if fault.through:
                    self._answer(*proxy._forward(seen))
                    return
                if fault.answer is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                page = f"<html><title>{fault.answer} Planned</title><p>planned by the fault proxy</p></html>"
                headers = [("Content-Type", "text/html")]
                if fault.location is not None:
                    headers.append(("Location", fault.location))
                self._answer(fault.answer, "Planned", headers, page.encode())

            def _answer(self, status: int, reason: str, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status, reason)
                for key, value in headers:
                    if key.lower() not in {*_HOP_BY_HOP, "content-length"}:
                        self.send_header(key, value)
                if self.command == "HEAD":
                    length = next((value for key, value in headers if key.lower() == "content-length"), "0")
                    self.send_header("Content-Length", length)
                    self.end_headers()
                    return
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: tests read `FaultProxy.seen`."""

        return Handler
