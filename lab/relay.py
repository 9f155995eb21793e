"""HTTP requests that a proxy of the lab passes on to a real service, and the answers that it passes back."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

#: Headers that concern one connection, not the message.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})

#: Seconds for the service to answer.
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Request:
    """A request as it came in.

    :param path: with its query.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer, whole.

    :param headers: may hold a name more than once.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)


def read(handler: BaseHTTPRequestHandler) -> Request:
    """Return the request whose first line and headers the handler has read."""
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = _chunks(handler)
    else:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    return Request(handler.command, handler.path, dict(handler.headers.items()), body)


def forward(request: Request, upstream: http.client.HTTPConnection) -> Answer:
    """Send a request over a connection of its own; the Host stays what the client asked for.

    Registries build the address of an upload from it.
    """
    upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
    for name, value in request.headers.items():
        if name.lower() not in {*_HOP_BY_HOP, "content-length", "expect"}:
            upstream.putheader(name, value)
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        upstream.putheader("Content-Length", str(len(request.body)))
    upstream.endheaders(request.body or None)
    answer = upstream.getresponse()
    return Answer(answer.status, answer.reason, tuple(answer.getheaders()), answer.read())


def ask(request: Request, host: str, port: int) -> Answer:
    """Send a request to a service that speaks plain HTTP."""
    with closing(http.client.HTTPConnection(host, port, timeout=_TIMEOUT)) as upstream:
        return forward(request, upstream)


def encode(answer: Answer, handler: BaseHTTPRequestHandler) -> tuple[bytes, bytes]:
    """Return head and body of an answer as the handler's client has to get them."""
    lines = [f"{handler.protocol_version} {answer.status} {answer.reason}"]
    headers = [(name, value) for name, value in answer.headers if name.lower() not in _HOP_BY_HOP]
    if handler.command == "HEAD" or answer.status in (204, 304):
        # Its length, if any, is that of a body which is not sent.
        body = b""
    else:
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        headers.append(("Content-Length", str(len(answer.body))))
        body = answer.body
    lines += [f"{name}: {value}" for name, value in headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"), body


def connection(host: str, port: int, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Return a connection to a service, not yet made."""
    if tls is None:
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=tls)


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    body = bytearray()
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass  # trailers, which nobody sends
    return bytes(body)
