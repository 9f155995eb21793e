"""The hook to a Jenkins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from rdo_promoter.errors import ConfigError, PromoterError
from rdo_promoter.hooks.connection import get_connection, read_url, read_verify

if TYPE_CHECKING:
    from rdo_promoter.clients.jenkins import JenkinsClient

_EXAMPLE = "https://jenkins.example.org"


class JenkinsHook(BaseHook):
    """Makes a Jenkins client of a Connection of type ``jenkins``.

    The Connection's host is Jenkins's address, with https unless it says otherwise; login is a user and
    password that user's API token; the extra may hold ``ca``.

    :param jenkins_conn_id: the Connection.
    """

    conn_name_attr = "jenkins_conn_id"
    default_conn_name = "jenkins_default"
    conn_type = "jenkins"
    hook_name = "Jenkins"

    def __init__(self, jenkins_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.jenkins_conn_id = jenkins_conn_id

    def get_conn(self, *, retries: int = 4) -> JenkinsClient:
        """Return a client.

        :param retries: how often a question is asked again at most.
        :raises ConfigError: when the Connection is incomplete.
        """
        from rdo_promoter.clients.jenkins import JenkinsClient

        connection = get_connection(self.jenkins_conn_id, (self.conn_type,))
        where = f"Connection '{self.jenkins_conn_id}'"
        if bool(connection.login) != bool(connection.password):
            raise ConfigError(
                f"{where} has only one of login and password: set the user and that user's API token, or "
                "none for a Jenkins that lets everybody build"
            )
        return JenkinsClient(
            read_url(connection, _EXAMPLE),
            username=connection.login or None,
            token=connection.password or None,
            verify=read_verify(connection),
            retries=retries,
            source=where,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Log in without changing anything: the test button of the UI."""
        try:
            # Somebody waits at the button, so it is asked once.
            with self.get_conn(retries=0) as client:
                user = client.check_login()
        except PromoterError as error:
            return False, str(error)
        return True, f"Jenkins accepts user {user}; nothing was changed"
