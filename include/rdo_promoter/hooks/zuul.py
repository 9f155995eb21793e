"""The hook to Zuul."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from rdo_promoter.errors import ConfigError, PromoterError
from rdo_promoter.hooks.connection import TlsExtra, get_connection, read_extra, read_url, read_verify

if TYPE_CHECKING:
    from rdo_promoter.clients.zuul import ZuulClient

_EXAMPLE = "https://review.rdoproject.org/zuul"


class ZuulExtra(TlsExtra):
    """Extra of a Connection to Zuul.

    :param tenant: the tenant, such as ``rdoproject.org``.
    """

    tenant: str | None = None


class ZuulHook(BaseHook):
    """Makes a Zuul client of a Connection of type ``zuul``.

    The Connection's host is Zuul's address without ``/api``, the extra holds ``tenant`` and may hold ``ca``.
    Nothing else is needed: everybody may look, and nothing is changed. How its form looks is declared in
    `rdo_promoter.provider`.

    :param zuul_conn_id: the Connection.
    """

    conn_name_attr = "zuul_conn_id"
    default_conn_name = "zuul_default"
    conn_type = "zuul"
    hook_name = "Zuul"

    def __init__(self, zuul_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.zuul_conn_id = zuul_conn_id

    def get_conn(self) -> ZuulClient:
        """Return a client.

        :raises ConfigError: when the Connection is incomplete.
        """
        return self._client()

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the tenant's newest build: the test button of the UI."""
        try:
            # Somebody waits at the button, so it is asked once.
            with self._client(retries=0) as client:
                client.check()
                return True, f"Zuul {client.url} answers for tenant {client.tenant}; nothing was changed"
        except PromoterError as error:
            return False, str(error)

    def _client(self, *, retries: int = 2) -> ZuulClient:
        from rdo_promoter.clients.zuul import ZuulClient

        connection = get_connection(self.zuul_conn_id, (self.conn_type,))
        tenant = read_extra(connection, ZuulExtra).tenant
        if tenant is None:
            raise ConfigError(
                f"extra of Connection '{self.zuul_conn_id}' names no 'tenant': add the tenant whose "
                'pipelines test the builds, for example {"tenant": "rdoproject.org"}'
            )
        return ZuulClient(
            read_url(connection, _EXAMPLE),
            tenant.strip(),
            verify=read_verify(connection),
            retries=retries,
            source=f"Connection '{self.zuul_conn_id}'",
        )
