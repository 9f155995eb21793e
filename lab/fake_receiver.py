"""A fake receiver of hand-offs: no product's builds, but what ``docs/how-to/hand-off.md`` asks of one.

There is no real one to run: it belongs to whoever builds the product. It keeps what is posted, and decides
when a test or a demonstration tells it to.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.service import HOST


class FakeReceiver:
    """The fake's state; `serve` gives it an address.

    :param username: its only user, who may also show the token.
    :param password: that user's password.
    """

    def __init__(self, username: str = "rdo", password: str = "") -> None:
        self.username = username
        self.password = password or secrets.token_hex(8)
        self.token = secrets.token_hex(17)
        #: What was handed off, by its key.
        self.kept: dict[str, bytes] = {}
        #: What is answered about a hand-off, by its key: nothing is decided about the others.
        self.decided: dict[str, dict[str, object]] = {}
        #: What is decided about each at once, None to decide later.
        self.decides: dict[str, object] | None = None
        #: What is decided about each when somebody asks for it.
        self.decides_when_asked: dict[str, object] | None = None
        #: All requests as method and path.
        self.requests: list[str] = []
        #: The next one is kept, and the answer is lost.
        self.lose_answer = False
        #: Answers 409 to what it has already, as some do; otherwise 200.
        self.conflicts = False
        #: Answered to everything: a status and a JSON object.
        self.broken: tuple[int, dict[str, object]] | None = None
        self.url = ""
        self.lock = threading.RLock()

    @property
    def posts(self) -> int:
        """How often was posted."""
        return sum(each.startswith("POST") for each in self.requests)

    def acknowledge(self, key: str) -> None:
        """Take a hand-off."""
        self.decided[key] = {"acknowledged": True}

    def reject(self, key: str, reason: str) -> None:
        """Take it not."""
        self.decided[key] = {"rejected": True, "reason": reason}

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Answer at an address until the end of the `with` block."""
        fake = self

        class Handler(_Handler):
            receiver = fake

        with ThreadingHTTPServer((HOST, port), Handler) as server:
            server.daemon_threads = True
            self.url = f"http://{HOST}:{server.server_port}/handoffs"
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield self.url
            finally:
                server.shutdown()
                thread.join()

    def connection(self, *, token: bool = False) -> dict[str, object]:
        """Return the Airflow Connection.

        :param token: with the token in place of user and password.
        """
        login = {"password": self.token} if token else {"login": self.username, "password": self.password}
        return {"conn_type": "handoff_receiver", "host": self.url, **login}


class _Handler(BaseHTTPRequestHandler):
    receiver: FakeReceiver
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing."""

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fake = self.receiver
        with fake.lock:
            fake.requests.append(f"{method} {self.path}")
            if fake.broken is not None:
                self._send(*fake.broken)
            elif not self._let_in():
                self._send(401, {"reason": "who are you?"})
            elif method == "POST" and self.path == "/handoffs":
                self._take(str(self.headers.get("Idempotency-Key")), body)
            elif (key := self.path.removeprefix("/handoffs/")) in fake.kept:
                if fake.decides_when_asked is not None:
                    fake.decided.setdefault(key, fake.decides_when_asked)
                self._send(200, {"key": key, **fake.decided.get(key, {})})
            else:
                self._send(404, {"reason": "no such hand-off"})

    def _take(self, key: str, body: bytes) -> None:
        fake = self.receiver
        known = key in fake.kept
        if known and fake.kept[key] != body:
            self._send(422, {"key": key, "reason": "another hand-off had this key"})
            return
        fake.kept[key] = body
        if fake.decides is not None:
            fake.decided.setdefault(key, fake.decides)
        if fake.lose_answer:
            fake.lose_answer = False
            self.close_connection = True
            self.connection.close()
            return
        status = (409 if fake.conflicts else 200) if known else 202
        self._send(status, {"key": key, **fake.decided.get(key, {})})

    def _let_in(self) -> bool:
        fake = self.receiver
        basic = base64.b64encode(f"{fake.username}:{fake.password}".encode()).decode()
        return self.headers.get("Authorization") in (f"Basic {basic}", f"Bearer {fake.token}")

    def _send(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Run a fake receiver alone: it acknowledges what somebody asks for."""
    parser = argparse.ArgumentParser("python -m lab.fake_receiver", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--password-file", type=argparse.FileType(), required=True)
    arguments = parser.parse_args()
    fake = FakeReceiver(password=arguments.password_file.read().strip())
    fake.decides_when_asked = {"acknowledged": True}
    with fake.serve(arguments.port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
