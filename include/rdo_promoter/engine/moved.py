"""What of a promotion has moved already, told to whoever has to go on with it. Changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rdo_promoter.engine.observe import observe_elsewhere
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import (
    ConflictError,
    PermanentError,
    PreflightError,
    PromoterError,
    ServiceError,
    UnfinishedError,
)
from rdo_promoter.model.promotion import Observed, Promotion

log = logging.getLogger(__name__)


def moved_so_far(promotion: Promotion, observed: Observed) -> tuple[str, ...]:
    """Name each place outside DLRN where the label names this build."""
    lines = []
    for name in promotion.registries:
        state = observed.registries[name]
        there = [
            c for c in promotion.containers if (tag := state.by_label.get(c)) and tag == state.by_hash.get(c)
        ]
        if there:
            lines.append(f"registry {name}: {len(there)} of {len(promotion.containers)} tags")
    lines += [
        f"image server {name}: the link"
        for name in promotion.servers
        if observed.servers[name].link == promotion.tag
    ]
    return tuple(lines)


@contextmanager
def telling_what_has_moved(promotion: Promotion, services: Services) -> Iterator[None]:
    """Let the failure of the last step say where the label has moved already: nothing is taken back."""
    try:
        yield
    except (ConflictError, PreflightError, UnfinishedError):
        raise  # they say it themselves
    except ServiceError as error:
        if not (moved := _moved_elsewhere(promotion, services)):
            raise
        raise ServiceError(
            f"{error}. {promotion.subject}: this has moved already: {'; '.join(moved)}. Nothing is taken "
            "back; the next try, or clearing the whole promotion group, does what is left",
            status=error.status,
        ) from error
    except PermanentError as error:
        if not (moved := _moved_elsewhere(promotion, services)):
            raise
        raise UnfinishedError(promotion.subject, (str(error),), moved) from error


@contextmanager
def telling_conflicts(promotion: Promotion, services: Services) -> Iterator[None]:
    """Let a conflict that DLRN's client found say where the label has moved already."""
    try:
        yield
    except ConflictError as error:
        moved = _moved_elsewhere(promotion, services) or ("nothing",)
        raise ConflictError(
            f"{error}. {promotion.subject} has moved elsewhere: {'; '.join(moved)}. To complete it clear "
            "the whole promotion group; to give it up promote the other build in this Dag"
        ) from error


def _moved_elsewhere(promotion: Promotion, services: Services) -> tuple[str, ...]:
    try:
        return moved_so_far(promotion, observe_elsewhere(promotion, services, checksums=False))
    except PromoterError as error:
        log.warning("%s it is not known what has moved: %s", promotion.build.short, error)
        return ()
