"""Files over SFTP, streamed: read in windows, written so that nobody sees a part."""

from __future__ import annotations

import hashlib
import posixpath
import re
import stat
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from itertools import chain

import paramiko

from rdo_promoter.clients.ssh import sftp_errors
from rdo_promoter.errors import ServiceError

#: Bytes that are under way at once; what reading or writing a file needs in memory.
WINDOW = 4 * 2**20

#: Bytes of one request; OpenSSH takes and answers more, paramiko asks for no more.
CHUNK = 2**15

#: What SFTP's status "Failure" most often means where something is written.
FULL = "SFTP gives no reason for that; most often the disk is full: look how much space is left there"

#: What `temporary` and `partial` make. No file of CI, no label and no image begins with a dot.
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


def temporary(path: str) -> str:
    """Return a name that nothing has, beside a path: a move within a folder is one step for readers."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.{uuid.uuid4().hex}")


def partial(path: str, md5: str) -> str:
    """Return the name that a file has until it is whole, beside its path: a later try finds it and goes on.

    :param md5: of the whole content; what other content has left is not gone on with.
    """
    folder, name = posixpath.split(path)
    return posixpath.join(folder, f".{name}.{md5}")


def read(sftp: paramiko.SFTPClient, path: str, what: str) -> Generator[list[bytes]]:
    """Yield a file's content in windows of chunks.

    :param what: what is done on which server, for messages.
    :raises NotFoundError: when there is no such file.
    :raises ServiceError: at the end, when the file grew or shrank meanwhile: its upload has not ended.
    """
    done = 0
    with sftp_errors(what):
        size = sftp.stat(path).st_size or 0
        for window in _windows(sftp, path, size):
            yield window
            done += sum(map(len, window))
        after = sftp.stat(path).st_size
    if done != size or after != size:
        raise ServiceError(
            f"{what}: its size changed from {size} to {after} bytes meanwhile; its upload has not ended"
        )


def _windows(sftp: paramiko.SFTPClient, path: str, size: int) -> Generator[list[bytes]]:
    # Windows instead of one prefetch of the whole file: paramiko keeps what it fetched until it is read,
    # and its thread waits for ever for a connection that has died. A handle a window, because what was
    # fetched too much stays with the handle.
    for start in range(0, size, WINDOW):
        end = min(start + WINDOW, size)
        with sftp.open(path) as handle:
            yield list(handle.readv([(at, min(CHUNK, end - at)) for at in range(start, end, CHUNK)]))


def md5(sftp: paramiko.SFTPClient, path: str, what: str) -> str:
    """Return the md5 of a file, computed here from its content; raise what `read` does."""
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chain.from_iterable(read(sftp, path, what)):
        digest.update(chunk)
    return digest.hexdigest()


def write(sftp: paramiko.SFTPClient, path: str, windows: Iterable[Sequence[bytes]]) -> int:
    """Write a new file and return its size in bytes.

    paramiko forgets the answers that it still waits for when a pipelined file is closed, and with them that
    the disk was full. So the last chunk of each window is written without pipelining, which waits for the
    answers to all before it: nothing fails unseen, and no more than a window is under way.

    :param windows: as `read` yields them; what it raises is passed on.
    """
    size = 0
    with sftp.open(path, "wx") as handle:
        for window in windows:
            _write_window(handle, window)
            size += sum(map(len, window))
    return size


def resume(sftp: paramiko.SFTPClient, path: str, windows: Iterable[Sequence[bytes]]) -> tuple[int, int]:
    """Write a file of which an earlier try may have left a part; return its size and how much of it stayed.

    What is there is read and compared, for nobody knows what a machine that died has stored of it. Windows
    that are the same stay; from the first one that is not, everything is written.

    :param windows: as `read` yields them; what it raises is passed on, and what was written stays.
    """
    try:
        handle = sftp.open(path, "r+")
    except FileNotFoundError:
        handle = sftp.open(path, "wx")
    with handle, closing(_windows(sftp, path, before := handle.stat().st_size or 0)) as there:
        size = stayed = 0
        for window in windows:
            if stayed == size and b"".join(next(there, ())) == b"".join(window):
                stayed += sum(map(len, window))
            else:
                handle.seek(size)
                _write_window(handle, window)
            size += sum(map(len, window))
        if before > size:
            handle.truncate(size)
    return size, stayed


def _write_window(handle: paramiko.SFTPFile, window: Sequence[bytes]) -> None:
    handle.set_pipelined(True)
    for chunk in window[:-1]:
        handle.write(chunk)
    handle.set_pipelined(False)
    handle.write(window[-1])


def make_folder(sftp: paramiko.SFTPClient, path: str) -> None:
    """Make a folder unless it is there; its parent has to be."""
    try:
        sftp.mkdir(path)
    except OSError:
        # OpenSSH says "Failure" when it is there, as for everything else.
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(sftp.stat(path).st_mode or 0):
                return
        raise


def remove(sftp: paramiko.SFTPClient, path: str) -> None:
    """Remove a file; one that does not exist is as good as removed."""
    with suppress(FileNotFoundError):
        sftp.remove(path)
