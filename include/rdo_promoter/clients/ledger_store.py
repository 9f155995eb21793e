"""Where the ledger's files are: a folder of this machine, or an object store that fsspec opens."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rdo_promoter.errors import AnswerError, PromoterError, ServiceError


class RemoteRoot(Protocol):
    """A root that is no folder of this machine, as UPath and Airflow's ObjectStoragePath are."""

    @property
    def fs(self) -> Any:
        """The fsspec file system."""

    @property
    def path(self) -> str:
        """The root's path in it."""


class Store(Protocol):
    """Files in folders below a root. Their paths are tuples of names."""

    where: str

    def names(self, *folder: str) -> list[str]:
        """Return the names in a folder, sorted; none when it does not exist below an existing root."""

    def read(self, *path: str) -> bytes:
        """Return a file's content."""

    def write(self, content: bytes, *path: str) -> None:
        """Write a file that does not exist yet, whole or not at all."""


class LocalStore:
    """A folder of this machine, or one that is mounted there.

    :param root: has to exist: a folder that is not mounted must not pass for an empty one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def names(self, *folder: str) -> list[str]:
        """Return the names in a folder, sorted; none when it does not exist below an existing root."""
        with _reached(self.where, "create that folder once, or mount it"):
            try:
                return sorted(path.name for path in self.root.joinpath(*folder).iterdir())
            except FileNotFoundError:
                self.root.stat()
                return []
            except NotADirectoryError as error:
                if self.root.is_dir():
                    raise _stray(self.where, folder) from error
                raise

    def read(self, *path: str) -> bytes:
        """Return a file's content."""
        with _reached(self.where, "look at that file's permissions"):
            return self.root.joinpath(*path).read_bytes()

    def write(self, content: bytes, *path: str) -> None:
        """Write a file that does not exist yet, whole or not at all, and keep it over a power failure."""
        with _reached(self.where, "create that folder once, mount it, or let this user write to it"):
            folder = self.root
            for name in path[:-1]:
                folder /= name
                folder.mkdir(exist_ok=True)
            # Hidden: readers pass over what a killed writer left.
            draft = folder / f".{path[-1]}.{uuid.uuid4().hex}.tmp"
            try:
                with draft.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                draft.rename(folder / path[-1])
            finally:
                draft.unlink(missing_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


class RemoteStore:
    """An object store: a file is written in one request, so it is there whole or not at all.

    :param root: names the place; its bucket has to exist.
    """

    def __init__(self, root: RemoteRoot) -> None:
        self.where = str(root)
        self._fs = root.fs
        self._root = root.path.rstrip("/")

    def names(self, *folder: str) -> list[str]:
        """Return the names in a folder, sorted; none when it does not exist in an existing bucket."""
        path = "/".join((self._root, *folder))
        with _reached(self.where, "look at the place's name and at the Connection in it"):
            # fsspec remembers listings, and others write here, too.
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(path, detail=False)
            except FileNotFoundError:
                # Folders are made of the names of files: one without files does not exist.
                bucket = re.sub(r"(?<=[^/])/.*", "", self._root)
                if not self._fs.exists(bucket) and not self._fs.exists(self._root):
                    raise
                return []
            if found == [path] and not self._fs.isdir(path):
                raise _stray(self.where, folder) if folder else NotADirectoryError(f"{path} is a file")
        # Some stores list the folder itself, as a file without content.
        return sorted({name.rstrip("/").rpartition("/")[2] for name in found if name.rstrip("/") != path})

    def read(self, *path: str) -> bytes:
        """Return a file's content."""
        with _reached(self.where, "look at the place's name and at the Connection in it"):
            content: bytes = self._fs.cat_file("/".join((self._root, *path)))
            return content

    def write(self, content: bytes, *path: str) -> None:
        """Write a file that does not exist yet, whole or not at all."""
        with _reached(self.where, "let the Connection in it write there"):
            self._fs.makedirs("/".join((self._root, *path[:-1])), exist_ok=True)
            self._fs.pipe_file("/".join((self._root, *path)), content)


def is_local(root: object) -> bool:
    """Tell whether a root names a folder of this machine."""
    return isinstance(root, Path) or getattr(root, "protocol", None) in ("", "file", "local")


def _stray(where: str, folder: tuple[str, ...]) -> AnswerError:
    """Return what to say when somebody put a file where the ledger has a folder."""
    return AnswerError(
        f"a file is where the ledger has the folder {'/'.join((where, *folder))}: move it away when you know "
        "what it is"
    )


@contextmanager
def _reached(where: str, remedy: str) -> Iterator[None]:
    """Turn what a file system raises into this package's error; object stores raise whatever they like."""
    try:
        yield
    except PromoterError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise ServiceError(
            f"the ledger {where} cannot be used ({said}): {remedy}. "
            "Without it nobody knows which promotions are under way"
        ) from error
