"""DLRN's client: everything that is asked of it, and the things that change it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from types import EllipsisType
from typing import Protocol

from rdo_promoter.clients import dlrn_answers
from rdo_promoter.clients.dlrn_aggregates import Aggregates
from rdo_promoter.clients.dlrn_read import DlrnReader, about, build_fields
from rdo_promoter.errors import AnswerError, ConfigError, ConflictError, NotFoundError, ServiceError
from rdo_promoter.model.build import AggregateHash, Build, DlrnHash, check_label
from rdo_promoter.model.promotions import PromotionRow, aggregate_rows
from rdo_promoter.model.votes import Vote

log = logging.getLogger(__name__)

#: How often a promotion is posted at most, when it is known that the posts before did nothing.
_POSTS = 3

#: Git's name for "nothing": no commit has it.
_NO_BUILD = DlrnHash("0" * 40, "0" * 40)


class _Labels(Protocol):
    """What labels name: `DlrnReader` tells it of builds, `Aggregates` of aggregates."""

    def current(self, label: str) -> PromotionRow | None: ...

    def newest(self, label: str, count: int) -> list[PromotionRow]: ...

    def label_hash(self, label: str) -> Build | None: ...


@dataclass(frozen=True, slots=True)
class _Order:
    """A promotion as DLRN is asked for it.

    :param build: what the label shall name.
    :param labels: who tells what it names.
    :param path: below ``/api/``.
    :param body: of the request.
    :param mistaken: what else may be the matter when DLRN answers for another build.
    """

    build: Build
    label: str
    labels: _Labels
    path: str
    body: dict[str, str] | Sequence[dict[str, str]]
    mistaken: str = ""


class DlrnClient(DlrnReader):
    """One DLRN, with the right to promote and to vote.

    The parameters are those of `DlrnReader`.
    """

    @cached_property
    def aggregates(self) -> Aggregates:
        """What it knows of aggregates, in component mode."""
        return Aggregates(self, self._repo)

    def check_credentials(self) -> None:
        """Log in without changing anything.

        Whether the user may promote shows only when it promotes: no question of DLRN's API tells, neither
        of 0.26.1, which knows no roles, nor of newer servers, which ask for one.

        :raises AuthError: when DLRN refuses user and password, or there are none.
        """
        self._api.post("health", {})

    def check_may_promote(self, label: str) -> None:
        """Make sure that our user may promote to a label, without changing anything.

        DLRN tells nobody what a user may do. But it looks at the user before it looks at the build, so it is
        asked to promote a build that cannot exist: who may promote is told that there is no such build.

        :raises AuthError: when DLRN refuses the user, or lets the user only look.
        :raises ConfigError: when nobody may promote to the label.
        """
        check_label(label)
        where = f"{self._api.where('POST', 'promote')} of no build to {label}"
        try:
            answer = self._api.post("promote", _item(_NO_BUILD, label))
        except NotFoundError:
            return
        raise AnswerError(f"{where}: DLRN knows a build that cannot exist: {answer}")

    def promote(
        self, build: DlrnHash, label: str, *, expected: PromotionRow | EllipsisType | None = ...
    ) -> PromotionRow:
        """Move a label to a build and return the promotion as DLRN then tells it.

        DLRN moves the link first and writes the row second, and neither is undone when the other fails;
        posting twice writes two rows. So an answer that is lost, or a 5xx, is followed by a look at both.
        It is posted again unless there is a new row of the build, and the link names it.

        :param expected: the label's newest row when this was decided, None when it had none; whatever the
            label names is overwritten when not given.
        :raises ConfigError: when nobody may promote to the label, or the build is one component's.
        :raises NotFoundError: when DLRN does not know the build or has purged it; nothing was changed.
        :raises ConflictError: when somebody else moved the label meanwhile.
        :raises AnswerError: when DLRN answers for another build or label.
        :raises ServiceError: when DLRN does not serve; trying again finds out what it did.
        """
        check_label(label)
        self._check_promotable(build)
        return self._promote(_Order(build, label, self, "promote", _item(build, label)), expected)

    def promote_aggregate(
        self,
        build: AggregateHash,
        label: str,
        *,
        source_label: str,
        expected: PromotionRow | EllipsisType | None = ...,
    ) -> PromotionRow:
        """Move a label to an aggregate and return the promotion as `Aggregates` then tells it.

        DLRN is told the build of each component, and makes an aggregate of what the label then holds. So
        before it is asked everything is looked for that would make it another one, or leave a dangling link.

        :param source_label: a label that the aggregate holds or has held: it lives there and nowhere else.
        :param expected: the label's newest row, of an aggregate, when this was decided; see `promote`.
        :raises ConfigError: when nobody may promote to the label.
        :raises NotFoundError: when the aggregate is not under the source label, or one of its builds is gone;
            nothing was changed.
        :raises ConflictError: when somebody else moved the label meanwhile, or it holds a component that the
            aggregate does not have.
        :raises AnswerError: when DLRN makes another aggregate.
        :raises ServiceError: when DLRN does not serve; trying again finds out what it did.
        """
        check_label(label)
        aggregate = self.aggregates.read(build, source_label)
        self.aggregates.check_whole(aggregate)
        for member in aggregate.members:
            self._check_unmistakable(member)
        if others := self.aggregates.left_over(label, aggregate):
            raise ConflictError(
                f"{label} holds {', '.join(others)}, which {build} does not have: DLRN would mix them to an "
                "aggregate that nobody has tested; nothing was changed; take an aggregate that has them, or "
                f"let DLRN's administrators remove {label} of these components"
            )
        body = [_item(member, label) for member in aggregate.members]
        mixed = f", made of more or other components than {', '.join(aggregate.components)} of {build}"
        return self._promote(_Order(build, label, self.aggregates, "promote-batch", body, mixed), expected)

    def _promote(self, order: _Order, expected: PromotionRow | EllipsisType | None) -> PromotionRow:
        build, label = order.build, order.label
        # Last of all: what was asked before may have taken minutes.
        before = order.labels.current(label)
        if expected is not ... and before != expected:
            raise ConflictError(
                f"{label} was moved to {before.build if before else 'nothing'} "
                f"by {before.user if before else 'somebody'!r} since it was decided to promote {build} to "
                "it; it is left there; look at both and promote the right one again"
            )
        if not self._post_promotion(order, before):
            log.warning("%s: DLRN's answer was lost, %s names the build", build, label)
        rows = order.labels.newest(label, _POSTS + 1)
        if not rows or rows[0].build != build:
            raise ConflictError(
                f"{build} was promoted to {label}, but DLRN's newest promotion names "
                f"{rows[0].build if rows else 'nothing'}: somebody else moved the label at the same time"
            )
        for row in takewhile(lambda row: row != before, rows):
            # DLRN cannot be told to promote only if nothing has changed since we looked.
            if row.build != build:
                raise ConflictError(
                    f"{label} was moved to {row.build} by {row.user!r} while {build} was being promoted to "
                    f"it, and names {build} now; look at both and promote the right one again"
                )
        log.info("%s: promoted to %s in DLRN", build, label)
        return rows[0]

    def report_vote(
        self,
        build: Build,
        job: str,
        success: bool,
        url: str,
        *,
        timestamp: int | None = None,
        notes: str = "",
    ) -> Vote:
        """Report a CI job's result.

        :param job: the job's name.
        :param url: the job's log.
        :param timestamp: when the job ended, in seconds since the epoch; DLRN's now when not given.
        :raises NotFoundError: when DLRN does not know the build, or the aggregate was never promoted.
        :raises ServiceError: when DLRN does not serve and the vote is not there.
        """
        wanted = Vote(job, success, self.now() if timestamp is None else timestamp, url, notes=notes)
        body: dict[str, object] = {
            **build_fields(build),
            "job_id": job,
            "success": "true" if success else "false",  # a string: 0.26.1 answers 500 to a bool
            "url": url,
            "timestamp": wanted.timestamp,
            "notes": notes,
        }
        where = f"{self._api.where('POST', 'report_result')} of {job} on {build}"
        try:
            with about(build):
                vote = dlrn_answers.vote(self._api.post("report_result", body), where, build)
        except ServiceError:
            for vote in self.votes(build):
                if _same_result(vote, wanted):
                    return vote
            raise
        if not _same_result(vote, wanted):
            raise AnswerError(f"{where}: sent {wanted}, DLRN took {vote}")
        return vote

    def _check_promotable(self, build: DlrnHash) -> None:
        if isinstance(build, AggregateHash) or build.component is not None:
            raise ConfigError(
                f"{build}: one component cannot be promoted alone, it would mix with what the label holds; "
                "promote the whole aggregate"
            )
        self._check_unmistakable(build)
        if not self.has_directory(build):
            raise NotFoundError(
                f"{build} has no repository below {self.repo_url}: it was purged, or repo_url is "
                "another DLRN's; DLRN would make a dangling link; nothing was changed, take a newer build"
            )

    def _check_unmistakable(self, build: DlrnHash) -> None:
        if build.extended_hash is None:
            # DLRN would promote the newest build of the two hashes: its votes tell which one that is.
            self.votes(build)

    def _post_promotion(self, order: _Order, before: PromotionRow | None) -> bool:
        """Post until the label names the build; return False when no answer said so."""
        build, label = order.build, order.label
        where = f"{self._api.where('POST', order.path)} of {build} to {label}"
        lost: ServiceError | None = None
        for post in range(_POSTS):
            try:
                with about(build):
                    answer = self._api.post(order.path, order.body)
            except ServiceError as error:
                lost = error
            else:
                row = dlrn_answers.promotion_row(answer, where)
                if isinstance(build, AggregateHash):
                    # Without one it names the last component's build, and is refused as well.
                    row = next(aggregate_rows([row]), row)
                if row.build != build or row.label != label:
                    raise AnswerError(
                        f"{where}: DLRN promoted {row.build} to {row.label} instead{order.mistaken}; "
                        "the label may have moved; look at it and promote the right one again"
                    )
                return True
            log.warning("%s: %s; looking whether %s has moved", build, lost, label)
            # A server that was too slow for us may still be at work.
            time.sleep(self._backoff * 2**post * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            try:
                if self._has_moved(order, before):
                    return False
            except ServiceError as error:
                raise ServiceError(
                    f"{lost}; and what it did is not known: {error}; trying again finds out",
                    status=lost.status,
                ) from error
        raise ServiceError(
            f"{where} failed {_POSTS} times, {label} has not moved whole: {lost}",
            status=lost.status if lost else None,
        ) from lost

    def _has_moved(self, order: _Order, before: PromotionRow | None) -> bool:
        """Tell whether a promotion without an answer was carried out, from the newest row and the link.

        :raises ConflictError: when the newest row is a new one of another build.
        """
        build, label = order.build, order.label
        row = order.labels.current(label)
        if row is not None and row.build != build and row != before:
            raise ConflictError(
                f"{label} was moved to {row.build} by {row.user!r} while {build} was being promoted to it; "
                "look at both and promote the right one again"
            )
        # A build that is tested again held the label before: its old row says nothing of this promotion.
        return row not in (None, before) and order.labels.label_hash(label) == build


def _item(build: DlrnHash, label: str) -> dict[str, str]:
    return {**build_fields(build), "promote_name": label}


def _same_result(one: Vote, other: Vote) -> bool:
    return (one.job, one.success, one.timestamp, one.url) == (
        other.job,
        other.success,
        other.timestamp,
        other.url,
    )
