"""The engine's `Services`, made from Airflow Connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry
from rdo_promoter.clients.zuul import ZuulClient
from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.dlrn import DlrnHook
from rdo_promoter.hooks.image_server import ImageServerHook
from rdo_promoter.hooks.registry import RegistryHook
from rdo_promoter.hooks.zuul import ZuulHook
from rdo_promoter.model.layout import Layout


@dataclass(frozen=True)
class ConnectionServices:
    """The clients of a release. Making one of these reads no Connection; asking for a client does.

    :param dlrn_conn_id: Connection of type ``dlrn``.
    :param repo_url: DLRN's repository tree.
    :param registries: for each registry its Connection (type ``docker``) and namespace.
    :param servers: for each image server its Connection (type ``sftp`` or ``ssh``), the release's folder,
        and how builds and links lie in it.
    :param zuul_conn_id: Connection of type ``zuul``, None in a release without one.
    """

    dlrn_conn_id: str
    repo_url: str
    registries: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    servers: Mapping[str, tuple[str, str, Layout]] = field(default_factory=dict)
    zuul_conn_id: str | None = None
    # A task asks one registry many questions; its client keeps the connections for them.
    _registries: dict[str, Registry] = field(default_factory=dict, init=False, repr=False, compare=False)

    def only(
        self, registries: Iterable[str] = (), servers: Iterable[str] = (), *, zuul: bool = False
    ) -> ConnectionServices:
        """Return these services without what is not named.

        :param registries: names that stay.
        :param servers: names that stay.
        :param zuul: whether the Zuul stays.
        """
        return ConnectionServices(
            self.dlrn_conn_id,
            self.repo_url,
            {name: self.registries[name] for name in dict.fromkeys(registries)},
            {name: self.servers[name] for name in dict.fromkeys(servers)},
            self.zuul_conn_id if zuul else None,
        )

    @cached_property
    def dlrn(self) -> DlrnClient:
        """The release's DLRN."""
        return DlrnHook(self.dlrn_conn_id, self.repo_url).get_conn()

    def zuul(self) -> ZuulClient:
        """Return a client of the Zuul whose jobs test the release's builds.

        :raises ConfigError: when the release names none, or its Connection cannot be used.
        """
        if self.zuul_conn_id is None:
            raise ConfigError("the release names no Zuul: add `zuul: {connection: ..., pipeline: ...}`")
        return ZuulHook(self.zuul_conn_id).get_conn()

    def registry(self, name: str) -> Registry:
        """Return the client of a registry."""
        if name not in self._registries:
            self._registries[name] = RegistryHook(self.registries[name][0], name).get_conn()
        return self._registries[name]

    def namespace(self, name: str) -> str:
        """Return the namespace that the release uses in a registry."""
        return self.registries[name][1]

    def server(self, name: str) -> AbstractContextManager[ImageServer]:
        """Open a connection to an image server, closed at the end of the `with` block."""
        connection, root, layout = self.servers[name]
        return ImageServerHook(connection, name, root, layout).connect()
