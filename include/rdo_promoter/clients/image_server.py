"""The image server: folders of builds and links that name them, over SFTP."""

from __future__ import annotations

import logging
import posixpath
import re
import stat
from contextlib import suppress

import paramiko

from rdo_promoter.clients import sftp_files
from rdo_promoter.clients.ssh import connect, sftp_errors
from rdo_promoter.errors import AnswerError, ConfigError, NotFoundError, PromoterError
from rdo_promoter.model.layout import BY_HASH, Layout

__all__ = ["ImageServer", "connect"]

log = logging.getLogger(__name__)

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
    :param layout: where the builds' folders are below the root, and how their files are named.
    """

    def __init__(self, sftp: paramiko.SFTPClient, *, root: str, name: str, layout: Layout = BY_HASH) -> None:
        if not root.startswith("/"):
            raise ConfigError(f"image server {name}: path {root!r} is not absolute; let it start with '/'")
        self.name = name
        self.root = posixpath.normpath(root)
        self.layout = layout
        self.sftp = sftp
        self._builds = posixpath.normpath(posixpath.join(self.root, layout.builds))

    def exists(self) -> bool:
        """Tell whether the root is there."""
        with sftp_errors(self.what("look at", self.root)):
            try:
                return stat.S_ISDIR(self.sftp.stat(self.root).st_mode or 0)
            except FileNotFoundError:
                return False

    def files(self, folder: str) -> dict[str, int] | None:
        """Return the files of a build's folder with their sizes in bytes, None when there is none."""
        path = self.build_path(folder)
        with sftp_errors(self.what("list", path)):
            try:
                entries = self.sftp.listdir_attr(path)
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
        path = self.build_path(folder, file)
        return sftp_files.md5(self.sftp, path, self.what("read", path))

    def declared_md5(self, folder: str, file: str) -> str | None:
        """Return what `<file>.md5` says, None when there is none.

        :raises AnswerError: when the file holds no md5, or one of another file.
        """
        path = self.build_path(folder, f"{file}.md5")
        what = self.what("read", path)
        with sftp_errors(what):
            try:
                with self.sftp.open(path) as handle:
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
        with sftp_errors(self.what("read link", path)):
            try:
                mode = self.sftp.lstat(path).st_mode or 0
                target = self.sftp.readlink(path) if stat.S_ISLNK(mode) else None
            except FileNotFoundError:
                return None
        if not target:
            raise AnswerError(self._no_link(path, "folder" if stat.S_ISDIR(mode) else "file"))
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
        path, folder = self._path(name), self.build_path(target)
        what = self.what("link", path)
        if name == target:
            raise ConfigError(f"{what}: it cannot name itself; give the build's folder")
        current = self.link(name)
        self._check_folder(folder, what)
        if current == target:
            return False
        temporary = sftp_files.temporary(path)
        with sftp_errors(what):
            self.sftp.symlink(posixpath.join(self.layout.builds, target), temporary)
            try:
                self.sftp.posix_rename(temporary, path)
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

    def put(self, folder: str, file: str, content: bytes) -> bool:
        """Put a small file into a build's folder; readers see the old one or the new one, whole.

        :param folder: the build's folder.
        :param file: the file's name.
        :param content: what is to be in it.
        :return: False when it was there already.
        :raises NotFoundError: when the folder does not exist.
        """
        path = self.build_path(folder, file)
        what = self.what("write", path)
        self._check_folder(posixpath.dirname(path), what)
        with sftp_errors(self.what("read", path)), suppress(FileNotFoundError), self.sftp.open(path) as there:
            if there.read(len(content) + 1) == content:
                return False
        temporary = sftp_files.temporary(path)
        with sftp_errors(what, failure=sftp_files.FULL):
            try:
                sftp_files.write(self.sftp, temporary, [[content]])
                self.sftp.posix_rename(temporary, path)
            except (paramiko.SSHException, EOFError, OSError):
                self._remove_quietly(temporary)
                raise
        return True

    def build_path(self, *names: str) -> str:
        """Return the path of a build's folder, or of a file in it.

        :param names: the folder's name, and the file's.
        """
        return posixpath.join(self._builds, *map(self._safe, names))

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, self._safe(name))

    def _safe(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"image server {self.name}: {name!r} cannot be the name of a link, folder or file; "
                "use letters, digits, '_', '-', '.', '+' and '~', with a letter, digit or '_' first"
            )
        return name

    def what(self, verb: str, path: str) -> str:
        """Say what is done on the server, for messages."""
        return f"image server {self.name}: {verb} {path}"

    def _follow(self, folder: str, entry: paramiko.SFTPAttributes) -> paramiko.SFTPAttributes | None:
        if not stat.S_ISLNK(entry.st_mode or 0):
            return entry
        try:
            return self.sftp.stat(posixpath.join(folder, entry.filename))
        except FileNotFoundError:
            return None  # a link to nothing is no file

    def _no_link(self, path: str, kind: str) -> str:
        wrong = f"{self.what('read link', path)}: it is a {kind}, no link; "
        if not self.layout.mirror or kind == "file":
            return f"{wrong}find out who put it there and move it away"
        name, builds = posixpath.basename(path), self.layout.builds
        old = f"{builds}/old-{name}"
        return (
            f"{wrong}a mirror that somebody else filled may have it so. Move it over once, in one go: "
            f"cd {self.root} && mkdir -p {builds} && mv {name} {old} && ln -s {old} {name}"
        )

    def _folder_of(self, target: str, path: str) -> str:
        """Return the bare name behind a link's text, which may be absolute in links that others made."""
        parent, folder = posixpath.split(posixpath.normpath(posixpath.join(self.root, target)))
        if folder and parent != self._builds:
            with sftp_errors(self.what("resolve", self._builds)):
                # The root itself may be reached over a link, or be named from outside of a chroot.
                same = parent == self.sftp.normalize(self._builds)
            folder = folder if same else ""
        if not folder:
            raise AnswerError(
                f"{self.what('read link', path)}: it names {target!r}, which is no folder of "
                f"{self._builds}; let it name a build's folder by a relative path"
            )
        return folder

    def _check_folder(self, folder: str, what: str) -> None:
        try:
            with sftp_errors(what):
                mode = self.sftp.stat(folder).st_mode or 0
        except NotFoundError as error:
            raise NotFoundError(
                f"{what}: folder {folder} does not exist; the images were not uploaded"
            ) from error
        if not stat.S_ISDIR(mode):
            raise NotFoundError(f"{what}: {folder} is no folder")

    def _remove_quietly(self, path: str) -> None:
        try:
            self.sftp.remove(path)
        except (paramiko.SSHException, EOFError, OSError) as error:
            log.warning("%s: not removed: %s; a later move removes it", self.what("remove", path), error)

    def _remove_stale(self, name: str) -> None:
        """Remove the temporary links that a crash between the two requests of a move left.

        Ages are measured on the server's clock: the link that was just made shows its time. A link that
        cannot be removed harms nobody, so nothing is raised.
        """
        temporary = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{32}}")
        try:
            with sftp_errors(self.what("clean", self.root)):
                now = self.sftp.lstat(self._path(name)).st_mtime or 0
                for entry in self.sftp.listdir_attr(self.root):
                    old = now - (entry.st_mtime or now) > STALE
                    if old and stat.S_ISLNK(entry.st_mode or 0) and temporary.fullmatch(entry.filename):
                        self._remove_quietly(posixpath.join(self.root, entry.filename))
        except PromoterError as error:
            log.warning("%s; a later move cleans up", error)
