"""One promotion, step by step. Forward only: each step observes its part anew and does what is left.

The steps in their order, each of which may be run again at any time::

    preflight      observe everything, plan, refuse when something is missing   (changes nothing)
    copy           containers to a registry, under the hash tag
    check_copies   every container and image is in place everywhere             (changes nothing)
    tag, link      labels on registries, links on image servers
    commit         DLRN's previous-<label>, then DLRN's label: the commit point
    verify         read everything back                                         (changes nothing)

Every step that changes something first asks `check_turn` whether it is still this build's turn.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from rdo_promoter.clients.registry import CopyItem, CopyReport, copy, tag_all
from rdo_promoter.engine.observe import (
    digests,
    observe,
    observe_dlrn,
    observe_registry,
    observe_server,
    single,
    standing,
)
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import AnswerError, ConflictError, PreflightError, SupersededError
from rdo_promoter.model.build import Build
from rdo_promoter.model.order import superseded
from rdo_promoter.model.plan import Plan, plan, plan_dlrn, plan_registry, plan_server
from rdo_promoter.model.promotion import Observed, Promotion, RegistryState
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


def preflight(promotion: Promotion, services: Services) -> Preflight:
    """Observe everything, plan, and refuse when something is missing. Changes nothing.

    :raises PreflightError: naming everything that is missing or wrong.
    :raises SupersededError: when a newer build holds the label.
    """
    found = look(promotion, services)
    services.dlrn.check_credentials()
    if found.plan.problems:
        raise PreflightError(promotion.subject, found.plan.problems)
    return found


def look(promotion: Promotion, services: Services) -> Preflight:
    """Observe and plan, without refusing what is missing: for a dry run and for people.

    :raises SupersededError: when a newer build holds the label.
    """
    observed = observe(promotion, services)
    holder = observed.dlrn.holder
    found = plan(promotion, observed)
    if problem := _order_problem(promotion, services, holder):
        found += Plan(problems=(problem,))
    return Preflight(found, holder.build if holder else None)


def check_order(promotion: Promotion, services: Services) -> None:
    """Make sure that no newer build holds the label.

    :raises SupersededError: when one does.
    """
    _order_problem(promotion, services, services.dlrn.current(promotion.label))


def check_turn(promotion: Promotion, services: Services, was: Build | None) -> PromotionRow | None:
    """Make sure that the label may still be moved to this build; return the label's newest row.

    :param was: the build that held the label when the plan was made.
    :raises SupersededError: when a newer build holds the label now.
    :raises ConflictError: when somebody moved the label meanwhile, to a build that is not newer.
    """
    holder = services.dlrn.current(promotion.label)
    if problem := _order_problem(promotion, services, holder):
        raise PreflightError(promotion.subject, [problem])
    build = holder.build if holder else None
    if holder is not None and build not in (promotion.build, was):
        raise ConflictError(
            f"{promotion.subject}: {promotion.label} named {was or 'nothing'} when this was planned, "
            f"and {holder.user or 'somebody'} moved it to {build} meanwhile. Nothing more is changed. "
            "If that was intended, leave it; otherwise clear the whole promotion group to plan anew"
        )
    return holder


def copy_to(promotion: Promotion, services: Services, name: str, was: Build | None) -> CopyReport:
    """Copy what a registry lacks, under the hash tag, and read it back.

    :param name: one of the promotion's `push_to`.
    """
    check_turn(promotion, services, was)
    todo = _registry_plan(promotion, services, name)
    log.info("%s %s: %d containers to copy", promotion.build.short, name, len(todo.copies))
    report = copy_under_hash_tag(promotion, services, name, {c.container: c.digest for c in todo.copies})
    left = _registry_plan(promotion, services, name).copies
    if left:
        raise AnswerError(
            f"{promotion.subject}: after the copy, {name} still lacks {left[0]} (of {len(left)})"
        )
    return report


def copy_under_hash_tag(
    promotion: Promotion, services: Services, name: str, wanted: dict[str, str]
) -> CopyReport:
    """Copy containers from the source registry, each by its digest."""
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


def check_copies(promotion: Promotion, services: Services) -> Observed:
    """Make sure that everything is in place under the hash everywhere, before any label moves.

    :raises PreflightError: naming what is not.
    """
    observed = observe(promotion, services, checksums=False)
    found = plan(promotion, observed)
    problems = (*found.problems, *(f"not done: {change}" for change in found.copies))
    if problems:
        raise PreflightError(promotion.subject, problems)
    return observed


def tag_in(promotion: Promotion, services: Services, name: str, was: Build | None) -> int:
    """Move the label's tag of every container in a registry; return how many moved."""
    check_turn(promotion, services, was)
    todo = _registry_plan(promotion, services, name)
    if todo.copies or todo.problems:
        problems = (*todo.problems, *(f"not done: {change}" for change in todo.copies))
        raise PreflightError(promotion.subject, problems)
    namespace = services.namespace(name)
    for change in todo.tags:
        log.debug("%s %s", promotion.build.short, change)
    digests_by_repository = {f"{namespace}/{change.container}": change.digest for change in todo.tags}
    moved = sum(tag_all(services.registry(name), digests_by_repository, promotion.label).values())
    log.info("%s %s: %d tags moved to %s", promotion.build.short, name, moved, promotion.label)
    return moved


