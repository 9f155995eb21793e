"""Questions to a DLRN in component mode about aggregates: nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from rdo_promoter.clients import dlrn_reports
from rdo_promoter.clients.dlrn_read import DlrnReader
from rdo_promoter.clients.dlrn_repo import RepoTree
from rdo_promoter.errors import AnswerError, NotFoundError
from rdo_promoter.model.aggregate import Aggregate, aggregate_of
from rdo_promoter.model.build import CONSISTENT, AggregateHash
from rdo_promoter.model.promotions import PromotionRow, aggregate_rows

#: The builder's link to what it built last, whether or not all packages were built.
_CURRENT = "current"


class Aggregates:
    """What one DLRN knows of aggregates; asked as `DlrnReader` is asked about builds of the single pipeline.

    A promotion of an aggregate is one row here, whose build is the aggregate. Votes are asked of the reader.

    :param reader: the DLRN.
    :param tree: its repository tree.
    """

    def __init__(self, reader: DlrnReader, tree: RepoTree) -> None:
        self._reader = reader
        self._tree = tree

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._reader.api_url})"

    def history(self, label: str) -> Iterator[PromotionRow]:
        """Yield all promotions of aggregates to a label, newest first; see `DlrnReader.history`."""
        return aggregate_rows(self._reader.history(label))

    def newest(self, label: str, count: int) -> list[PromotionRow]:
        """Return the newest promotions of aggregates to a label, newest first.

        :param count: how many at most.
        """
        return list(islice(self.history(label), count))

    def current(self, label: str) -> PromotionRow | None:
        """Return the newest promotion of an aggregate to a label."""
        # DLRN answers a question for one row at once, and its newest row is the last of a promotion.
        for row in aggregate_rows(self._reader.newest(label, 1)):
            return row
        return next(self.history(label), None)

    def entries(self, label: str, build: AggregateHash) -> list[PromotionRow]:
        """Return all promotions of one aggregate to a label, newest row first; none when it is not known."""
        return self._reader.entries(label, build)

    def consistent(self) -> AggregateHash:
        """Return the newest aggregate at which every package of each component was built.

        :raises NotFoundError: when the tree has none.
        :raises AnswerError: when its content is not what it is known by.
        """
        build = self.label_hash(CONSISTENT)
        where = f"{self._reader.repo_url}/{CONSISTENT}"
        if build is None:
            raise NotFoundError(
                f"{where}/delorean.repo.md5 does not exist: check repo_url in the release file, and whether "
                "this DLRN has components; a new one has none until all packages of one were built once"
            )
        if self._tree.aggregated(CONSISTENT, build) is None:
            raise NotFoundError(
                f"{build}: {where} names it, but it has no directory there: it was removed; wait for the "
                "next build, with which DLRN makes one anew"
            )
        return build

    def label_hash(self, label: str) -> AggregateHash | None:
        """Return the aggregate that a label in the repository tree names; None when it names none."""
        return self._tree.aggregate(label)

    def has_directory(self, build: AggregateHash, label: str) -> bool:
        """Tell whether an aggregate is still under a label that it holds or has held: a purge removes it."""
        return self._tree.has_aggregate(label, build)

    def read(self, build: AggregateHash, label: str) -> Aggregate:
        """Return an aggregate with the builds that it is made of.

        :param label: one that it holds or has held.
        :raises NotFoundError: when it is not under the label, or one of the builds is gone.
        :raises AnswerError: when what is there is not what it is known by.
        """
        paths = self._paths(build, label)
        if paths is None:
            raise NotFoundError(
                f"{build} is not under {label} below {self._reader.repo_url}: it never held that label, or "
                "it was purged; take a label that it has held, or a newer aggregate"
            )
        found = {path: self._tree.build_at(path) for path in paths.values()}
        self._check_none_gone(build, (path for path, member in found.items() if member is None))
        return Aggregate(build, tuple(member for member in found.values() if member is not None))

    def check_whole(self, aggregate: Aggregate) -> None:
        """Make sure that each member's repository is there, and that together they make the aggregate.

        :raises NotFoundError: when one is gone: DLRN would make a dangling link.
        :raises AnswerError: when DLRN would make another aggregate of them.
        """
        repos = {member: self._tree.repo(member) for member in aggregate.members}
        self._check_none_gone(
            aggregate.build, (member.path for member, repo in repos.items() if repo is None)
        )
        made = aggregate_of({member.component or "": repo or b"" for member, repo in repos.items()})
        if made != aggregate.build:
            raise AnswerError(
                f"{aggregate.build}: the repositories of its components below {self._reader.repo_url} make "
                f"{made} now: one was changed after it was built; take a newer aggregate"
            )

    def left_over(self, label: str, aggregate: Aggregate) -> tuple[str, ...]:
        """Return the components that would stay under a label and mix with an aggregate promoted to it.

        DLRN makes an aggregate of every component that it finds under the label, also of those that it is
        not asked to move. A component that the builder leaves out, too, was given up and is not looked for.
        """
        others = self._components(label).difference(aggregate.components)
        return tuple(sorted(others & self._components(_CURRENT))) if others else ()

    def _components(self, label: str) -> frozenset[str]:
        build = self.label_hash(label)
        return frozenset((build and self._paths(build, label)) or ())

    def _paths(self, build: AggregateHash, label: str) -> dict[str, str] | None:
        content = self._tree.aggregated(label, build)
        where = f"{self._reader.repo_url}/{label}/{build.path}/delorean.repo"
        return None if content is None else dlrn_reports.member_paths(content, where)

    def _check_none_gone(self, build: AggregateHash, paths: Iterable[str]) -> None:
        if gone := list(paths):
            raise NotFoundError(
                f"{build}: its {', '.join(gone)} {'is' if len(gone) == 1 else 'are'} not below "
                f"{self._reader.repo_url} (any more): purged, or repo_url is another DLRN's; "
                "take a newer aggregate"
            )
