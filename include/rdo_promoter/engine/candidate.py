"""The way into CI: choose a build, admit it, move the candidate label and its container tags."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.dlrn_aggregates import Aggregates
from rdo_promoter.clients.registry import tag_all
from rdo_promoter.engine.observe import digests, single
from rdo_promoter.engine.promote import copy_under_hash_tag
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import PreflightError
from rdo_promoter.model.build import CONSISTENT, AggregateHash, Build, DlrnHash
from rdo_promoter.model.clock import is_from_the_future, utc
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.model.order import InCi, Wait, refuse_admission
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.model.promotions import PromotionRow

log = logging.getLogger(__name__)

_Kind = TypeVar("_Kind", DlrnHash, AggregateHash)


@dataclass(frozen=True)
class CandidateRules:
    """When a build may take the candidate label.

    :param label: the candidate label.
    :param waits: what the stage waits for, in its order.
    :param max_in_ci: how many builds CI may work on at once.
    :param min_gap: seconds that the label stands still at least.
    :param asks: the stage's tasks at which a person can give a build up.
    """

    label: str
    waits: tuple[Wait, ...]
    max_in_ci: int = 1
    min_gap: int = 0
    asks: tuple[str, ...] = ()

    @property
    def within(self) -> int:
        """The stage's last deadline, seconds after a build's entry."""
        return max((wait.within for wait in self.waits), default=0)


@dataclass(frozen=True)
class Found(Generic[_Kind]):
    """A build that a run may carry, or why there is nothing to do.

    :param build: the build that the source label names.
    :param nothing_new: why a scheduled run has nothing to do with it, None when it has.
    """

    build: _Kind
    nothing_new: str | None = None


def newest_build(dlrn: DlrnClient, source: str, candidate_label: str) -> Found[DlrnHash]:
    """Find the build that the source label names, and whether CI has had it. Two requests.

    :param source: ``consistent``, or a label that has rows in DLRN.
    :param candidate_label: the label that CI tests.
    """
    build = dlrn.consistent() if source == CONSISTENT else _holder(dlrn, source)
    return _found(dlrn, single(build), source, candidate_label)


def newest_aggregate(dlrn: DlrnClient, source: str, candidate_label: str) -> Found[AggregateHash]:
    """Find the aggregate that the source label names, and whether CI has had it. Three requests at most.

    :param source: ``consistent``, or a label that has rows in DLRN, such as ``promoted-components``.
    :param candidate_label: the label that CI tests.
    """
    if source == CONSISTENT:
        build = dlrn.aggregates.consistent()
    else:
        holder = _holder(dlrn.aggregates, source)
        assert isinstance(holder, AggregateHash)
        build = holder
    return _found(dlrn, build, source, candidate_label)


def _holder(labels: DlrnClient | Aggregates, source: str) -> Build:
    row = labels.current(source)
    if row is None:
        raise PreflightError(f"a build from {source}", [f"DLRN: nothing holds {source} yet"])
    return row.build


def _found(dlrn: DlrnClient, build: _Kind, source: str, candidate_label: str) -> Found[_Kind]:
    entries = dlrn.entries(candidate_label, build)
    if entries:
        since = utc(entries[-1].timestamp)
        return Found(build, f"nothing new: {source} is {build.full_hash}, in {candidate_label} since {since}")
    return Found(build)


@dataclass(frozen=True)
class Admission:
    """What became of a build that asked for the candidate label.

    :param entry: the row by which the build holds, or held, the label; None when it was refused.
    :param refused: why it was refused.
    :param moved: whether the label was, or in a dry run would be, moved for it now.
    """

    entry: PromotionRow | None
    refused: str | None = None
    moved: bool = False


def admit(
    build: Build,
    rules: CandidateRules,
    dlrn: DlrnClient,
    decisions: Decisions = Decisions.NONE,
    *,
    source: str = CONSISTENT,
    again: bool = False,
    dry_run: bool = False,
) -> Admission:
    """Give the candidate label to a build if CI has room for it.

    A build that holds or has held the label is not given it again (its entry stands) unless `again` asks
    CI to test it anew; then it gets a new entry, from which the deadlines count.

    :param build: the build.
    :param rules: when it may have the label.
    :param decisions: what people decided about the release.
    :param source: the label that it comes from; there an aggregate is found.
    :param again: move the label though the build has held it before.
    :param dry_run: decide, but change nothing.
    :raises ConfigError: when the build, or one that CI has, is one component's: that tests no release.
    """
    _whole(build)
    labels = dlrn.aggregates if isinstance(build, AggregateHash) else dlrn
    holder = labels.current(rules.label)
    if not again and holder is not None and holder.build == build:
        return Admission(holder)
    if not again and (entries := dlrn.entries(rules.label, build)):
        return Admission(entries[0])
    in_ci, now = _in_ci(build, rules, dlrn), dlrn.now()
    for entry in in_ci:
        if is_from_the_future(entry.row.timestamp, now=now):
            log.warning(
                "%s entered %s at %s, but DLRN's clock says %s: it was set back, so nobody can tell how long "
                "CI has had that build; have DLRN's clock looked at",
                entry.row.build,
                rules.label,
                utc(entry.row.timestamp),
                utc(now),
            )
    if refused := refuse_admission(
        build,
        in_ci,
        rules.waits,
        now=now,
        max_in_ci=rules.max_in_ci,
        min_gap=rules.min_gap,
        decisions=decisions,
        asks=rules.asks,
    ):
        return Admission(None, refused)
    if dry_run:
        return Admission(None, moved=True)
    row = _promote(build, rules.label, dlrn, source, expected=holder)
    log.info(
        "%s DLRN: %s %s -> %s",
        build.short,
        rules.label,
        holder.build if holder else "nothing",
        build.full_hash,
    )
    return Admission(row, moved=True)


def _promote(
    build: Build, label: str, dlrn: DlrnClient, source: str, *, expected: PromotionRow | None
) -> PromotionRow:
    if not isinstance(build, AggregateHash):
        return dlrn.promote(single(build), label, expected=expected)
    # One that is tested again may be gone where it came from: a purge looks at each label by itself.
    places = (place for place in (source, label) if dlrn.aggregates.has_directory(build, place))
    return dlrn.promote_aggregate(build, label, source_label=next(places, source), expected=expected)


def _whole(build: Build) -> Build:
    """Return a build that is a candidate: an aggregate, or one of the single pipeline."""
    return build if isinstance(build, AggregateHash) else single(build)


def _in_ci(build: Build, rules: CandidateRules, dlrn: DlrnClient) -> list[InCi]:
    """Read the label's newest holders, each build once, as far back as the deadline reaches.

    :param build: of the kind that is looked for.
    """
    newest: dict[Build, PromotionRow] = {}
    rows: Iterable[PromotionRow] = (
        dlrn.aggregates.history(rules.label)
        if isinstance(build, AggregateHash)
        else dlrn.promotions(rules.label, limit=100)
    )
    horizon = dlrn.now() - rules.within
    for row in rows:
        if row.timestamp <= horizon and newest:
            break  # its deadline has passed: it cannot keep CI busy; the first row alone gives the gap
        newest.setdefault(_whole(row.build), row)
    return [InCi(row, tuple(dlrn.votes(holder))) for holder, row in newest.items()]


@dataclass(frozen=True)
class Tagged:
    """What became of the containers of a candidate.

    :param copied: containers copied under the hash tag.
    :param tagged: label tags that moved.
    :param note: why none moved, when CI has gone on to another build.
    """

    copied: int = 0
    tagged: int = 0
    note: str | None = None


def look_at_candidate(promotion: Promotion, services: Services, name: str) -> Tagged:
    """Say what `tag_candidate` would do now, for a dry run. Changes nothing.

    :param promotion: with `label` being the candidate label.
    :param name: the registry's name.
    """
    assert promotion.source is not None
    source = digests(services, promotion.source, promotion.containers, promotion.tag)
    here = digests(services, name, promotion.containers, promotion.tag)
    label = digests(services, name, promotion.containers, promotion.label, any_type=True)
    wanted = {container: digest for container, digest in source.items() if digest is not None}
    missing = len(source) - len(wanted)
    return Tagged(
        copied=sum(here[container] != digest for container, digest in wanted.items()),
        tagged=sum(label[container] != digest for container, digest in wanted.items()),
        note=f"{missing} containers are not in {promotion.source} yet" if missing else None,
    )


def tag_candidate(promotion: Promotion, services: Services, name: str, *, push: bool) -> Tagged:
    """Tag a build's containers with the candidate label in one registry, after a copy if it is pushed.

    The hash tags are checked first, all of them. The label's tags move only while DLRN's candidate label
    names this build; a build that lost it keeps its hash tags.

    :param promotion: with `label` being the candidate label.
    :param push: copy from the source registry first; otherwise the registry has them already.
    :raises PreflightError: when a container does not exist under the hash tag; nothing was changed by this.
    """
    assert promotion.source is not None
    wanted = _all_there(promotion, services, promotion.source)
    copied = 0
    if push:
        here = digests(services, name, promotion.containers, promotion.tag)
        missing = {container: digest for container, digest in wanted.items() if here[container] != digest}
        report = copy_under_hash_tag(promotion, services, name, missing)
        copied = len(report.copied)
    elif name != promotion.source:
        wanted = _all_there(promotion, services, name)
    holder = services.dlrn.current(promotion.label)
    if holder is None or holder.build != promotion.build:
        note = f"tags not moved: {promotion.label} names {holder.build if holder else 'nothing'} now"
        log.warning("%s %s: %s", promotion.build.short, name, note)
        return Tagged(copied, note=note)
    namespace = services.namespace(name)
    by_repository = {f"{namespace}/{container}": digest for container, digest in wanted.items()}
    moved = sum(tag_all(services.registry(name), by_repository, promotion.label).values())
    log.info("%s %s: %d tags moved to %s", promotion.build.short, name, moved, promotion.label)
    return Tagged(copied, moved)


def _all_there(promotion: Promotion, services: Services, name: str) -> dict[str, str]:
    found = digests(services, name, promotion.containers, promotion.tag)
    problems = [
        f"registry {name}: {container}:{promotion.tag} does not exist; let the containers build job push it"
        for container, digest in found.items()
        if digest is None
    ]
    if problems:
        # DLRN's label has moved before, and an earlier try may have moved tags.
        raise PreflightError(promotion.subject, problems, kept="no tag was moved by this try")
    return {container: digest for container, digest in found.items() if digest is not None}
