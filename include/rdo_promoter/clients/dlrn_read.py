"""Questions to DLRN: nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rdo_promoter import __version__
from rdo_promoter.clients import dlrn_answers
from rdo_promoter.clients.dlrn_api import DlrnApi
from rdo_promoter.clients.dlrn_repo import RepoTree
from rdo_promoter.clients.http import TIMEOUT, make_session, safe_url
from rdo_promoter.errors import AnswerError, ConfigError, NotFoundError
from rdo_promoter.model.build import AggregateHash, Build, DlrnHash
from rdo_promoter.model.handoff import Package
from rdo_promoter.model.holding import Held, holding
from rdo_promoter.model.promotions import PromotionRow, aggregate_rows
from rdo_promoter.model.repo_file import RepoFile
from rdo_promoter.model.votes import Vote

#: Rows in one answer of ``/api/promotions`` at most.
PAGE = 100


class DlrnReader:
    """What one DLRN knows: its promotions, its votes and its repositories.

    :param api_url: the API's address, such as ``https://trunk.rdoproject.org/api-centos9-master-uc``.
    :param repo_url: the repository tree's address, such as ``https://trunk.rdoproject.org/centos9-master``.
    :param username: for what changes something.
    :param password: of that user.
    :param verify: True, or the path of a CA bundle.
    :param timeout: seconds to connect, seconds between two bytes.
    :param retries: how often a question is asked again after a 5xx or a lost connection.
    :param backoff: seconds of the first pause between two tries.
    :param patience: seconds for which a missing label is looked for again.
    :param source: where address and login were read from, for messages.
    """

    def __init__(
        self,
        api_url: str,
        repo_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        verify: bool | str = True,
        timeout: tuple[float, float] = TIMEOUT,
        retries: int = 4,
        backoff: float = 0.5,
        patience: float = 1.0,
        source: str = "DLRN's Connection",
    ) -> None:
        self._session = make_session(
            verify=verify,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            headers={"User-Agent": f"rdo-promoter/{__version__}"},
        )
        self._backoff = backoff
        self._api = DlrnApi(api_url, self._session, username=username, password=password, source=source)
        self._repo = RepoTree(repo_url, self._session, patience=patience)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_url})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    @property
    def api_url(self) -> str:
        """The API's address, fit for messages."""
        return safe_url(self._api.url)

    @property
    def repo_url(self) -> str:
        """The repository tree's address, fit for messages."""
        return safe_url(self._repo.url)

    @property
    def requests_made(self) -> int:
        """Requests so far, to the API and to the repository tree, retries included."""
        return self._api.requests_made + self._repo.requests_made

    def promotions(
        self, label: str | None = None, build: Build | None = None, *, limit: int = PAGE, offset: int = 0
    ) -> list[PromotionRow]:
        """Return promotions in DLRN's order, newest row first.

        In component mode a row names one component's build, unless an aggregate is asked for: then it names
        the aggregate. Promotions of whatever aggregates are told by `Aggregates`.

        :param label: only of this label.
        :param build: only of this build.
        :param limit: rows; DLRN gives 100 at most.
        :param offset: rows to leave out; it drifts while rows are added, see `history`.
        :raises NotFoundError: when DLRN does not know the build.
        """
        if not 1 <= limit <= PAGE or offset < 0:
            raise ConfigError(
                f"promotions: limit {limit} and offset {offset} have to be in 1..{PAGE} and >= 0"
            )
        # Without a limit 0.26.1 gives 100 rows and newer servers all.
        params: dict[str, str | int] = {"limit": limit, "offset": offset}
        if label is not None:
            params["promote_name"] = label
        if build is not None:
            params |= build_fields(build)
        where = f"{self._api.where('GET', 'promotions')} of {label or 'any label'}"
        with about(build):
            rows = dlrn_answers.promotion_rows(self._api.get("promotions", params), where)
        for row in rows:
            # An unknown parameter is ignored by DLRN, so a filter counts only when the rows show it.
            if label is not None and row.label != label:
                raise AnswerError(f"{where}: a row is of label {row.label!r}")
            if build is not None and not _is_of(row, build):
                raise AnswerError(f"{where}: asked for build {build}, a row names {row.build}")
        return list(aggregate_rows(rows)) if isinstance(build, AggregateHash) else rows

    def history(self, label: str | None = None, build: Build | None = None) -> Iterator[PromotionRow]:
        """Yield all promotions, newest row first, each once; pages are fetched as they are needed.

        Rows added meanwhile move the later pages down, so that rows come twice; rows have no id, so
        equal rows count as one.

        :param label: only of this label.
        :param build: only of this build.
        :raises NotFoundError: when DLRN does not know the build.
        """
        seen: set[PromotionRow] = set()
        offset = 0
        while True:
            page = self.promotions(label, build, limit=PAGE, offset=offset)
            for row in page:
                if row not in seen:
                    seen.add(row)
                    yield row
            if len(page) < PAGE:
                return
            offset += len(page)

    def newest(self, label: str, count: int) -> list[PromotionRow]:
        """Return the newest promotions to a label, newest first.

        :param count: how many at most.
        """
        return self.promotions(label, limit=count)

    def current(self, label: str) -> PromotionRow | None:
        """Return the newest promotion to a label."""
        rows = self.newest(label, 1)
        return rows[0] if rows else None

    def entries(self, label: str, build: Build) -> list[PromotionRow]:
        """Return all promotions of one build to a label, newest row first.

        All of them: a build is as old as its first entry, however often it was tested again. A row of one
        component with the build's hashes is no entry of the build.

        :raises NotFoundError: when DLRN does not know the build.
        """
        return [row for row in self.history(label, build) if row.build == build]

    def votes_page(self, build: Build) -> str:
        """Return the address of DLRN's page about the votes on a build; nothing is asked.

        :param build: the build.
        """
        if isinstance(build, AggregateHash):
            return f"{self.api_url}/api/civotes_agg_detail.html?ref_hash={build.full_hash}"
        fields = f"commit_hash={build.commit_hash}&distro_hash={build.distro_hash}"
        return f"{self.api_url}/api/civotes_detail.html?{fields}"

    def votes(self, build: Build) -> list[Vote]:
        """Return every CI result on a build, rows in progress and ``consistent`` included.

        :raises NotFoundError: when DLRN does not know the build; an unknown aggregate has no votes.
        """
        path = "agg_status" if isinstance(build, AggregateHash) else "repo_status"
        with about(build):
            data = self._api.get(path, build_fields(build))
        return dlrn_answers.votes(data, f"{self._api.where('GET', path)} of {build}", build)

    def consistent(self) -> DlrnHash:
        """Return the newest build at which every package was built.

        DLRN has no promotion row for it: its builder moves the link. Single pipeline only.

        :raises NotFoundError: when the tree has no such link.
        """
        build = self._repo.label("consistent")
        if build is None:
            raise NotFoundError(
                f"{self.repo_url}/consistent/commit.yaml does not exist: check repo_url in the "
                "release file; a new DLRN has none until every package was built once"
            )
        return build

    def holding(self) -> tuple[Held, ...]:
        """Return what holds `consistent` back, the oldest build first: one request, two without a report.

        :raises NotFoundError: when the tree tells nothing of it.
        """
        return holding(self._repo.package_rows(), self.repo_url)

    @property
    def report_page(self) -> str:
        """The address of DLRN's page of its last builds; nothing is asked."""
        return f"{self.repo_url}/report.html"

    def label_hash(self, label: str) -> DlrnHash | None:
        """Return the build that the label's link in the repository tree names; None when there is none."""
        return self._repo.label(label)

    def repo_files(self, label: str) -> Iterator[RepoFile | None]:
        """Yield the label's ``delorean.repo`` at each look, None when there is none; the looks are few.

        :param label: the label.
        :raises AnswerError: when it is no such file.
        """
        return self._repo.repo_files(label)

    def has_directory(self, build: DlrnHash) -> bool:
        """Tell whether the build's repository is there: it is gone when it was purged."""
        return self._repo.has(build)

    def packages(self, build: DlrnHash) -> tuple[Package, ...]:
        """Return the packages of a build, as its ``versions.csv`` lists them.

        :raises NotFoundError: when it has none: it was purged, or one of its packages was never built.
        """
        found = self._repo.packages(build)
        if found is None:
            raise NotFoundError(
                f"{build} has no versions.csv below {self.repo_url}: it was purged, or repo_url is another "
                "DLRN's; take a newer build"
            )
        return found

    def find(self, full_hash: str) -> DlrnHash | None:
        """Return the build with this full hash, as people copy it; None when it has no directory (any more).

        :raises ConfigError: when the text is no full hash.
        """
        return self._repo.find(full_hash)

    def named(self, full_hash: str) -> DlrnHash:
        """Return the build with this full hash, as people copy it.

        :raises ConfigError: when the text is no full hash.
        :raises NotFoundError: when it has no directory here.
        """
        build = self.find(full_hash)
        if build is None:
            raise NotFoundError(
                f"build {full_hash}: DLRN has no directory for it below {self.repo_url}. It is of another "
                "release, or it was purged, or never built; look for it there, and copy the last part of its "
                "directory's address"
            )
        return build

    def now(self) -> int:
        """Return DLRN's time, in seconds since the epoch: ages compare its timestamps with this."""
        return self._api.now()

    @property
    def skew(self) -> float | None:
        """Seconds that this machine's clock is certainly ahead of DLRN's; negative is behind, None unknown.

        Nothing is decided by it; over half a minute it is said in the log, once a client.
        """
        return self._api.skew


@contextmanager
def about(build: Build | None) -> Iterator[None]:
    """Let the message of what DLRN does not have name the build: DLRN's own does not."""
    try:
        yield
    except NotFoundError as error:
        if build is None:
            raise
        raise NotFoundError(f"{build}: {error}") from error


def build_fields(build: Build) -> dict[str, str]:
    """Return the keys that name a build in a question or in a body.

    The extended hash only when there is one: DLRN answers 400 to the string None. Without one DLRN
    means the newest build of the two others, so answers have to be compared with the build.
    """
    if isinstance(build, AggregateHash):
        return {"aggregate_hash": build.aggregate_hash}
    fields = {"commit_hash": build.commit_hash, "distro_hash": build.distro_hash}
    if build.extended_hash is not None:
        fields["extended_hash"] = build.extended_hash
    return fields


def _is_of(row: PromotionRow, build: Build) -> bool:
    if isinstance(build, AggregateHash):
        return row.aggregate_hash == build.aggregate_hash
    return isinstance(row.build, DlrnHash) and _hashes(row.build) == _hashes(build)


def _hashes(build: DlrnHash) -> tuple[str, str, str | None]:
    return build.commit_hash, build.distro_hash, build.extended_hash
