"""Config and layers of images: look, download, upload, mount."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from threading import Event

import requests

from rdo_promoter.clients.registry.manifest import Descriptor, check_repository, spell
from rdo_promoter.clients.registry.pool import StoppedError
from rdo_promoter.clients.registry.transport import StaleTokenError, Transport
from rdo_promoter.errors import AnswerError, DigestMismatchError, ServiceError

#: Bytes held in memory of a blob that passes through.
CHUNK = 256 * 1024

#: How often a blob's upload is started at most.
ATTEMPTS = 4

#: Opens a blob's content, from its beginning each time it is called.
Opener = Callable[[Descriptor], AbstractContextManager[Iterable[bytes]]]


class Blobs:
    """The blobs of one registry.

    :param transport: sends the requests.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def exists(self, repository: str, digest: str) -> bool:
        """Tell whether the repository has the blob."""
        answer = self._transport.request(
            "HEAD",
            _path(repository, digest),
            what=f"look for blob {spell(repository, digest)}",
            repository=repository,
            ok=(200, 404),
        )
        return answer.status_code == 200

    @contextmanager
    def open(self, repository: str, blob: Descriptor) -> Iterator[Iterable[bytes]]:
        """Open a blob's content, to be read once; the reader checks the digest.

        :raises NotFoundError: when the repository does not have it.
        :raises ServiceError: when the registry does not answer, also in the middle.
        """
        what = f"get blob {spell(repository, blob.digest)}"
        answer = self._transport.request(
            "GET", _path(repository, blob.digest), what=what, repository=repository, stream=True
        )
        with closing(answer):
            yield self._transport.stream(answer, CHUNK, what=what)

    def mount(self, repository: str, digest: str, *, source: str) -> str | None:
        """Let the repository have a blob that another repository of this registry has.

        :param source: the repository that has it.
        :return: None when done, or the address of an upload when the registry refuses to mount.
        """
        what = f"mount blob {spell(repository, digest)} from {source}"
        answer = self._transport.request(
            "POST",
            _path(repository, "uploads/"),
            what=what,
            repository=repository,
            mount_from=source,
            ok=(201, 202),
            params={"mount": digest, "from": source},
        )
        return None if answer.status_code == 201 else self._location(answer, what)

    def cancel(self, repository: str, location: str) -> None:
        """Forget an upload that is not needed; a registry that cannot forgets it later by itself.

        Some want a right to delete for this, which nothing else here needs.
        """
        with suppress(ServiceError):
            self._transport.request(
                "DELETE",
                location,
                what=f"cancel an upload to {repository}",
                repository=repository,
                ok=range(200, 600),
            )

    def upload(
        self,
        repository: str,
        blob: Descriptor,
        opener: Opener,
        *,
        location: str | None = None,
        stop: Event | None = None,
    ) -> int:
        """Upload a blob as a stream, in one PUT; what broke, or was forgotten, is begun again.

        :param opener: opens the content.
        :param location: an upload that the registry has begun already.
        :param stop: ends the upload when set.
        :return: bytes sent by the upload that succeeded; 0 when one with a lost answer had succeeded before.
        :raises ServiceError: when source or target failed `ATTEMPTS` times.
        :raises AuthError: when the registry refuses two tokens in turn.
        :raises DigestMismatchError: when the content is not what the digest says.
        """
        stop = stop or Event()
        renewed = False
        for attempt in range(1, ATTEMPTS + 1):
            location = location or self._begin(repository)
            try:
                self._send(repository, blob, opener, location, stop)
                return blob.size
            except ServiceError as error:
                if attempt == ATTEMPTS:
                    raise
                if isinstance(error, StaleTokenError):
                    if renewed:
                        raise error.refused from error
                    renewed = True
            if stop.wait(self._transport.backoff * 2**attempt):
                raise StoppedError
            # The answer may have been lost, not the blob.
            if self.exists(repository, blob.digest):
                return 0
            location = None
        raise AssertionError("unreachable")

    def _begin(self, repository: str) -> str:
        what = f"begin an upload to {repository}"
        answer = self._transport.request(
            "POST", _path(repository, "uploads/"), what=what, repository=repository, ok=(202,)
        )
        return self._location(answer, what)

    def _send(self, repository: str, blob: Descriptor, opener: Opener, location: str, stop: Event) -> None:
        what = f"put blob {spell(repository, blob.digest)}"
        with opener(blob) as chunks:
            answer = self._transport.request(
                "PUT",
                location,
                what=what,
                repository=repository,
                ok=(201,),
                headers={"Content-Type": "application/octet-stream"},
                params={"digest": blob.digest},
                body=_Checked(chunks, blob, self._transport.where(what), stop),
            )
        stored = answer.headers.get("Docker-Content-Digest", blob.digest)
        if stored != blob.digest:
            raise DigestMismatchError(
                f"blob {spell(repository, blob.digest)}",
                actual=stored,
                expected=blob.digest,
                where=f"registry {self._transport.name}",
            )

    def _location(self, answer: requests.Response, what: str) -> str:
        location = answer.headers.get("Location")
        if not location:
            raise AnswerError(
                f"{self._transport.where(what)}: its answer names no upload (no Location header)"
            )
        return location


class _Checked:
    """A blob's bytes on their way: counted and hashed, of a known length so that they go in one PUT.

    Errors of the source are raised here as errors of this package, which requests and urllib3 let pass:
    they are not taken for errors of the target.
    """

    def __init__(self, chunks: Iterable[bytes], blob: Descriptor, where: str, stop: Event) -> None:
        self._chunks = chunks
        self._blob = blob
        self._where = where
        self._stop = stop

    def __len__(self) -> int:
        return self._blob.size

    def __iter__(self) -> Iterator[bytes]:
        sum_, sent = hashlib.sha256(), 0
        for chunk in self._chunks:
            if self._stop.is_set():
                raise StoppedError
            sum_.update(chunk)
            sent += len(chunk)
            if sent > self._blob.size:
                break
            yield chunk
        actual = f"sha256:{sum_.hexdigest()}"
        if sent != self._blob.size or actual != self._blob.digest:
            raise DigestMismatchError(
                f"the content that came for this blob of {self._blob.size} bytes",
                actual=f"{actual} after {sent} bytes",
                expected=self._blob.digest,
                where=self._where,
            )


def _path(repository: str, rest: str) -> str:
    return f"/v2/{check_repository(repository)}/blobs/{rest}"
