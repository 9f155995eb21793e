"""DLRN's repository tree over HTTP: a directory a build, a link a label."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import requests

from rdo_promoter.clients import dlrn_answers, dlrn_reports
from rdo_promoter.clients.http import attempts, reason, safe_url, send
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError
from rdo_promoter.model.aggregate import hash_of
from rdo_promoter.model.build import AggregateHash, DlrnHash, is_full_hash, is_md5
from rdo_promoter.model.handoff import Package
from rdo_promoter.model.holding import PackageRow
from rdo_promoter.model.repo_file import RepoFile

_NAME = "DLRN's repositories"


class RepoTree:
    """The repositories that one DLRN builds.

    :param url: the tree's address, such as ``https://trunk.rdoproject.org/centos9-master``.
    :param session: carries no credentials.
    :param patience: seconds for which a label that is missing is looked for again.
    """

    def __init__(self, url: str, session: requests.Session, *, patience: float = 1.0) -> None:
        self.url = url.rstrip("/")
        self.requests_made = 0
        self._session = session
        self._patience = patience

    def __repr__(self) -> str:
        return f"RepoTree({safe_url(self.url)})"

    def label(self, name: str) -> DlrnHash | None:
        """Return the build that a label's link names, or None when there is no such link.

        DLRN removes a link and then makes it again, so a 404 is believed only after some looks.

        :raises AnswerError: when what the label names says nothing of a build.
        """
        url = f"{self.url}/{name}/commit.yaml"
        for pause in self._pauses():
            response = self._send("GET", url)
            if response is not None:
                return dlrn_answers.commit_yaml(response.text, safe_url(url))
            time.sleep(pause)
        return None

    def has(self, build: DlrnHash) -> bool:
        """Tell whether the build's directory still holds a repository: a purge removes it."""
        return self._send("HEAD", f"{self.url}/{build.path}/delorean.repo") is not None

    def packages(self, build: DlrnHash) -> tuple[Package, ...] | None:
        """Return the packages of a build, or None when its directory has no list of them.

        :raises AnswerError: when what is there is no such list.
        """
        url = f"{self.url}/{build.path}/versions.csv"
        response = self._send("GET", url)
        return None if response is None else dlrn_answers.versions_csv(response.text, safe_url(url))

    def find(self, full_hash: str) -> DlrnHash | None:
        """Return the build that a directory's name stands for, or None when there is no such directory.

        :raises ConfigError: when the text cannot be such a name.
        :raises AnswerError: when the directory is another build's.
        """
        if not is_full_hash(full_hash) or "_" not in full_hash:
            raise ConfigError(
                f"{full_hash!r} is no full hash; take the last part of the build's directory, "
                "<40 digits>_<8 digits>, as in the address of its delorean.repo"
            )
        return self.build_at(f"{full_hash[:2]}/{full_hash[2:4]}/{full_hash}")

    def build_at(self, path: str) -> DlrnHash | None:
        """Return the build whose directory this is, or None when there is no such directory.

        :param path: below the tree's address.
        :raises AnswerError: when the directory is another build's.
        """
        url = f"{self.url}/{path}/commit.yaml"
        response = self._send("GET", url)
        if response is None:
            return None
        build = dlrn_answers.commit_yaml(response.text, safe_url(url))
        if build.path != path:
            raise AnswerError(f"{safe_url(url)} is of build {build}, whose directory is {build.path}")
        return build

    def repo_files(self, name: str) -> Iterator[RepoFile | None]:
        """Yield a label's ``delorean.repo`` at each look, None when there is none.

        There is another look, after a pause, as long as the caller wants one and the patience lasts. The md5
        is fetched first, where there is one: only labels of the component pipeline have it.

        :param name: the label.
        :raises AnswerError: when it is no such file.
        """
        url = f"{self.url}/{name}/delorean.repo"
        for pause in self._pauses():
            declared = self._send("GET", f"{url}.md5")
            response = self._send("GET", url)
            if response is None:
                yield None
            else:
                md5 = declared.text.strip() if declared is not None else None
                yield dlrn_reports.repo_file(response.content, safe_url(url), md5)
            time.sleep(pause)

    def package_rows(self) -> list[PackageRow]:
        """Return how each package stands, by what the builder reports: one request.

        Where there is no report, what `current` is made of tells it, as of that build.

        :raises NotFoundError: when the tree has neither.
        :raises AnswerError: when it cannot be read.
        """
        for path, read in (
            (dlrn_reports.STATUS_REPORT, dlrn_reports.status_report),
            (dlrn_reports.VERSIONS, dlrn_reports.versions),
        ):
            url = f"{self.url}/{path}"
            response = self._send("GET", url)
            if response is not None:
                return read(response.text, safe_url(url))
        raise NotFoundError(
            f"{safe_url(self.url)} has neither {dlrn_reports.STATUS_REPORT} nor {dlrn_reports.VERSIONS}, in "
            "which DLRN's builder tells how each package stands; check repo_url in the release file"
        )

    def repo(self, build: DlrnHash) -> bytes | None:
        """Return the build's ``delorean.repo``, or None when it has no directory (any more)."""
        response = self._send("GET", f"{self.url}/{build.path}/delorean.repo")
        return None if response is None else response.content

    def aggregate(self, label: str) -> AggregateHash | None:
        """Return the aggregate that a label names, or None when it names none.

        Asked is the file with the md5 alone: DLRN swaps it and the ``delorean.repo`` beside it one after the
        other, so the two may be of two aggregates.

        :raises AnswerError: when what the label names is no aggregate.
        """
        url = f"{self.url}/{label}/delorean.repo.md5"
        text = None
        for pause in self._pauses():
            response = self._send("GET", url)
            text = None if response is None else response.text.strip()
            # An aggregate that is made once more is written anew in its place: for a moment files are empty.
            if text and is_md5(text):
                return AggregateHash(text)
            time.sleep(pause)
        if text is None:
            return None
        raise AnswerError(f"{safe_url(url)} is {text!r:.80} and no md5; let DLRN's administrators look at it")

    def aggregated(self, label: str, build: AggregateHash) -> bytes | None:
        """Return an aggregate's ``delorean.repo``, or None when it is not under the label (any more).

        :param label: a label that the aggregate holds or has held; it lives there and nowhere else.
        :raises AnswerError: when the content is another aggregate's.
        """
        content = b""
        for pause in self._pauses():
            response = self._send("GET", self._aggregated(label, build))
            if response is None:
                return None
            content = response.content
            if hash_of(content) == build:
                return content
            time.sleep(pause)
        raise AnswerError(
            f"{safe_url(self._aggregated(label, build))} has the md5 {hash_of(content)} and not the one in "
            "its address: it was changed after DLRN wrote it; take another build"
        )

    def has_aggregate(self, label: str, build: AggregateHash) -> bool:
        """Tell whether an aggregate is still under a label that it has held."""
        return self._send("HEAD", self._aggregated(label, build)) is not None

    def _aggregated(self, label: str, build: AggregateHash) -> str:
        return f"{self.url}/{label}/{build.path}/delorean.repo"

    def _pauses(self) -> Iterator[float]:
        """Yield the seconds to wait after each look: 1/15, 2/15, 4/15 and 8/15 of the patience, and none."""
        for share in (1, 2, 4, 8):
            yield self._patience * share / 15 * random.uniform(0.8, 1.0)  # noqa: S311 - jitter, no secret
        yield 0.0

    def _send(self, method: str, url: str) -> requests.Response | None:
        """Return a good answer, or None when there is no such file."""
        response = send(self._session, method, url, service=_NAME, allow_redirects=True)
        self.requests_made += attempts(response)
        status = response.status_code
        if status == 200:
            response.encoding = "utf-8"
            return response
        if status in (404, 410):
            return None
        said = f"{_NAME}: {method} {safe_url(url)} answered {status}: {reason(response)}"
        if status >= 500 or status == 429:
            raise ServiceError(said, status=status)
        if status in (401, 403):
            raise AuthError(f"{said}; the repository tree has to be readable without a login")
        raise AnswerError(f"{said}; check repo_url in the release file")
