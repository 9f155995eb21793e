"""Where a container engine is, and how to reach it safely."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rdo_promoter.clients.engine import engine_errors
from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.connection import Extra, get_connection, read_extra

if TYPE_CHECKING:
    from docker import APIClient

_TLS = ("tls_ca_cert", "tls_client_cert", "tls_client_key")

#: Seconds for one answer; pulling an image has as long between two lines of its progress.
_TIMEOUT = 60


class EngineExtra(Extra):
    """Extra of a Connection to an engine, by the names of DockerOperator's arguments.

    :param tls_ca_cert: path of the CA certificate that signed the engine's.
    :param tls_client_cert: path of our certificate.
    :param tls_client_key: path of its key.
    """

    tls_ca_cert: str | None = None
    tls_client_cert: str | None = None
    tls_client_key: str | None = None


@dataclass(frozen=True)
class Engine:
    """An engine's address.

    :param url: as DockerOperator's ``docker_url``.
    :param tls: CA certificate, our certificate and its key; None on this machine's own socket.
    """

    url: str
    tls: tuple[str, str, str] | None = None

    def client(self) -> APIClient:
        """Return a client of docker's library.

        :raises ServiceError: when the engine does not answer.
        """
        from docker import APIClient, TLSConfig

        tls = False
        if self.tls is not None:
            ca, cert, key = self.tls
            tls = TLSConfig(client_cert=(cert, key), ca_cert=ca, verify=True)
        with engine_errors(f"container engine {self.url}"):
            return APIClient(base_url=self.url, tls=tls, timeout=_TIMEOUT, version="auto")


def engine_of(conn_id: str) -> Engine:
    """Return the engine of a Connection of type ``docker``.

    Its host is ``unix:///run/docker.sock``, or ``tcp://host:2376`` with three TLS files in the extra: whoever
    may speak to an engine is root on its machine.

    :raises ConfigError: when the Connection is incomplete.
    """
    connection = get_connection(conn_id, ("docker",))
    where = f"Connection '{conn_id}'"
    url = (connection.host or "").strip()
    try:
        parts = urlsplit(url)
        port = parts.port or connection.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1:
        return Engine(url)
    if parts.scheme not in ("tcp", "https") or not parts.hostname or "@" in parts.netloc:
        raise ConfigError(
            f"host of {where} is no container engine: write unix:///run/docker.sock, or tcp://host:2376 (a "
            "registry has a Connection of its own)"
        )
    extra = read_extra(connection, EngineExtra)
    files = [getattr(extra, name) for name in _TLS]
    if not all(files):
        missing = ", ".join(f"'{name}'" for name, file in zip(_TLS, files, strict=True) if not file)
        raise ConfigError(
            f"extra of {where} has no {missing}: an engine on the network is reached with TLS and a "
            "certificate of our own, or anybody could be root on its machine"
        )
    for name, file in zip(_TLS, files, strict=True):
        if not Path(str(file)).is_file():
            raise ConfigError(f"extra '{name}' of {where} names {file}, which does not exist on this machine")
    return Engine(f"tcp://{parts.hostname}:{port or 2376}", (files[0], files[1], files[2]))
