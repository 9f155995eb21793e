"""The lab's container registries: RDO's own, and two that stand in for docker.io and quay.io."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import requests
import yaml

from lab.certificates import server_certificate
from lab.prerequisites import REGISTRY, SKOPEO
from lab.secret_files import secret, write_secret
from lab.service import HOST, LabError, Service
from lab.tokens import ISSUER, SERVICE, TokenServer, token_server
from rdo_promoter.clients.http import make_session
from rdo_promoter.clients.registry import Registry


@dataclass(frozen=True)
class LabRegistry:
    """One registry of the lab and how to reach it.

    :param name: its name in messages.
    :param service: the process.
    :param folder: its configuration, secrets and storage.
    :param username: the login, None when it is open.
    :param password: its password.
    :param ca: certificate of the CA that signed its own, None when it speaks plain HTTP.
    :param issuer: the token server that it asks for tokens of, None when it asks for none.
    """

    name: str
    service: Service
    folder: Path
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    issuer: TokenServer | None = None

    @property
    def services(self) -> tuple[Service, ...]:
        """Its processes."""
        return (self.service, *([self.issuer.service] if self.issuer else []))

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self.ca else 'http'}://{self.host}"

    @property
    def host(self) -> str:
        """Host and port, as in the name of an image."""
        return f"{HOST}:{self.service.port}"

    def client(self, **options: Any) -> Registry:
        """Return a client with the login and the CA; options go to `Registry`."""
        access = {"username": self.username, "password": self.password, "verify": _verify(self.ca)}
        return Registry(self.url, **{"name": self.name, **access, **options})

    def inspect_raw(self, repository: str, reference: str) -> bytes:
        """Return a manifest as skopeo reads it: a second opinion, independent of this package.

        :param reference: tag or digest.
        :raises LabError: when skopeo cannot, with its message.
        """
        separator = "@" if reference.startswith("sha256:") else ":"
        access = ["--cert-dir", str(self.ca.parent)] if self.ca else ["--tls-verify=false"]
        if self.username:
            access += ["--authfile", str(self._auth_file())]
        image = f"docker://{self.host}/{repository}{separator}{reference}"
        done = subprocess.run(
            [SKOPEO.require(), "inspect", "--raw", *access, image], capture_output=True, check=False
        )
        if done.returncode != 0:
            raise LabError(f"skopeo cannot inspect {image}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _auth_file(self) -> Path:
        # A password on the command line can be seen by everybody on the machine.
        auth = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        file = self.folder / "auth.json"
        write_secret(file, json.dumps({"auths": {self.host: {"auth": auth}}}))
        return file


@dataclass(frozen=True)
class LabRegistries:
    """All registries of a lab.

    :param rdo: plain HTTP, open, as a registry inside a CI cloud.
    :param dockerhub: TLS with a CA of its own and basic auth.
    :param quay: TLS with a CA of its own and bearer tokens.
    """

    rdo: LabRegistry
    dockerhub: LabRegistry
    quay: LabRegistry

    def __iter__(self) -> Iterator[LabRegistry]:
        return iter((self.rdo, self.dockerhub, self.quay))


def registries(root: Path) -> LabRegistries:
    """Return the registries of the lab in this folder; they are not started.

    Secrets and certificates are made at the first call and kept.

    :param root: the lab's folder.
    """
    rdo, hub, quay = (root / "registries" / name for name in ("rdo", "dockerhub", "quay"))
    password = secret(hub / "password")
    _htpasswd(hub / "htpasswd", "promoter", password)
    basic = {"htpasswd": {"realm": "lab", "path": str(hub / "htpasswd")}}
    ca = server_certificate(quay)
    issuer = token_server("quay-tokens", root / "run", quay / "tokens", quay)
    return LabRegistries(
        rdo=_registry("rdo", root, rdo),
        dockerhub=_registry(
            "dockerhub", root, hub, basic, username="promoter", password=password, ca=server_certificate(hub)
        ),
        quay=_registry(
            "quay",
            root,
            quay,
            _token_auth(issuer),
            username="promoter",
            password=issuer.password("promoter"),
            ca=ca,
            issuer=issuer,
        ),
    )


def _token_auth(issuer: TokenServer) -> dict[str, object]:
    names = {"realm": issuer.realm, "service": SERVICE, "issuer": ISSUER}
    return {"token": {**names, "rootcertbundle": str(issuer.trusted)}}


def _registry(
    name: str,
    root: Path,
    folder: Path,
    auth: Mapping[str, object] | None = None,
    *,
    username: str | None = None,
    password: str | None = None,
    ca: Path | None = None,
    issuer: TokenServer | None = None,
) -> LabRegistry:
    def command(port: int) -> Sequence[str]:
        program = REGISTRY.require()
        conf = folder / "conf.yml"
        write_secret(conf, yaml.safe_dump(_configuration(folder, port, auth)))
        return [program, "serve", str(conf)]

    def ready(port: int) -> bool:  # noqa: ARG001 - the address has it
        # Any answer will do: whether its token server runs is not the registry's affair.
        try:
            with make_session(verify=_verify(ca), retries=0) as session:
                return session.get(f"{registry.url}/v2/").status_code in (200, 401)
        except requests.RequestException:
            return False

    # Half of its work would be collecting garbage; memory is not scarce here.
    env = {"GOGC": "400"}
    service = Service(name=f"registry-{name}", run=root / "run", command=command, ready=ready, env=env)
    registry = LabRegistry(name, service, folder, username, password, ca, issuer)
    return registry


def _verify(ca: Path | None) -> str | bool:
    return str(ca) if ca else True


def _configuration(folder: Path, port: int, auth: Mapping[str, object] | None) -> dict[str, object]:
    http: dict[str, object] = {"addr": f"{HOST}:{port}", "secret": secret(folder / "http-secret")}
    conf: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage"), "maxthreads": 100},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        # docker.io takes images with layers that are kept elsewhere; distribution has to be told.
        "validation": {"manifests": {"urls": {"allow": ["^https://"]}}},
        "http": http,
    }
    if auth is not None:
        http["tls"] = {"certificate": str(folder / "server.crt"), "key": str(folder / "server.key")}
        conf["auth"] = dict(auth)
    return conf


def _htpasswd(file: Path, username: str, password: str) -> None:
    # The registry checks the hash for each request. The lowest cost is enough: the password is random.
    if not file.exists():
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
        write_secret(file, f"{username}:{hashed}\n")
