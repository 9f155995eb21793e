"""The hook to a container registry."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.connection import get_connection, read_url, read_verify

if TYPE_CHECKING:
    from rdo_promoter.clients.registry import Registry

#: What people call docker.io, and where its API is. The name in an image's name has no API, and
#: ``https://index.docker.io/v1/`` is what `docker login` writes down.
_DOCKER_HUB = ("docker.io", "www.docker.io", "index.docker.io", "hub.docker.com")
_DOCKER_HUB_API = "https://registry-1.docker.io"


class RegistryHook(BaseHook):
    """Makes a registry client of a Connection of type ``docker``, which the docker provider brings.

    The Connection's host is the registry's address, with https unless it says otherwise; login and
    password may both be empty for an open registry; the extra may hold ``ca``, which is to have signed the
    certificate of the registry's token server, too, when it asks for bearer tokens. For Docker Hub the host
    may be ``docker.io``: its API, ``https://registry-1.docker.io``, is used, and password is an access token
    with the right to write. For quay.io the host is ``quay.io`` and the login a robot, ``namespace+name``.
    The provider's own hook talks to a Docker engine, which is not needed here.

    :param registry_conn_id: the Connection.
    :param name: the registry's name in the release file, for messages.
    """

    conn_name_attr = "registry_conn_id"
    default_conn_name = "docker_default"
    conn_type = "docker"
    hook_name = "Docker"

    def __init__(self, registry_conn_id: str = default_conn_name, name: str | None = None) -> None:
        super().__init__()
        self.registry_conn_id = registry_conn_id
        self.name = name or registry_conn_id

    def get_conn(self) -> Registry:
        """Return a client.

        :raises ConfigError: when the Connection is incomplete.
        """
        from rdo_promoter.clients.registry import Registry

        connection = get_connection(self.registry_conn_id, (self.conn_type,))
        if bool(connection.login) != bool(connection.password):
            raise ConfigError(
                f"Connection '{self.registry_conn_id}' has only one of login and password: set both, "
                "or none for an open registry"
            )
        return Registry(
            _api(read_url(connection, "https://registry.example.org")),
            name=self.name,
            username=connection.login or None,
            password=connection.password or None,
            verify=read_verify(connection),
        )


def _api(url: str) -> str:
    """Return the address of a registry's API, which Docker Hub has elsewhere."""
    parts = urlsplit(url)
    is_hub = parts.hostname in _DOCKER_HUB and parts.port is None and parts.path in ("", "/v1", "/v2")
    return _DOCKER_HUB_API if is_hub else url
