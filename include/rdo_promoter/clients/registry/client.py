"""One container registry: look at tags, read and write manifests byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Self

import requests
from pydantic import BaseModel, ValidationError

from rdo_promoter.clients.http import TIMEOUT
from rdo_promoter.clients.registry.blobs import Blobs
from rdo_promoter.clients.registry.manifest import (
    ACCEPT,
    Descriptor,
    Manifest,
    check_media_type,
    check_reference,
    check_repository,
    digest_of,
    is_digest,
    parse_manifest,
    spell,
)
from rdo_promoter.clients.registry.pool import run_all
from rdo_promoter.clients.registry.transport import Transport
from rdo_promoter.errors import AnswerError, AuthError, DigestMismatchError


class _Tags(BaseModel):
    tags: tuple[str, ...] | None = None


class Registry:
    """A registry that speaks the distribution API, version 2; may be used from several threads.

    :param url: its address, ``https://registry.example.org``.
    :param name: its name in messages.
    :param username: login, None for an open registry.
    :param password: its password.
    :param verify: True, or the path of the CA certificate that signed the registry's.
    :param pool: requests at a time at most.
    :param retries: how often a request is sent again after a 429, a 5xx or no answer.
    :param backoff: seconds of the first pause between two tries.
    :param timeout: seconds to connect, seconds between two bytes of an answer.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        username: str | None = None,
        password: str | None = None,
        verify: bool | str = True,
        pool: int = 16,
        retries: int = 4,
        backoff: float = 0.5,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self._transport = Transport(
            url,
            name=name,
            username=username,
            password=password,
            verify=verify,
            pool=pool,
            retries=retries,
            backoff=backoff,
            timeout=timeout,
        )
        self.name = name
        self.url = self._transport.url
        self.pool = pool
        self.blobs = Blobs(self._transport)

    def __repr__(self) -> str:
        return f"Registry({self.url!r}, name={self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def ping(self) -> None:
        """Ask whether the registry is there and accepts the login, if there is one.

        :raises AuthError: when it does not accept it.
        :raises ServiceError: when it does not answer.
        :raises NotFoundError: when this address is no registry.
        """
        try:
            self._transport.request("GET", "/v2/", what="ask for the API version")
        except AuthError:
            # A registry that hands out tokens tells for each repository what everybody may read, and quay.io
            # has no token for a user without a login who names no repository.
            if not (self._transport.auth.anonymous and self._transport.auth.wants_tokens):
                raise

    def will_write(self, repositories: Iterable[str]) -> None:
        """Announce repositories that will be written to, so that one token serves for all of it.

        Looking at a repository does not announce it: quay.io makes a repository that does not exist as soon
        as somebody who may do that asks for a token to push to it.
        """
        self._transport.auth.will_write(repositories)

    def head(self, repository: str, reference: str, *, any_type: bool = False) -> Descriptor | None:
        """Return what a tag or digest names, or None when it does not exist.

        :param any_type: whatever it is: for a tag that is moved unless it names the right digest.
        :raises AnswerError: when it is a schema1 manifest, or of another type that is not known.
        """
        what = f"look at {spell(repository, reference)}"
        answer = self._transport.request(
            "HEAD",
            _path(repository, reference),
            what=what,
            repository=repository,
            ok=(200, 404),
            headers={"Accept": ACCEPT},
        )
        if answer.status_code == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest")
        content_type = answer.headers.get("Content-Type", "")
        if digest is None and not any_type:
            # The header is optional in the specification; the bytes tell the digest as well.
            return self.get(repository, reference).descriptor
        if digest is None:
            digest = digest_of(self._fetch(repository, reference).content)
        if not is_digest(digest):
            raise AnswerError(
                f"{self._transport.where(what)}: it names no sha256 digest, but {digest[:80]!r}"
            )
        if is_digest(reference):
            self._compare(repository, reference, actual=digest, expected=reference)
        if not any_type:
            content_type = check_media_type(content_type, what=self._transport.where(what))
        length = answer.headers.get("Content-Length", "")
        return Descriptor(digest, content_type, int(length) if length.isdecimal() else 0)

    def get(self, repository: str, reference: str) -> Manifest:
        """Return a manifest as the bytes that the registry stores.

        :raises NotFoundError: when it does not exist.
        :raises DigestMismatchError: when the bytes are not those of the digest.
        :raises AnswerError: when it is a schema1 manifest, or not a manifest.
        """
        answer = self._fetch(repository, reference)
        what = self._transport.where(f"get {spell(repository, reference)}")
        manifest = parse_manifest(answer.headers.get("Content-Type", ""), answer.content, what=what)
        promised = answer.headers.get("Docker-Content-Digest", manifest.digest)
        for expected in (promised, reference if is_digest(reference) else promised):
            self._compare(repository, reference, actual=manifest.digest, expected=expected)
        return manifest

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest, byte for byte, and look whether it is there.

        :raises DigestMismatchError: when the registry stored something else.
        :raises AnswerError: when it refuses the manifest; also when the tag is immutable.
        """
        answer = self._transport.request(
            "PUT",
            _path(repository, reference),
            what=f"put {spell(repository, reference)}",
            repository=repository,
            ok=(200, 201),
            headers={"Content-Type": manifest.media_type},
            body=manifest.body,
        )
        stored = answer.headers.get("Docker-Content-Digest", manifest.digest)
        self._compare(repository, reference, actual=stored, expected=manifest.digest)
        found = self.head(repository, reference)
        self._compare(repository, reference, actual=found.digest if found else None, expected=manifest.digest)

    def tag(
        self, repository: str, digest: str, tag: str, *, before: Callable[[], object] | None = None
    ) -> bool:
        """Let a tag name a digest of the same repository.

        :param before: called right before the tag is written; what it raises keeps it from that.
        :return: False when it named it already and nothing was sent.
        :raises NotFoundError: when the repository does not have the digest.
        """
        self.will_write([repository])
        found = self.head(repository, tag, any_type=True)
        if found is not None and found.digest == digest:
            return False
        manifest = self.get(repository, digest)
        if before is not None:
            before()
        self.put(repository, tag, manifest)
        return True

    def tags(self, repository: str) -> list[str]:
        """Return all tags of a repository.

        :raises NotFoundError: when there is no such repository.
        """
        what = f"list the tags of {repository}"
        address: str | None = f"/v2/{check_repository(repository)}/tags/list"
        tags: list[str] = []
        asked: set[str] = set()
        while address and address not in asked:
            asked.add(address)
            answer = self._transport.request("GET", address, what=what, repository=repository)
            try:
                tags += _Tags.model_validate_json(answer.content).tags or ()
            except ValidationError as error:
                raise AnswerError(
                    f"{self._transport.where(what)}: the answer is not a list of tags"
                ) from error
            address = _next(answer)
        return tags

    def _fetch(self, repository: str, reference: str) -> requests.Response:
        return self._transport.request(
            "GET",
            _path(repository, reference),
            what=f"get {spell(repository, reference)}",
            repository=repository,
            headers={"Accept": ACCEPT},
        )

    def _compare(self, repository: str, reference: str, *, actual: str | None, expected: str) -> None:
        if actual != expected:
            raise DigestMismatchError(
                spell(repository, reference), actual=actual, expected=expected, where=f"registry {self.name}"
            )


def heads(
    registry: Registry, repositories: Iterable[str], reference: str, *, any_type: bool = False
) -> dict[str, Descriptor | None]:
    """Return what a tag names in each repository, None where it does not exist.

    :param reference: the tag, the same everywhere.
    :param any_type: as `Registry.head` takes it.
    """
    names = list(dict.fromkeys(repositories))
    found = run_all(
        lambda name: registry.head(name, reference, any_type=any_type), names, threads=registry.pool
    )
    return dict(zip(names, found, strict=True))


def tag_all(
    registry: Registry, digests: Mapping[str, str], tag: str, *, before: Callable[[], object] | None = None
) -> dict[str, bool]:
    """Let a tag name the digest of each repository; returns where it was changed.

    :param digests: repository -> digest.
    :param before: called, by several threads, right before each tag is written; what it raises ends all.
    """
    names = list(digests)
    changed = run_all(
        lambda name: registry.tag(name, digests[name], tag, before=before), names, threads=registry.pool
    )
    return dict(zip(names, changed, strict=True))


def _path(repository: str, reference: str) -> str:
    return f"/v2/{check_repository(repository)}/manifests/{check_reference(reference)}"


def _next(answer: requests.Response) -> str | None:
    return answer.links.get("next", {}).get("url")
