"""A container engine that speaks Docker's API: what has become of a container that we started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError

if TYPE_CHECKING:
    from docker import APIClient

#: Lines of a container's output that are read; what it has tested has to be said in these last ones.
LINES_MAX = 20_000

#: States in which a container has ended. Source: Docker Engine API 1.41, ContainerState.
_ENDED = frozenset({"exited", "dead"})

#: What podman says for a moment before ``exited``: it still writes down how the container has ended.
_ENDING = "stopped"


@dataclass(frozen=True, slots=True)
class Container:
    """A container.

    :param id: its id.
    :param state: as the engine says.
    :param status: its exit status, None before its end.
    """

    id: str
    state: str
    status: int | None

    @property
    def begun(self) -> bool:
        """Whether it was started."""
        return self.state not in ("created", "configured", "initialized")


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn what docker's library raises into this package's errors.

    :param what: what is asked of which engine, for the message.
    """
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        status = error.response.status_code if error.response is not None else 0
        said = f"{what}: {error.explanation or error}"
        if status == 404:
            raise NotFoundError(said) from error
        if status in (401, 403):
            raise AuthError(said) from error
        if status == 400:
            raise ConfigError(said) from error
        # Also 409, and podman's 500: the name is taken since we looked. The next try finds out by whom.
        raise ServiceError(said, status=status) from error
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        raise ServiceError(f"{what}: {error}") from error


def look(client: APIClient, name: str, where: str) -> Container | None:
    """Return a container by its name, None when there is none.

    :param where: the engine, for messages.
    """
    with suppress(NotFoundError), engine_errors(f"looking for container {name} on {where}"):
        found = client.inspect_container(name)
        state, status = str(found["State"]["Status"]), None
        if state in _ENDED:
            status = int(found["State"]["ExitCode"])
        elif state == _ENDING:
            status = int(client.wait(name)["StatusCode"])
        return Container(str(found["Id"]), state, status)
    return None


def start(client: APIClient, name: str, where: str) -> None:
    """Start a container that was made; one that runs is left alone."""
    with engine_errors(f"starting container {name} on {where}"):
        client.start(name)


def output(client: APIClient, name: str, where: str) -> str:
    """Return the last lines of a container's output."""
    with engine_errors(f"reading the output of {name} on {where}"):
        said = client.logs(name, stdout=True, stderr=True, tail=LINES_MAX)
    if not isinstance(said, bytes):
        raise AnswerError(f"reading the output of {name} on {where}: {type(said).__name__}, not bytes")
    return said.decode(errors="replace")


def remove(client: APIClient, name: str, where: str) -> None:
    """Remove a container that has ended."""
    with suppress(NotFoundError), engine_errors(f"removing container {name} on {where}"):
        client.remove_container(name)
