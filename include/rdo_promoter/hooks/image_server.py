"""The hook to an image server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from rdo_promoter.hooks.ssh import ssh_login
from rdo_promoter.model.layout import BY_HASH, Layout

if TYPE_CHECKING:
    from rdo_promoter.clients.image_server import ImageServer


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

        login = ssh_login(self.image_server_conn_id, ("sftp", "ssh"), "image server")
        with connect(**login, name=f"image server {self.name}") as sftp:
            yield ImageServer(sftp, root=self.root, name=self.name, layout=self.layout)

    get_conn = connect
