"""One promotion, step by step. Forward only: each step observes its part anew and does what is left.

The steps in their order, each of which may be run again at any time::

    preflight      observe everything, plan, refuse when something is missing   (changes nothing)
    copy_to        containers to a registry, under the hash tag
    mirror_to      images to a mirror, into the build's folder
    check_copies   every container and image is in place everywhere             (changes nothing)
    tag_in, link_on  labels on registries, links on image servers
    commit         DLRN's previous-<label>, then DLRN's label: the commit point
    verify         read everything back                                         (changes nothing)

Every step that changes something asks `check_turn` whether the label is where the plan found it: first of
all, again right before tags, a link or a label move, and every second while tags move. A build that is not
newer than the label's holder is superseded in `preflight`; later on a label that moved is a conflict, because
something of this promotion may be in place already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain

from rdo_promoter.clients.image_copy import copy_image
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import CopyItem, CopyReport, copy, tag_all
from rdo_promoter.engine.moved import moved_elsewhere, telling_conflicts, telling_what_has_moved
from rdo_promoter.engine.observe import (
    digests,
    observe,
    observe_dlrn,
    observe_registry,
    observe_server,
    place_problem,
    single,
)
from rdo_promoter.engine.services import Services
from rdo_promoter.engine.turn import StillOurTurn
from rdo_promoter.errors import AnswerError, ConflictError, PermanentError, PreflightError, UnfinishedError
from rdo_promoter.model.build import Build, check_label
from rdo_promoter.model.plan import (
    Plan,
    image_problems,
    plan,
    plan_dlrn,
    plan_registry,
    plan_server,
    source_problems,
)
from rdo_promoter.model.promotion import Observed, Promotion, RegistryState, previous_label
from rdo_promoter.model.promotions import PromotionRow

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preflight:
    """What a promotion found before it changed anything.

    :param plan: the changes that are left.
    :param was: the build that held the promoted label, None when nothing did.
    """

    plan: Plan
    was: Build | None


@dataclass(frozen=True)
class MirrorReport:
    """What was copied to a mirror.

    :param copied: images that were copied.
    :param already: how many were in place.
    :param size: bytes that were copied.
    """

    copied: tuple[str, ...]
    already: int
    size: int


def preflight(promotion: Promotion, services: Services) -> Preflight:
    """Observe everything, plan, and refuse when something is missing. Changes nothing.

    :raises PreflightError: naming everything that is missing or wrong; `UnfinishedError` when an earlier
        try has moved labels already.
    :raises SupersededError: when a newer build holds the label.
    """
    found = look(promotion, services)
    _refuse(promotion, services, found.plan.problems, kept="nothing was changed")
    return found


def look(promotion: Promotion, services: Services, *, reads_only: bool = False) -> Preflight:
    """Observe and plan, without refusing what is missing: for a dry run and for people.

    :param reads_only: do not ask DLRN whether we may promote: a POST, though one that changes nothing.
    :raises ConfigError: when nobody may promote to the label, or the build is one that is not promoted.
    :raises SupersededError: when a newer build holds the label.
    """
    for label in (promotion.label, previous_label(promotion.label)):
        check_label(label)
    single(promotion.build)
    observed = observe(promotion, services)
    holder = observed.dlrn.holder
    found = plan(promotion, observed)
    # DLRN knows no place of a build that it does not know.
    if observed.dlrn.build_exists and (problem := _place_problem(promotion, services, holder)):
        found += Plan(problems=(problem,))
    try:
        if not reads_only:
            services.dlrn.check_may_promote(promotion.label)
    except PermanentError as error:
        found += Plan(problems=(str(error),))
    return Preflight(found, holder.build if holder else None)


def check_order(promotion: Promotion, services: Services) -> None:
    """Make sure that no newer build holds the label.

    :raises SupersededError: when one does.
    """
    _place_problem(promotion, services, services.dlrn.current(promotion.label))


def check_turn(promotion: Promotion, services: Services, was: Build | None) -> PromotionRow | None:
    """Make sure that nobody else moved the label; return its newest row.

    :param was: the build that held the label when the plan was made.
    :raises ConflictError: when another build holds the label now; it names what this one has moved.
    """
    holder = services.dlrn.current(promotion.label)
    if holder is None or holder.build in (promotion.build, was):
        return holder
    build, moved = holder.build, moved_elsewhere(promotion, services)
    left = "".join(f"\n  - {line}" for line in moved) or " nothing"
    raise ConflictError(
        f"{promotion.subject}: {promotion.label} named {was or 'nothing'} when this was planned, and "
        f"{holder.user or 'somebody'} moved it to {build} meanwhile. Nothing more is changed. "
        f"What this promotion has moved:{left}\nIf {build} is to stay, promote it in this Dag, which takes "
        "these along; otherwise clear the whole promotion group to plan anew"
    )


def _check_holder(promotion: Promotion, services: Services, was: Build | None) -> None:
    """Do what `check_turn` does, without a look at what has moved: for the middle of many writes."""
    holder = services.dlrn.current(promotion.label)
    if holder is not None and holder.build not in (promotion.build, was):
        raise ConflictError(
            f"{promotion.subject}: {holder.user or 'somebody'} moved {promotion.label} to {holder.build} "
            "while its tags were being moved; clear the whole promotion group to plan anew"
        )


def copy_to(promotion: Promotion, services: Services, name: str, was: Build | None) -> CopyReport:
    """Copy what a registry lacks, under the hash tag, and read it back.

    :param name: one of the promotion's `push_to`.
    :param was: the build that held the label when the plan was made.
    """
    check_turn(promotion, services, was)
    todo = _registry_plan(promotion, services, name)
    _refuse(promotion, services, todo.problems)
    log.info("%s %s: %d containers to copy", promotion.build.short, name, len(todo.copies))
    report = copy_under_hash_tag(promotion, services, name, {c.container: c.digest for c in todo.copies})
    left = _registry_plan(promotion, services, name).copies
    if left:
        raise AnswerError(
            f"{promotion.subject}: after the copy to {name} {len(left)} containers are not there: {left[0]}"
        )
    return report


def copy_under_hash_tag(
    promotion: Promotion, services: Services, name: str, wanted: dict[str, str]
) -> CopyReport:
    """Copy containers from the source registry, each by its digest.

    :param name: the registry that they are copied to.
    :param wanted: container -> digest.
    """
    assert promotion.source is not None
    source_namespace, namespace = services.namespace(promotion.source), services.namespace(name)
    return copy(
        services.registry(promotion.source),
        services.registry(name),
        [
            CopyItem(f"{source_namespace}/{container}", f"{namespace}/{container}", digest, promotion.tag)
            for container, digest in wanted.items()
        ],
    )


def mirror_to(promotion: Promotion, services: Services, name: str, was: Build | None) -> MirrorReport:
    """Copy the images that a mirror lacks into its folder of the build, and read them back.

    :param name: one of the promotion's `mirror_to`.
    :param was: the build that held the label when the plan was made.
    """
    holder = check_turn(promotion, services, was)
    with _opened(promotion, services, name) as servers:
        todo = _server_plan(promotion, name, servers, holder)
        if not todo.problems:
            log.info("%s %s: %d images to copy", promotion.build.short, name, len(todo.images))
            assert promotion.mirror_source is not None
            source, mirror = servers[promotion.mirror_source], servers[name]
            size = 0
            for change in todo.images:
                size += copy_image(source, mirror, change.folder, change.image, change.md5)
                log.info("%s %s", promotion.build.short, change)
            left = _server_plan(promotion, name, servers, holder)
    _refuse(promotion, services, todo.problems)
    if left.images:
        raise AnswerError(
            f"{promotion.subject}: after the copy to {name} {len(left.images)} images are not there: "
            f"{left.images[0]}"
        )
    copied = tuple(change.image for change in todo.images)
    return MirrorReport(copied, len(promotion.images_on(name)) - len(copied), size)


def check_copies(promotion: Promotion, services: Services) -> Observed:
    """Make sure that everything is in place under the hash everywhere, before any label moves.

    :raises PreflightError: naming what is not; `UnfinishedError` when labels have moved already.
    """
    observed = observe(promotion, services, checksums=False)
    found = plan(promotion, observed)
    _refuse(promotion, services, (*found.problems, *_not_done((*found.copies, *found.images))))
    return observed


@telling_what_has_moved
def tag_in(promotion: Promotion, services: Services, name: str, was: Build | None) -> int:
    """Move the label's tag of every container in a registry; return how many moved.

    :param name: one of the promotion's registries.
    :param was: the build that held the label when the plan was made.
    """
    check_turn(promotion, services, was)
    todo = _registry_plan(promotion, services, name)
    _refuse(promotion, services, (*todo.problems, *_not_done(todo.copies)))
    namespace = services.namespace(name)
    for change in todo.tags:
        log.debug("%s %s", promotion.build.short, change)
    digests_by_repository = {f"{namespace}/{change.container}": change.digest for change in todo.tags}
    # To look at all these tags may have taken minutes.
    check_turn(promotion, services, was)
    turn = StillOurTurn(lambda: _check_holder(promotion, services, was))
    try:
        changed = tag_all(services.registry(name), digests_by_repository, promotion.label, before=turn)
    except ConflictError:
        # Only now that nobody writes any more it can be told what has moved.
        check_turn(promotion, services, was)
        raise
    moved = sum(changed.values())
    log.info("%s %s: %d tags moved to %s", promotion.build.short, name, moved, promotion.label)
    return moved


@telling_what_has_moved
def link_on(promotion: Promotion, services: Services, name: str, was: Build | None) -> int:
    """Move the label's link on an image server, ``previous-`` first; return how many links moved.

    :param name: one of the promotion's image servers.
    :param was: the build that held the label when the plan was made.
    """
    holder = check_turn(promotion, services, was)
    with _opened(promotion, services, name) as servers:
        todo = _server_plan(promotion, name, servers, holder)
        problems = (*todo.problems, *_not_done(todo.images))
        if not problems:
            for change in todo.links:
                # The logins alone may have taken minutes.
                check_turn(promotion, services, was)
                servers[name].set_link(change.link, change.target)
                log.info("%s %s", promotion.build.short, change)
            for note in todo.notes:
                log.warning("%s %s", promotion.build.short, note)
    _refuse(promotion, services, problems)
    return len(todo.links)


@telling_what_has_moved
def commit(promotion: Promotion, services: Services, was: Build | None) -> PromotionRow:
    """Move DLRN's label, ``previous-`` first: the promotion is done with this.

    Everything else is observed once more right before, so that the label never names a build of which
    a container, an image or a link is not in place; and before each of DLRN's labels it is asked again
    whether somebody else moved the promoted one.

    :param was: the build that held the label when the plan was made.
    :raises UnfinishedError: naming what is not in place, or why DLRN refuses, and what has moved.
    :raises ServiceError: when DLRN does not serve; naming what has moved.
    """
    check_turn(promotion, services, was)
    observed = check_copies(promotion, services)
    found = plan(promotion, observed)
    _refuse(promotion, services, _not_done((*found.tags, *found.links)))
    state = observe_dlrn(promotion, services.dlrn)
    todo = plan_dlrn(promotion, state)
    for note in todo.notes:
        log.warning("%s %s", promotion.build.short, note)
    for change in todo.labels:
        holder = check_turn(promotion, services, was)
        expected = holder if change.label == promotion.label else state.previous
        with telling_conflicts(promotion, services):
            services.dlrn.promote(single(change.build), change.label, expected=expected)
        log.info("%s %s", promotion.build.short, change)
    row = check_turn(promotion, services, promotion.build)
    assert row is not None
    return row


def verify(promotion: Promotion, services: Services) -> Observed:
    """Read everything back.

    :raises ConflictError: when somebody else moved the label since.
    :raises AnswerError: naming what differs.
    """
    check_turn(promotion, services, promotion.build)
    observed = observe(promotion, services, checksums=False)
    left = plan(promotion, observed)
    if left.problems or left.changes:
        lines = "\n".join(f"  - {line}" for line in (*left.problems, *left.changes))
        raise AnswerError(f"{promotion.subject} is not complete; clear the whole promotion group:\n{lines}")
    return observed


def _place_problem(promotion: Promotion, services: Services, holder: PromotionRow | None) -> str | None:
    return place_problem(
        services.dlrn,
        promotion.build,
        holder,
        candidate_label=promotion.candidate_label,
        promoted_label=promotion.label,
    )


def _not_done(changes: Sequence[object]) -> tuple[str, ...]:
    return tuple(f"not done: {change}" for change in changes)


def _refuse(
    promotion: Promotion, services: Services, problems: Sequence[str], *, kept: str | None = None
) -> None:
    """Raise what tells the truth about what has changed, if there are problems.

    :param kept: what is as it was when no label has moved; behind `preflight` copies may have been made.
    """
    if not problems:
        return
    if moved := moved_elsewhere(promotion, services):
        raise UnfinishedError(promotion.subject, problems, moved)
    kept = kept or f"{promotion.label} has not moved on any registry or image server"
    raise PreflightError(promotion.subject, problems, kept=kept)


def _registry_plan(promotion: Promotion, services: Services, name: str) -> Plan:
    assert promotion.source is not None
    states = {name: observe_registry(promotion, services, name)}
    if name != promotion.source:
        source = digests(services, promotion.source, promotion.containers, promotion.tag)
        states[promotion.source] = RegistryState(source)
    # A container that has vanished from the source would otherwise be left out without a word.
    gone = Plan(problems=tuple(source_problems(promotion, states)))
    return gone + plan_registry(promotion, name, states)


@contextmanager
def _opened(promotion: Promotion, services: Services, name: str) -> Iterator[Mapping[str, ImageServer]]:
    """Open an image server and, for a mirror, the server that its images come from."""
    names = [name]
    if name in promotion.mirror_to:
        assert promotion.mirror_source is not None
        names.append(promotion.mirror_source)
    with ExitStack() as stack:
        yield {each: stack.enter_context(services.server(each)) for each in names}


def _server_plan(
    promotion: Promotion, name: str, servers: Mapping[str, ImageServer], holder: PromotionRow | None
) -> Plan:
    states = {each: observe_server(promotion, server, checksums=False) for each, server in servers.items()}
    # An image that has vanished from the source would otherwise be left out without a word.
    gone = (image_problems(promotion, each, state) for each, state in states.items() if each != name)
    return Plan(problems=tuple(chain(*gone))) + plan_server(promotion, name, states, holder)