def link_on(promotion: Promotion, services: Services, name: str, was: Build | None) -> int:
    """Move the label's link on an image server, ``previous-`` first; return how many links moved."""
    check_turn(promotion, services, was)
    with services.server(name) as server:
        todo = plan_server(promotion, name, observe_server(promotion, server, checksums=False))
        if todo.problems:
            raise PreflightError(promotion.subject, todo.problems)
        for change in todo.links:
            server.set_link(change.link, change.target)
            log.info("%s %s", promotion.build.short, change)
    return len(todo.links)


def commit(promotion: Promotion, services: Services, was: Build | None) -> PromotionRow:
    """Move DLRN's label, ``previous-`` first: the promotion is done with this.

    Everything else is observed once more right before, so that the label never names a build of which
    a container, an image or a link is not in place.

    :raises PreflightError: naming what is not in place.
    """
    found = plan(promotion, check_copies(promotion, services))
    if found.tags or found.links:
        raise PreflightError(
            promotion.subject, [f"not done: {change}" for change in (*found.tags, *found.links)]
        )
    holder = check_turn(promotion, services, was)
    todo = plan_dlrn(promotion, observe_dlrn(promotion, services.dlrn))
    for change in todo.labels:
        holder = services.dlrn.promote(single(change.build), change.label)
        log.info("%s %s", promotion.build.short, change)
    for note in todo.notes:
        log.warning("%s %s", promotion.build.short, note)
    assert holder is not None
    return holder


def verify(promotion: Promotion, services: Services) -> Observed:
    """Read everything back.

    :raises SupersededError: when a newer build was promoted since.
    :raises AnswerError: naming what differs.
    """
    observed = observe(promotion, services, checksums=False)
    _order_problem(promotion, services, observed.dlrn.holder)
    left = plan(promotion, observed)
    if left.problems or left.changes:
        lines = "\n".join(f"  - {line}" for line in (*left.problems, *left.changes))
        raise AnswerError(f"{promotion.subject} is not complete; clear the whole promotion group:\n{lines}")
    return observed


def _order_problem(promotion: Promotion, services: Services, holder: PromotionRow | None) -> str | None:
    """Say why the build has no place in the order; None when it is newer than the label's holder.

    :raises SupersededError: when it is not newer.
    """
    if holder is None or holder.build == promotion.build:
        return None
    labels = {"candidate_label": promotion.candidate_label, "promoted_label": promotion.label}
    ours = standing(services.dlrn, promotion.build, **labels)
    if ours is None:
        return (
            f"DLRN: the build never held {promotion.candidate_label}, so it has no place in the order of "
            f"builds; run the stage's candidate step first"
        )
    if superseded(ours, standing(services.dlrn, holder.build, **labels)):
        raise SupersededError(
            f"superseded by {holder.build.full_hash}, which holds {promotion.label} and is not older",
            by=holder.build.full_hash,
        )
    return None


def _registry_plan(promotion: Promotion, services: Services, name: str) -> Plan:
    assert promotion.source is not None
    source = RegistryState(digests(services, promotion.source, promotion.containers, promotion.tag))
    here = observe_registry(promotion, services, name)
    # A source that is tagged itself was observed as `here`; its hash tags are the same question.
    states = {promotion.source: source, name: here}
    return plan_registry(promotion, name, states)
