"""Whether everything that a stage works on lets us in. Changes nothing.

A wrong password, an unknown host key or a missing Connection would otherwise be found hours later, when CI
has done its work and labels have begun to move.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from rdo_promoter.engine.services import Services
from rdo_promoter.errors import MissingConnectionError, PermanentError, TransientError
from rdo_promoter.model.clock import SKEW_MAX

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Door:
    """A service at which we knock.

    :param name: what messages call it.
    :param knock: asks it to let us in, and changes nothing.
    :param needed: whether the stage cannot go on without it.
    """

    name: str
    knock: Callable[[], object]
    needed: bool = True


@dataclass(frozen=True)
class Access:
    """What was found at the doors.

    :param problems: services that will go on refusing until a person has mended something.
    :param notes: services that do not answer now, they may when they are needed; and a clock that is wrong.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_access(
    services: Services,
    registries: Iterable[str],
    servers: Iterable[str],
    labels: Iterable[str],
    others: Iterable[Door] = (),
) -> Access:
    """Log in to DLRN, to registries and to image servers, and knock at other doors.

    :param registries: names of the release's registries.
    :param servers: names of its image servers.
    :param labels: labels that have to be moved in DLRN; without any nobody has to log in there.
    :param others: what the stage works with beside them.
    """
    doors = (
        Door("DLRN", partial(_may_promote, services, tuple(labels))),
        *(Door(f"registry {name}", partial(_ping, services, name)) for name in registries),
        *(Door(f"image server {name}", partial(_enter, services, name)) for name in servers),
        *others,
    )
    problems, notes = [], []
    for door in doors:
        try:
            door.knock()
        except (PermanentError, MissingConnectionError) as error:
            if door.needed:
                problems.append(_named(door.name, error))
            else:
                notes.append(f"{_named(door.name, error)}; the stage goes on without it")
        except TransientError as error:
            notes.append(_named(door.name, error))
    if not problems and (skew := services.dlrn.skew) is not None and abs(skew) > SKEW_MAX:
        ahead = "ahead of" if skew > 0 else "behind"
        notes.append(f"this machine's clock is {abs(skew):.0f} s {ahead} DLRN's, by which deadlines go")
    return Access(tuple(problems), tuple(notes))


def _may_promote(services: Services, labels: Iterable[str]) -> None:
    for label in labels:
        services.dlrn.check_may_promote(label)


def _ping(services: Services, name: str) -> None:
    services.registry(name).ping()


def _enter(services: Services, name: str) -> None:
    with services.server(name):
        pass


def _named(door: str, error: Exception) -> str:
    text = str(error)
    return text if text.startswith(door) else f"{door}: {text}"
