"""Room on an image server: how much is left, which builds take it, and the removal of one of them."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Callable, Collection

from paramiko import Message
from paramiko.sftp import CMD_EXTENDED, CMD_EXTENDED_REPLY

from rdo_promoter.clients import sftp_files
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.ssh import sftp_errors
from rdo_promoter.model.build import is_full_hash

#: OpenSSH's own request, for which paramiko has no method.
_STATVFS = "statvfs@openssh.com"

#: What the name of a folder begins with that is being removed.
_ASIDE = ".removed."


def free_space(server: ImageServer) -> int | None:
    """Return how many bytes the login may still write below the root, None when the server does not tell.

    The request is OpenSSH's own. Another server refuses it as one that it does not know, and an account may
    be kept from it.
    """
    request: Callable[[int, str, str], tuple[int, Message]] = getattr(server.sftp, "_request")  # noqa: B009
    with sftp_errors(server.what("measure", server.root)):
        try:
            kind, answer = request(CMD_EXTENDED, _STATVFS, server.root)
        except (FileNotFoundError, TimeoutError):
            raise
        except OSError:
            return None
        if kind != CMD_EXTENDED_REPLY:
            return None
        _, fragment, _, _, available = (answer.get_int64() for _ in range(5))
        return int(fragment * available)


def named_by_links(server: ImageServer) -> frozenset[str]:
    """Return all folders that some link in the root names, a label's or any other, wherever in its text.

    :raises NotFoundError: when a link is moved meanwhile: what it names now may not be among these.
    """
    names: set[str] = set()
    with sftp_errors(server.what("read the links of", server.root)):
        for entry in server.sftp.listdir_attr(server.root):
            if stat.S_ISLNK(entry.st_mode or 0):
                target = server.sftp.readlink(posixpath.join(server.root, entry.filename))
                names.update((target or "").split("/"))
    return frozenset(names)


def builds(server: ImageServer) -> dict[str, int]:
    """Return the folders that are named as builds are, with the time at which something in them changed."""
    with sftp_errors(server.what("list", server.root)):
        return {
            entry.filename: entry.st_mtime or 0
            for entry in server.sftp.listdir_attr(server.root)
            if is_full_hash(entry.filename) and stat.S_ISDIR(entry.st_mode or 0)
        }


def remove_build(server: ImageServer, folder: str, images: Collection[str]) -> tuple[str, ...]:
    """Remove a build's images and then its folder, or nothing at all; return what in it nobody knows.

    The folder goes aside first: half removed it would be the newest build of all, by the time at which
    something in it changed. Cut anywhere, `sweep` removes what is left.

    :param folder: the build's folder.
    :param images: files that may be in it, each with its ``.md5``.
    """
    path = server.build_path(folder)
    with sftp_errors(server.what("remove", path)):
        entries = server.sftp.listdir_attr(path)
        known = {*images, *(f"{image}.md5" for image in images)}
        unknown = [
            entry.filename
            for entry in entries
            if not stat.S_ISREG(entry.st_mode or 0)
            or not (entry.filename in known or sftp_files.TEMPORARY.fullmatch(entry.filename))
        ]
        if unknown:
            return tuple(sorted(unknown))
        aside = posixpath.join(server.root, f"{_ASIDE}{folder}")
        server.sftp.posix_rename(path, aside)
        _remove(server, aside)
    return ()


def sweep(server: ImageServer) -> None:
    """Remove what removals that were cut off have left."""
    with sftp_errors(server.what("clean up", server.root)):
        for name in server.sftp.listdir(server.root):
            if name.startswith(_ASIDE) and is_full_hash(name.removeprefix(_ASIDE)):
                _remove(server, posixpath.join(server.root, name))


def _remove(server: ImageServer, path: str) -> None:
    """Remove a folder that went aside, because all in it was known."""
    for name in server.sftp.listdir(path):
        sftp_files.remove(server.sftp, posixpath.join(path, name))
    server.sftp.rmdir(path)
