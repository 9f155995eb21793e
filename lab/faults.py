"""A fault proxy: a real HTTP server before a real service, which breaks the answers it is told to break."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from lab import relay
from lab.relay import Answer, Request
from lab.service import HOST


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


class FaultProxy:
    """Stands before one HTTP service; used as a context manager.

    :param target: address of the service.
    :param tls: certificate and key, to speak HTTPS; the service itself speaks HTTP.
    """

    def __init__(self, target: str, *, tls: tuple[Path, Path] | None = None) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or HOST, parts.port or 80
        #: Replace these headers in each answer of the service from now on.
        self.headers: dict[str, str] = {}
        self._lock = threading.Lock()
        self._faults: list[list[Fault]] = []
        self._seen: list[Request] = []
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

    def seen(self, method: str = "", path: str = "") -> list[Request]:
        """Return the requests so far, of this method and with this part in the path."""
        with self._lock:
            return [one for one in self._seen if method in ("", one.method) and path in one.path]

    @property
    def pending(self) -> int:
        """How many planned faults have not happened: a test that leaves some has not tested them."""
        with self._lock:
            return sum(len(left) for left in self._faults)

    def _take(self, seen: Request) -> Fault | None:
        with self._lock:
            self._seen.append(seen)
            for left in self._faults:
                if left and left[0].hits(seen.method, seen.path):
                    return left.pop()
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                request = relay.read(self)
                fault = proxy._take(request)
                if fault is None:
                    self._forward(request)
                    return
                if fault.forward:
                    relay.ask(request, proxy._host, proxy._port)
                if fault.effect is not None:
                    fault.effect()
                if fault.through:
                    self._forward(request)
                elif fault.answer is None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                else:
                    self._answer(_planned(fault.answer, fault.location))

            def _forward(self, request: Request) -> None:
                answer = relay.ask(request, proxy._host, proxy._port)
                ours = {name.lower() for name in proxy.headers}
                kept = (header for header in answer.headers if header[0].lower() not in ours)
                self._answer(replace(answer, headers=(*kept, *proxy.headers.items())))

            def _answer(self, answer: Answer) -> None:
                self.wfile.write(b"".join(relay.encode(answer, self)))

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: tests read `FaultProxy.seen`."""

        return Handler


def _planned(status: int, location: str | None) -> Answer:
    page = f"<html><title>{status} Planned</title><p>planned by the fault proxy</p></html>"
    headers = (("Content-Type", "text/html"), *((("Location", location),) if location is not None else ()))
    return Answer(status, "Planned", headers, page.encode())
