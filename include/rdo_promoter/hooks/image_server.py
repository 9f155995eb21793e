"""The hook to an image server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from pydantic import Field

from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.connection import Extra, get_connection, read_extra
from rdo_promoter.model.layout import BY_HASH, Layout

if TYPE_CHECKING:
    from rdo_promoter.clients.image_server import ImageServer

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


class ImageServerHook(BaseHook):
    """Opens an image server with a Connection of type ``sftp`` or ``ssh``, which the providers bring.

    Only the Connection is the providers', not the hook: SFTPHook tries a refused host key three times, for
    ten seconds; reads a host key without its type as an RSA key; looks into the worker's `~/.ssh`; and
    turns what went wrong into errors that do not say whether trying again makes sense.

    :param image_server_conn_id: the Connection; its extra must hold ``host_key``.
    :param name: the server's name in the release file, for messages.
    :param root: folder of the release's builds and links on the server.
    :param layout: how they lie there.
    """

    conn_name_attr = "image_server_conn_id"
    default_conn_name = "sftp_default"
    conn_type = "sftp"
    hook_name = "SFTP"

    def __init__(self, image_server_conn_id: str, name: str, root: str, layout: Layout = BY_HASH) -> None:
        super().__init__()
        self.image_server_conn_id = image_server_conn_id
        self.name = name
        self.root = root
        self.layout = layout

    @contextmanager
    def connect(self) -> Iterator[ImageServer]:
        """Log in and yield the server; the session ends with the `with` block.

        :raises ConfigError: when the Connection is incomplete.
        :raises AuthError: when the host key is not the one in the Connection, or the login is refused.
        :raises ServiceError: when the server does not answer.
        """
        from rdo_promoter.clients.image_server import ImageServer
        from rdo_promoter.clients.ssh import connect

        connection = get_connection(self.image_server_conn_id, ("sftp", "ssh"))
        where = f"Connection '{self.image_server_conn_id}'"
        extra = read_extra(connection, SshExtra)
        for field in ("host", "login"):
            if not getattr(connection, field):
                raise ConfigError(f"{where} has no {field}: set the image server's {field}")
        for switch in ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change"):
            if getattr(extra, switch):
                raise ConfigError(
                    f"extra of {where} has '{switch}', but host keys are always checked: remove it and set "
                    "'host_key' to the server's public key"
                )
        with connect(
            str(connection.host),
            connection.port or _SSH_PORT,
            str(connection.login),
            private_key=extra.private_key,
            key_file=extra.key_file,
            passphrase=extra.private_key_passphrase,
            password=connection.password or None,
            host_key=extra.host_key,
            name=f"image server {self.name}",
            source=where,
        ) as sftp:
            yield ImageServer(sftp, root=self.root, name=self.name, layout=self.layout)

    get_conn = connect
