"""What of a promotion has moved already, told to whoever has to go on with it. Changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from rdo_promoter.engine.observe import observe_registry
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import (
    AnswerError,
    ConflictError,
    PermanentError,
    PreflightError,
    PromoterError,
    ServiceError,
    UnfinishedError,
    said,
)
from rdo_promoter.model.promotion import Observed, Promotion, RegistryState

log = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def moved_so_far(promotion: Promotion, observed: Observed) -> tuple[str, ...]:
    """Name each place outside DLRN where the label names this build."""
    lines: list[str] = []
    for name in promotion.registries:
        lines += _tags(promotion, name, observed.registries[name])
    for name in promotion.servers:
        lines += _link(promotion, name, observed.servers[name].link)
    return tuple(lines)


def moved_elsewhere(promotion: Promotion, services: Services) -> tuple[str, ...]:
    """Look for each place outside DLRN where the label names this build; name also those that do not tell.

    Nothing that goes wrong here hides the error that this is asked for.
    """
    lines: list[str] = []
    for name in promotion.registries:
        with _asking(promotion, f"registry {name}", lines):
            lines += _tags(promotion, name, observe_registry(promotion, services, name))
    for name in promotion.servers:
        # What stands in the place of the link, if that is no link, does not name this build.
        with (
            _asking(promotion, f"image server {name}", lines),
            suppress(AnswerError),
            services.server(name) as server,
        ):
            lines += _link(promotion, name, server.link(promotion.label))
    return tuple(lines)


def telling_what_has_moved(
    step: Callable[Concatenate[Promotion, Services, Parameters], Result],
) -> Callable[Concatenate[Promotion, Services, Parameters], Result]:
    """Let the failure of a step that moves labels say where they have moved: nothing is taken back."""

    @wraps(step)
    def telling(
        promotion: Promotion, services: Services, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        try:
            return step(promotion, services, *args, **kwargs)
        except (ConflictError, PreflightError, UnfinishedError):
            raise  # they say it themselves
        except ServiceError as error:
            if not (moved := moved_elsewhere(promotion, services)):
                raise
            raise ServiceError(
                f"{said(error)}. {promotion.subject}: this has moved already: {'; '.join(moved)}. Nothing is "
                "taken back; the next try, or clearing the whole promotion group, does what is left",
                status=error.status,
            ) from error
        except PermanentError as error:
            if not (moved := moved_elsewhere(promotion, services)):
                raise
            raise UnfinishedError(promotion.subject, (said(error),), moved) from error

    return telling


@contextmanager
def telling_conflicts(promotion: Promotion, services: Services) -> Iterator[None]:
    """Let a conflict that DLRN's client found say where the label has moved already."""
    try:
        yield
    except ConflictError as error:
        moved = moved_elsewhere(promotion, services) or ("nothing",)
        raise ConflictError(
            f"{error}. {promotion.subject} has moved elsewhere: {'; '.join(moved)}. To complete it clear "
            "the whole promotion group; to give it up promote the other build in this Dag"
        ) from error


@contextmanager
def _asking(promotion: Promotion, place: str, lines: list[str]) -> Iterator[None]:
    try:
        yield
    except PromoterError as error:
        log.warning("%s it is not known what has moved: %s", promotion.build.short, error)
        lines.append(f"{place}: not known, it cannot be asked now")


def _tags(promotion: Promotion, name: str, state: RegistryState) -> Iterator[str]:
    there = [
        c for c in promotion.containers if (tag := state.by_label.get(c)) and tag == state.by_hash.get(c)
    ]
    if there:
        yield f"registry {name}: {len(there)} of {len(promotion.containers)} tags"


def _link(promotion: Promotion, name: str, link: str | None) -> Iterator[str]:
    if link == promotion.tag:
        yield f"image server {name}: the link"
