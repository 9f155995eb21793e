"""Logging in to a machine with a Connection of the ssh or sftp provider."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.connection import Extra, get_connection, read_extra

if TYPE_CHECKING:
    import paramiko

_SSH_PORT = 22


class SshExtra(Extra):
    """Extra of a Connection of type ``sftp`` or ``ssh``, by the names that the ssh provider uses."""

    private_key: str | None = Field(default=None, repr=False)
    key_file: str | None = None
    private_key_passphrase: str | None = Field(default=None, repr=False)
    host_key: str | None = None
    no_host_key_check: bool | None = None
    ignore_hostkey_verification: bool | None = None
    allow_host_key_change: bool | None = None


def ssh_login(conn_id: str, conn_types: Collection[str], what: str) -> dict[str, Any]:
    """Return the arguments of `rdo_promoter.clients.ssh.log_in` that a Connection holds.

    :param what: what the machine is, for messages, for example ``image server``.
    :raises ConfigError: when the Connection is incomplete, or would let the host key go unchecked.
    """
    connection = get_connection(conn_id, conn_types)
    where = f"Connection '{conn_id}'"
    extra = read_extra(connection, SshExtra)
    for field in ("host", "login"):
        if not getattr(connection, field):
            raise ConfigError(f"{where} has no {field}: set the {what}'s {field}")
    for switch in ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change"):
        if getattr(extra, switch):
            raise ConfigError(
                f"extra of {where} has '{switch}', but host keys are always checked: remove it and set "
                "'host_key' to the server's public key"
            )
    return {
        "host": str(connection.host),
        "port": connection.port or _SSH_PORT,
        "username": str(connection.login),
        "private_key": extra.private_key,
        "key_file": extra.key_file,
        "passphrase": extra.private_key_passphrase,
        "password": connection.password or None,
        "host_key": extra.host_key,
        "source": where,
    }


class SshMachineHook:
    """Logs in to a machine on which jobs run, with a Connection of type ``ssh``.

    Only the Connection is the provider's, for the reasons that `ImageServerHook` gives.

    :param ssh_conn_id: the Connection; its extra must hold ``host_key``, with the key's type before it.
    """

    def __init__(self, ssh_conn_id: str) -> None:
        self.ssh_conn_id = ssh_conn_id

    @property
    def name(self) -> str:
        """What messages call the machine."""
        return f"SSH machine {self.ssh_conn_id}"

    @contextmanager
    def connect(self) -> Iterator[paramiko.SSHClient]:
        """Log in; the session ends with the `with` block.

        :raises ConfigError: when the Connection is incomplete.
        :raises AuthError: when the host key is not the one in the Connection, or the login is refused.
        :raises ServiceError: when the machine does not answer.
        """
        from rdo_promoter.clients.ssh import log_in

        login = ssh_login(self.ssh_conn_id, ("ssh",), "machine")
        words = str(login["host_key"] or "").split()
        if words and (len(words) < 2 or not words[1].startswith("AAAA")):
            # The provider's trigger reads it as well, and takes every other form for something else.
            raise ConfigError(
                f"extra 'host_key' of Connection '{self.ssh_conn_id}' has to begin with the key's type: "
                'write the one line of the machine\'s ssh_host_ed25519_key.pub, "ssh-ed25519 AAAAC3Nza..."'
            )
        with log_in(**login, name=self.name) as client:
            yield client
