"""An outage: a proxy before one real service, which is broken and mended while it runs."""

from __future__ import annotations

import contextlib
import difflib
import http.client
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import relay
from lab.certificates import server_files
from lab.full_disk import answer_when_full
from lab.ports import free_port
from lab.registries import LabRegistry
from lab.relay import Answer, Request
from lab.service import HOST, LabError

#: What can be wrong with a service, and what its clients see then.
MODES = {
    "down": "connections are refused, those that exist are cut",
    "slow": "what was asked for is done, and its answer comes late",
    "429": "nothing is done, and the answer is 429 with Retry-After",
    "503": "nothing is done, and the answer is 503",
    "cut": "what was asked for is done, and its answer ends in the middle",
    "full": "what takes space fails as it does when the disk is full",
}

#: Those that make sense for a connection of which nothing but its bytes is known.
TCP_MODES = ("down", "slow", "cut")

#: Bytes of the service after which a connection is cut at TCP level. OpenSSH's part of a login takes
#: 2650 of them (measured), so what is cut is the first work after it.
CUT_AFTER = 2750

_CHUNK = 2**16

_TEXT = ("Content-Type", "text/plain")


@dataclass(frozen=True)
class _State:
    how: str | None = None
    seconds: float = 0.0
    after: int = 0
    #: HTTP requests that had come when this began.
    since: int = 0
    retry_after: int = 1

    @property
    def down(self) -> bool:
        return self.how == "down" and self.after == 0

    def answer_to(self, request: Request) -> Answer | None:
        """Return what is answered in place of the service."""
        if self.how == "429":
            return Answer(429, "Too Many Requests", (("Retry-After", str(self.retry_after)), _TEXT))
        if self.how == "503":
            return Answer(503, "Service Unavailable", (_TEXT,))
        return answer_when_full(request) if self.how == "full" else None

    def hits(self, request: int) -> bool:
        """Tell whether it is the turn of a request; without a number to wait for also of one under way."""
        return self.after == 0 or request > self.since + self.after


