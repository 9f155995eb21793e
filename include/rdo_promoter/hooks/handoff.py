"""The hooks to the key that hand-offs are signed with, and to what receives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from pydantic import Field

from rdo_promoter.errors import ConfigError, PromoterError
from rdo_promoter.hooks.connection import Extra, get_connection, read_extra, read_url, read_verify

if TYPE_CHECKING:
    from rdo_promoter.clients.handoff_key import HandoffKey
    from rdo_promoter.clients.receiver import Receiver

_EXAMPLE = "https://builds.example.org/api/handoffs"


class KeyExtra(Extra):
    """Extra of a Connection that holds a key.

    :param private_key: the private key.
    """

    private_key: str | None = Field(default=None, repr=False)


class HandoffKeyHook(BaseHook):
    """Reads the key of hand-offs from a Connection of type ``handoff_key``.

    The Connection's login is how people call the key; its password, or ``private_key`` in its extra, is an
    Ed25519 key in PEM or OpenSSH's form.

    :param handoff_key_conn_id: the Connection.
    """

    conn_name_attr = "handoff_key_conn_id"
    default_conn_name = "handoff_key_default"
    conn_type = "handoff_key"
    hook_name = "Hand-off key"

    def __init__(self, handoff_key_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.handoff_key_conn_id = handoff_key_conn_id

    def get_conn(self) -> HandoffKey:
        """Return the key.

        :raises ConfigError: when the Connection is incomplete.
        """
        from rdo_promoter.clients.handoff_key import read_key

        connection = get_connection(self.handoff_key_conn_id, (self.conn_type,))
        where = f"Connection '{self.handoff_key_conn_id}'"
        in_extra = read_extra(connection, KeyExtra).private_key
        if bool(connection.password) == bool(in_extra):
            has = "both" if in_extra else "neither"
            raise ConfigError(
                f"{where} has {has} of password and extra 'private_key': write the Ed25519 private key "
                "into one of them"
            )
        if not (connection.login or "").strip():
            raise ConfigError(
                f"{where} has no login: write there how the key is called, for example rdo-2026"
            )
        text, place = (in_extra, "extra 'private_key'") if in_extra else (connection.password, "password")
        return read_key(str(connection.login).strip(), str(text), f"{place} of {where}")

    def test_connection(self) -> tuple[bool, str]:
        """Read the key and tell its public half: the test button of the UI."""
        try:
            key = self.get_conn()
        except PromoterError as error:
            return False, str(error)
        return True, f"key {key.key_id} verifies with {key.public.line} ({key.public.fingerprint})"


class HandoffReceiverHook(BaseHook):
    """Makes a client of a receiver of a Connection of type ``handoff_receiver`` or ``http``.

    The Connection's host is the address that hand-offs are posted to, with https unless it says otherwise;
    login and password are those of a user, or password alone is a token; the extra may hold ``ca``.

    :param handoff_receiver_conn_id: the Connection.
    """

    conn_name_attr = "handoff_receiver_conn_id"
    default_conn_name = "handoff_receiver_default"
    conn_type = "handoff_receiver"
    hook_name = "Hand-off receiver"

    def __init__(self, handoff_receiver_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.handoff_receiver_conn_id = handoff_receiver_conn_id

    def get_conn(self, *, retries: int = 4) -> Receiver:
        """Return a client.

        :param retries: how often a request is sent again at most.
        :raises ConfigError: when the Connection is incomplete.
        """
        from rdo_promoter.clients.receiver import Receiver

        connection = get_connection(self.handoff_receiver_conn_id, (self.conn_type, "http"))
        where = f"Connection '{self.handoff_receiver_conn_id}'"
        if connection.login and not connection.password:
            raise ConfigError(f"{where} has a login and no password: set both, or a token as password alone")
        return Receiver(
            read_url(connection, _EXAMPLE),
            username=connection.login or None,
            password=connection.password or None,
            verify=read_verify(connection),
            retries=retries,
            source=where,
        )

    def test_connection(self) -> tuple[bool, str]:
        """Log in without handing anything off: the test button of the UI."""
        try:
            # Somebody waits at the button, so it is asked once.
            with self.get_conn(retries=0) as client:
                client.check_login()
        except PromoterError as error:
            return False, str(error)
        return True, f"{client!r} lets us in; nothing was handed off"
