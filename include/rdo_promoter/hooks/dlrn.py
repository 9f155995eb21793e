"""The hook to DLRN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from rdo_promoter.errors import ConfigError, PromoterError
from rdo_promoter.hooks.connection import get_connection, read_url, read_verify

if TYPE_CHECKING:
    from rdo_promoter.clients.dlrn import DlrnClient

_EXAMPLE = "https://trunk.rdoproject.org/api-centos9-master-uc"


class DlrnHook(BaseHook):
    """Makes a DLRN client of a Connection of type ``dlrn``.

    The Connection's host is the address of the API, login and password are those of the API, and the
    extra may hold ``ca``. How its form looks is declared in `rdo_promoter.provider`.

    :param dlrn_conn_id: the Connection.
    :param repo_url: address of the repository tree; it belongs to a release and stands in its file.
    """

    conn_name_attr = "dlrn_conn_id"
    default_conn_name = "dlrn_default"
    conn_type = "dlrn"
    hook_name = "DLRN"

    def __init__(self, dlrn_conn_id: str = default_conn_name, repo_url: str | None = None) -> None:
        super().__init__()
        self.dlrn_conn_id = dlrn_conn_id
        self.repo_url = repo_url

    def get_conn(self) -> DlrnClient:
        """Return a client.

        :raises ConfigError: when the Connection is incomplete, or no `repo_url` was given.
        """
        if self.repo_url is None:
            raise ConfigError(
                f"DlrnHook('{self.dlrn_conn_id}') has no repo_url: pass the release's dlrn.repo_url, "
                "for example https://trunk.rdoproject.org/centos9-master"
            )
        return self._client(self.repo_url)

    def test_connection(self) -> tuple[bool, str]:
        """Log in to the API without changing anything: the test button of the UI."""
        try:
            connection = get_connection(self.dlrn_conn_id, (self.conn_type,))
            url = read_url(connection, _EXAMPLE)
            # A Connection knows no repository tree, and logging in asks none.
            # Somebody waits at the button, so it is asked once.
            with self._client(self.repo_url or url, retries=0) as client:
                client.check_credentials()
        except PromoterError as error:
            return False, str(error)
        return True, f"DLRN API {url} accepts user {connection.login}; nothing was changed"

    def _client(self, repo_url: str, *, retries: int = 4) -> DlrnClient:
        from rdo_promoter.clients.dlrn import DlrnClient

        connection = get_connection(self.dlrn_conn_id, (self.conn_type,))
        return DlrnClient(
            read_url(connection, _EXAMPLE),
            repo_url,
            username=connection.login or None,
            password=connection.password or None,
            verify=read_verify(connection),
            retries=retries,
            source=f"Connection '{self.dlrn_conn_id}'",
        )
