"""The lab's token server: what stands beside a registry that asks for bearer tokens.

The lab's own issuer; registries as docker.io and quay.io have one each. It speaks the same protocol
(distribution specification, "Token Authentication"): basic authentication in, a signed token out, which
allows as much of what was asked for as the account may do. It writes a line about each token that it
issued, but never the token.
"""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lab.certificates import server_certificate
from lab.jwt import Signer
from lab.ports import HOST
from lab.secret_files import secret, write_secret
from lab.service import Service
from rdo_promoter.clients.registry.bearer import Scope, Scopes, parse_scopes

#: Who issues the tokens, and for whom: the registry compares both with its configuration.
ISSUER, SERVICE = "lab-issuer", "lab-quay"

#: What accounts may do with any repository. `promoter` is the promotions', `reader` may not push.
ACCOUNTS: Mapping[str, tuple[str, ...]] = {"promoter": ("pull", "push"), "reader": ("pull",)}

#: Everybody may pull from repositories that begin so.
PUBLIC = "public/"

#: Seconds that a token lasts.
LIFETIME = 300

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be changed while the server runs.

    :param expires_in: seconds that a token lasts, as the answer says.
    :param valid: seconds that a token lasts, as the token itself says. Distribution adds 60 s of leeway, so
        that a token of -60 is at its end.
    """

    expires_in: int = LIFETIME
    valid: int = LIFETIME


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was issued.

    :param account: for whom, empty for an anonymous user.
    :param asked: the scopes that were asked for, as they were spelled.
    :param granted: the scopes that the token has.
    """

    account: str
    asked: tuple[str, ...]
    granted: tuple[str, ...]


@dataclass(frozen=True)
class TokenServer:
    """A token server of the lab.

    :param service: the process.
    :param folder: its accounts, settings and signing key.
    """

    service: Service
    folder: Path

    @property
    def realm(self) -> str:
        """The address that the registry names."""
        return f"https://{HOST}:{self.service.port}/token"

    @property
    def trusted(self) -> Path:
        """The certificate that the registry has to trust: of the CA that signed the signing key's."""
        return self.folder / "signing" / "ca" / "ca.crt"

    def password(self, account: str) -> str:
        """Return the password of an account."""
        return secret(self.folder / "accounts" / account)

    def configure(self, settings: Settings) -> None:
        """Change the settings for the tokens to come."""
        write_secret(self.folder / "settings.json", json.dumps(asdict(settings)))

    def issued(self, part: str = "") -> list[Issued]:
        """Return the tokens that were issued, oldest first.

        :param part: only those with this text in what was asked for.
        """
        log = self.service.log
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        found = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("issued ")]
        return [
            Issued(one["account"], tuple(one["asked"]), tuple(one["granted"]))
            for one in found
            if part in " ".join(one["asked"])
        ]


def token_server(name: str, run: Path, folder: Path, tls: Path) -> TokenServer:
    """Return a token server, not started; secrets and keys are made at the first call and kept.

    :param name: of the service.
    :param run: folder of the lab's state files.
    :param folder: its own.
    :param tls: where `server_certificate` has put certificate and key.
    """
    server_certificate(folder / "signing")
    for account in ACCOUNTS:
        secret(folder / "accounts" / account)
    env = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'include'}", "PYTHONUNBUFFERED": "1"}

    def command(port: int) -> Sequence[str]:
        return [sys.executable, "-m", "lab.tokens", str(folder), str(tls), str(port)]

    return TokenServer(Service(name, run, command, env=env), folder)


def granted(account: str, asked: Iterable[str]) -> Scopes:
    """Return what a token for an account allows: as much of what was asked for as the account may do.

    :param account: empty for an anonymous user.
    :param asked: scopes as they came.
    """
    found = []
    for scope in parse_scopes(" ".join(asked)):
        may = {*ACCOUNTS.get(account, ()), *(("pull",) if scope.name.startswith(PUBLIC) else ())}
        actions = tuple(action for action in scope.actions if action in may)
        if scope.kind == "repository" and actions:
            found.append(Scope(scope.kind, scope.name, actions))
    return tuple(found)


def serve(folder: Path, tls: Path, port: int) -> None:
    """Answer requests until the process ends.

    :param folder: the token server's.
    :param tls: where certificate and key are.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server.crt", tls / "server.key")
    server = _Server((HOST, port), _handler(folder))
    # The handshake is made by the thread of the connection, not by the one that accepts them all.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


class _Server(ThreadingHTTPServer):
    # Clients come with as many connections at once as they have threads.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that were broken off."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    signer = Signer(folder / "signing")
    passwords = {account: (folder / "accounts" / account).read_text() for account in ACCOUNTS}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            service, asked = query.get("service", [""])[0], query.get("scope", [])
            account = _account(self.headers.get("Authorization"), passwords)
            if urlsplit(self.path).path != "/token":
                self._answer(404, _problem("NOT_FOUND", "ask /token"))
            elif service != SERVICE:
                self._answer(400, _problem("UNSUPPORTED", f"the service here is {SERVICE}"))
            elif account is None:
                self._answer(401, _problem("UNAUTHORIZED", "incorrect username or password"))
            else:
                scopes, settings = granted(account, asked), _settings(folder)
                token = signer.token(ISSUER, account, service, scopes, valid=settings.valid)
                about = {"account": account, "asked": asked, "granted": [str(scope) for scope in scopes]}
                # In one piece: other threads write, too.
                sys.stdout.write(f"issued {json.dumps(about)}\n")
                self._answer(200, {"token": token, "access_token": token, "expires_in": settings.expires_in})

        def _answer(self, status: int, content: Mapping[str, object]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", f'Basic realm="{ISSUER}"')
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing: the log is about the tokens that were issued."""

    return Handler


def _account(header: str | None, passwords: Mapping[str, str]) -> str | None:
    """Return who asks: empty without a login, None for a wrong one."""
    if header is None:
        return ""
    scheme, _, encoded = header.partition(" ")
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    expected = passwords.get(name)
    known = expected is not None and hmac.compare_digest(password.encode(), expected.encode())
    return name if scheme.lower() == "basic" and known else None


def _settings(folder: Path) -> Settings:
    file = folder / "settings.json"
    return replace(Settings(), **json.loads(file.read_text())) if file.exists() else Settings()


def _problem(code: str, message: str) -> dict[str, object]:
    return {"errors": [{"code": code, "message": message}]}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
