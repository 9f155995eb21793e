"""The image server: folders of builds and links that name them, over SFTP."""

from __future__ import annotations

import hashlib
import logging
import posixpath
import re
import stat
import uuid
from collections.abc import Iterator

import paramiko

from rdo_promoter.clients.ssh import connect, sftp_errors
from rdo_promoter.errors import AnswerError, ConfigError, NotFoundError, PromoterError, ServiceError

__all__ = ["ImageServer", "connect"]

log = logging.getLogger(__name__)

#: Bytes asked for at once while a file is read; what an md5 over SFTP needs in memory.
WINDOW = 4 * 2**20

#: Bytes of one read request; OpenSSH answers more, paramiko asks for no more.
CHUNK = 2**15

#: Seconds after which a temporary link cannot belong to a move that is still running: a move takes two
#: requests, each of which ends after a minute at the latest.
STALE = 3600

#: No folder of CI's upload, no label and no image is named otherwise; a leading dot is ours.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~-]*")
_MD5_LINE = re.compile(r"\\?([0-9a-fA-F]{32})(?:\s+\*?(\S.*?))?\s*")
_MD5_FILE_MAX = 4096


class ImageServer:
    """Reads a release's folders of images and moves the links that name one of them.

    For one thread at a time: an SFTP session answers one question after the other.

    :param sftp: an open session, as `connect` yields it.
    :param root: absolute path of the folder that holds the builds' folders and the links.
    :param name: the server's name in the release file, for messages.
    """

    def __init__(self, sftp: paramiko.SFTPClient, *, root: str, name: str) -> None:
        if not root.startswith("/"):
            raise ConfigError(f"image server {name}: path {root!r} is not absolute; let it start with '/'")
        self.name = name
        self.root = posixpath.normpath(root)
        self._sftp = sftp

    def files(self, folder: str) -> dict[str, int] | None:
        """Return the files of a build's folder with their sizes in bytes, None when there is none."""
        path = self._path(folder)
        with sftp_errors(self._what("list", path)):
            try:
                entries = self._sftp.listdir_attr(path)
            except FileNotFoundError:
                return None
            found = {}
            for entry in entries:
                attributes = self._follow(path, entry)
                if attributes is not None and stat.S_ISREG(attributes.st_mode or 0):
                    found[entry.filename] = attributes.st_size or 0
            return found

    def md5(self, folder: str, file: str) -> str:
        """Return the md5 of a file, computed here from its content.

        :raises NotFoundError: when there is no such file.
        :raises ServiceError: when the file grew or shrank meanwhile: its upload has not ended.
        """
        path = self._path(folder, file)
        digest = hashlib.md5(usedforsecurity=False)
        with sftp_errors(self._what("read", path)):
            size = self._sftp.stat(path).st_size or 0
            done = 0
            for block in self._blocks(path, size):
                digest.update(block)
                done += len(block)
            after = self._sftp.stat(path).st_size
        if done != size or after != size:
            raise ServiceError(
                f"{self._what('read', path)}: its size changed from {size} to {after} bytes meanwhile; "
                "its upload has not ended"
            )
        return digest.hexdigest()

    def declared_md5(self, folder: str, file: str) -> str | None:
        """Return what `<file>.md5` says, None when there is none.

        :raises AnswerError: when the file holds no md5, or one of another file.
        """
        path = self._path(folder, f"{file}.md5")
        what = self._what("read", path)
        with sftp_errors(what):
            try:
                with self._sftp.open(path) as handle:
                    content = handle.read(_MD5_FILE_MAX)
            except FileNotFoundError:
                return None
        match = _MD5_LINE.fullmatch(content.decode("utf-8", errors="replace"))
        if match is None:
            raise AnswerError(f"{what}: it is no line '<md5>  <name>'; its upload failed or has not ended")
        declared, named = match.groups()
        if named is not None and posixpath.basename(named) != file:
            raise AnswerError(f"{what}: it is the md5 of {named}, expected one of {file}")
        return str(declared).lower()

    def link(self, name: str) -> str | None:
        """Return the folder that a link names, None when there is no such link.

        :raises AnswerError: when it is no link, or leads out of the root.
        """
        path = self._path(name)
        with sftp_errors(self._what("read link", path)):
            try:
                mode = self._sftp.lstat(path).st_mode or 0
                target = self._sftp.readlink(path) if stat.S_ISLNK(mode) else None
            except FileNotFoundError:
                return None
        if not target:
            kind = "folder" if stat.S_ISDIR(mode) else "file"
            raise AnswerError(
                f"{self._what('read link', path)}: it is a {kind}, no link; "
                "find out who put it there and move it away"
            )
        return self._folder_of(target, path)

    def set_link(self, name: str, target: str) -> bool:
        """Let a link name a build's folder; readers see the old folder or the new one, never none.

        Measured on OpenSSH: `rename` over a link fails, and remove and make again lets half of the reads
        fail. A link made beside it and moved over it by `posix-rename@openssh.com` fails no reader. The link
        is relative, because an absolute one resolves only inside or only outside a chroot.

        :param name: the link's name: a label, or `previous-` and a label.
        :param target: a folder of the root.
        :return: False when the link named the folder already.
        :raises NotFoundError: when the folder does not exist.
        :raises AnswerError: when something that is no link has the name, or the link names another folder
            afterwards.
        """
        path, folder = self._path(name), self._path(target)
        what = self._what("link", path)
        if name == target:
            raise ConfigError(f"{what}: it cannot name itself; give the build's folder")
        current = self.link(name)
        self._check_folder(folder, what)
        if current == target:
            return False
        temporary = posixpath.join(self.root, f".{name}.{uuid.uuid4().hex}")
        with sftp_errors(what):
            self._sftp.symlink(target, temporary)
            try:
                self._sftp.posix_rename(temporary, path)
            except (paramiko.SSHException, EOFError, OSError):
                self._remove_quietly(temporary)
                raise
        found = self.link(name)
        if found != target:
            raise AnswerError(
                f"{what}: it names {found} after it was moved to {target}; somebody else moves it"
            )
        self._remove_stale(name)
        return True

    def _path(self, *names: str) -> str:
        for name in names:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"image server {self.name}: {name!r} cannot be the name of a link, folder or file; "
                    "use letters, digits, '_', '-', '.', '+' and '~', with a letter, digit or '_' first"
                )
        return posixpath.join(self.root, *names)

    def _what(self, verb: str, path: str) -> str:
        return f"image server {self.name}: {verb} {path}"

    def _follow(self, folder: str, entry: paramiko.SFTPAttributes) -> paramiko.SFTPAttributes | None:
        if not stat.S_ISLNK(entry.st_mode or 0):
            return entry
        try:
            return self._sftp.stat(posixpath.join(folder, entry.filename))
        except FileNotFoundError:
            return None  # a link to nothing is no file

    def _blocks(self, path: str, size: int) -> Iterator[bytes]:
        # Windows instead of one prefetch of the whole file: paramiko keeps what it fetched until it is read,
        # and its thread waits for ever for a connection that has died. A handle a window, because what was
        # fetched too much stays with the handle.
        for start in range(0, size, WINDOW):
            end = min(start + WINDOW, size)
            with self._sftp.open(path) as handle:
                yield from handle.readv([(at, min(CHUNK, end - at)) for at in range(start, end, CHUNK)])

    def _folder_of(self, target: str, path: str) -> str:
        """Return the bare name behind a link's text, which may be absolute in links that others made."""
        parent, folder = posixpath.split(posixpath.normpath(posixpath.join(self.root, target)))
        if folder and parent != self.root:
            with sftp_errors(self._what("resolve", self.root)):
                # The root itself may be reached over a link, or be named from outside of a chroot.
                same = parent == self._sftp.normalize(self.root)
            folder = folder if same else ""
        if not folder:
            raise AnswerError(
                f"{self._what('read link', path)}: it names {target!r}, which is no folder of {self.root}; "
                "let it name a build's folder by a relative path"
            )
        return folder

    def _check_folder(self, folder: str, what: str) -> None:
        try:
            with sftp_errors(what):
                mode = self._sftp.stat(folder).st_mode or 0
        except NotFoundError as error:
            raise NotFoundError(
                f"{what}: folder {folder} does not exist; the images were not uploaded"
            ) from error
        if not stat.S_ISDIR(mode):
            raise NotFoundError(f"{what}: {folder} is no folder")

    def _remove_quietly(self, path: str) -> None:
        try:
            self._sftp.remove(path)
        except (paramiko.SSHException, EOFError, OSError) as error:
            log.warning("%s: not removed: %s; a later move removes it", self._what("remove", path), error)

    def _remove_stale(self, name: str) -> None:
        """Remove the temporary links that a crash between the two requests of a move left.

        Ages are measured on the server's clock: the link that was just made shows its time. A link that
        cannot be removed harms nobody, so nothing is raised.
        """
        temporary = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{32}}")
        try:
            with sftp_errors(self._what("clean", self.root)):
                now = self._sftp.lstat(self._path(name)).st_mtime or 0
                for entry in self._sftp.listdir_attr(self.root):
                    old = now - (entry.st_mtime or now) > STALE
                    if old and stat.S_ISLNK(entry.st_mode or 0) and temporary.fullmatch(entry.filename):
                        self._remove_quietly(posixpath.join(self.root, entry.filename))
        except PromoterError as error:
            log.warning("%s; a later move cleans up", error)