class Outage:
    """Stands before one service, used as a context manager; as long as nothing is broken it only passes on.

    :param host: where the service is.
    :param port: its port.
    :param tls: certificate and key, when the service speaks TLS with them; the proxy does as well.
    :param http: False for a service that speaks something else, whose bytes are passed on as they are.
    :param listen: the proxy's own port; by default a free one.
    :param names: what stands in place of what in the headers of answers, so that an address that the service
        names is reached over another proxy.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: tuple[Path, Path] | None = None,
        *,
        http: bool = True,
        listen: int | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._names = dict(names or {})
        self._target = (host, port)
        self._http = http
        self._server_tls = _server_context(tls) if tls else None
        self._client_tls = _client_context(tls[0]) if tls else None
        self._changed = threading.Condition()
        self._state = _State()
        self._closed = False
        self._requests = 0
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listener = socket.socket()
        # Connections of before, whose ports wait for stragglers, are no reason not to listen.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = free_port() if listen is None else listen
        try:
            self._listener.bind((HOST, self.port))
            self._listener.listen(128)
        except OSError as error:
            self._listener.close()
            raise LabError(f"the outage cannot listen on port {self.port}: {error}") from error

    @property
    def url(self) -> str:
        """The address to use in place of the service's."""
        return f"{'https' if self._server_tls else 'http'}://{HOST}:{self.port}"

    @property
    def requests(self) -> int:
        """How many HTTP requests came, answered or not."""
        with self._changed:
            return self._requests

    @property
    def broken(self) -> str | None:
        """What is wrong at the moment, None when nothing is."""
        return self._state.how

    def break_(
        self, how: str, *, seconds: float = 5.0, after: int | None = None, retry_after: int = 1
    ) -> None:
        """Break the service, also when it is broken in another way already.

        :param how: one of `MODES`.
        :param seconds: by how much each answer comes late when it is slow.
        :param after: how much goes well before it: HTTP requests from now on; at TCP level bytes of the
            service on each connection, by default none, and `CUT_AFTER` before it is cut.
        :param retry_after: seconds that a 429 asks its client to wait.
        :raises LabError: when there is no such way.
        """
        known = tuple(MODES) if self._http else TCP_MODES
        if how not in known:
            near = difflib.get_close_matches(how, known, n=1)
            raise LabError(
                f"a service cannot be broken by {how!r}{f', did you mean {near[0]!r}' if near else ''}; "
                f"there are {', '.join(known)}"
            )
        if after is None:
            after = CUT_AFTER if how == "cut" and not self._http else 0
        self._switch(_State(how, seconds, after, self.requests, retry_after))

    def mend(self) -> None:
        """Let everything work again; answers that are late come at once."""
        self._switch(_State())

    @contextlib.contextmanager
    def leading_to(self, port: int) -> Iterator[None]:
        """Pass what begins from now on to another port, where the service is as clients shall find it."""
        target, self._target = self._target, (self._target[0], port)
        try:
            yield
        finally:
            self._target = target

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            _shut(self._listener, *self._open)
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()
        self._listener.close()

    def _switch(self, state: _State) -> None:
        with self._changed:
            before, self._state = self._state, state
            if state.down and not before.down:
                # A socket that was shut keeps its port and refuses connections until it listens again.
                _shut(self._listener, *self._open)
            elif before.down and not state.down:
                self._listener.listen(128)
            self._changed.notify_all()

    def _go_down(self, planned: _State) -> None:
        """Go down, as it was planned for now, unless it was mended meanwhile."""
        with self._changed:
            if self._state is planned:
                self._switch(_State("down"))

    def _run(self, target: Callable[..., None], *arguments: object) -> bool:
        """Run something in a thread; return False when it is too late for that."""

        def run() -> None:
            # A connection that was cut, by us or by somebody else, is what this is about.
            with contextlib.suppress(OSError, http.client.HTTPException):
                target(*arguments)
            with self._changed:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True, name=f"outage-{self.port}")
        with self._changed:
            if not self._closed:
                self._threads.add(thread)
                thread.start()
            return not self._closed

    def _accept(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._state.down)
                if self._closed:
                    return
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue  # it was shut meanwhile
            if not self._run(self._answer_http if self._http else self._pass_bytes, client):
                client.close()

    @contextlib.contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[socket.socket]:
        """Keep a connection where it can be cut, and close it in the end."""
        with contextlib.closing(connection):
            with self._changed:
                if self._closed or self._state.down:
                    raise ConnectionAbortedError("broken meanwhile")
                self._open.add(connection)
            try:
                yield connection
            finally:
                with self._changed:
                    self._open.discard(connection)

    def _answer_http(self, client: socket.socket) -> None:
        if self._server_tls is not None:
            client = self._server_tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        with self._kept(client):
            if isinstance(client, ssl.SSLSocket):
                client.do_handshake()
            _Handler(client, self)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        request = relay.read(handler)
        with self._changed:
            self._requests += 1
            number, state = self._requests, self._state
        hit = state.hits(number)
        if hit and state.how == "down":
            self._go_down(state)
            return
        answer = (state.answer_to(request) if hit else None) or self._forward(request)
        state = self._late(number)
        head, body = relay.encode(self._renamed(answer), handler)
        if state.how == "cut" and state.hits(number):
            handler.close_connection = True
            # An answer without its last headers would pass for a whole one.
            handler.wfile.write(head + body[: len(body) // 2] if body else head[:10])
        else:
            handler.wfile.write(head + body)

    def _renamed(self, answer: Answer) -> Answer:
        headers = answer.headers
        for theirs, ours in self._names.items():
            headers = tuple((name, value.replace(theirs, ours)) for name, value in headers)
        return replace(answer, headers=headers)

    def _forward(self, request: Request) -> Answer:
        upstream = relay.connection(*self._target, self._client_tls)
        upstream.connect()
        with self._kept(upstream.sock):
            return relay.forward(request, upstream)

    def _late(self, number: int) -> _State:
        """Wait as long as it is slow, and return what is wrong then.

        :param number: which HTTP request it is, or how many bytes a connection has carried.
        """
        with self._changed:
            if self._state.how == "slow" and self._state.hits(number):
                self._changed.wait_for(lambda: self._closed or self._state.how != "slow", self._state.seconds)
            return self._state

    def _pass_bytes(self, client: socket.socket) -> None:
        with (
            self._kept(client),
            self._kept(socket.create_connection(self._target)) as service,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(client, selectors.EVENT_READ, (client, service))
            selector.register(service, selectors.EVENT_READ, (service, client))
            carried = 0
            while True:
                for key, _ in selector.select():
                    source, sink = key.data
                    if not (data := source.recv(_CHUNK)):
                        return
                    if source is service:
                        state = self._late(carried + len(data))
                        if state.how in ("cut", "down") and carried + len(data) > state.after:
                            sink.sendall(data[: max(0, state.after - carried)])
                            if state.how == "down":
                                self._go_down(state)
                            return
                        carried += len(data)
                    sink.sendall(data)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, outage: Outage) -> None:
        self._outage = outage
        super().__init__(connection, (HOST, 0), None)  # type: ignore[arg-type]  # it needs no server

    def _serve(self) -> None:
        self._outage.answer(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: those who broke it know."""


def before(registry: LabRegistry) -> Outage:
    """Return an outage before one of the lab's registries."""
    tls = server_files(registry.folder) if registry.ca else None
    return Outage(HOST, registry.service.port, tls)


def _shut(*sockets: socket.socket) -> None:
    """Wake up who waits for these; they close them."""
    for each in sockets:
        with contextlib.suppress(OSError):
            # Not TLS's own way, which takes the socket away from those who use it.
            socket.socket.shutdown(each, socket.SHUT_RDWR)


def _server_context(tls: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    return context


def _client_context(certificate: Path) -> ssl.SSLContext:
    """Trust the service's own certificate, and nobody else's."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
