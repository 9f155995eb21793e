"""What Jenkins answers, as values. Only the keys named in the trees are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from rdo_promoter.errors import AnswerError

#: What is asked of a job.
DEFINITION = "name,url,buildable,property[parameterDefinitions[name]],actions[parameterDefinitions[name]]"

_PARAMETERS = "actions[parameters[name,value]]"


def build_tree() -> str:
    """Return what is asked of a build."""
    return f"number,url,result,building,timestamp,duration,description,{_PARAMETERS}"


def queue_tree() -> str:
    """Return what is asked of an item of the queue."""
    return f"id,why,cancelled,executable[number,url],{_PARAMETERS}"


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """A job.

    :param url: its page.
    :param buildable: False when somebody has disabled it.
    :param parameters: the names of the parameters that it declares; a build keeps no others.
    """

    url: str
    buildable: bool
    parameters: frozenset[str]


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A build that waits to begin.

    :param id: its number.
    :param why: what it waits for.
    :param cancelled: somebody has taken it out of the queue.
    :param number: the build's number, None before it begins.
    :param parameters: what it was asked for with.
    """

    id: int
    why: str
    cancelled: bool
    number: int | None
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class JenkinsBuild:
    """A build of a job.

    :param number: its number in the job.
    :param url: its page.
    :param building: it runs.
    :param result: SUCCESS, FAILURE, UNSTABLE, ABORTED or NOT_BUILT; None while it runs.
    :param started: seconds since the epoch.
    :param description: what it says of itself.
    :param parameters: what it was started with.
    """

    number: int
    url: str
    building: bool
    result: str | None
    started: int
    description: str
    parameters: Mapping[str, str]


def read_definition(content: object, job: str) -> JobDefinition:
    """Read the answer about a job.

    :raises AnswerError: when it is none.
    """
    if not isinstance(content, Mapping) or "buildable" not in content:
        raise AnswerError(f"Jenkins's {job} cannot be built: it is a folder or a view; name a job in it")
    names: set[str] = set()
    # Jenkins of before 2.0 has them among the actions.
    for holder in (*_items(content.get("property")), *_items(content.get("actions"))):
        names |= {str(each["name"]) for each in _items(holder.get("parameterDefinitions")) if "name" in each}
    return JobDefinition(str(content.get("url") or ""), bool(content["buildable"]), frozenset(names))


def read_queue_item(content: object) -> QueueItem:
    """Read an item of the queue.

    :raises AnswerError: when it is none.
    """
    if not isinstance(content, Mapping) or not _is_number(content.get("id")):
        raise AnswerError(f"Jenkins's queue has an item without a number: {str(content)[:200]}")
    executable = content.get("executable")
    number = executable.get("number") if isinstance(executable, Mapping) else None
    return QueueItem(
        id=int(content["id"]),
        why=str(content.get("why") or ""),
        cancelled=content.get("cancelled") is True,
        number=number if _is_number(number) else None,
        parameters=_parameters(content),
    )


def read_build(content: object) -> JenkinsBuild:
    """Read a build.

    :raises AnswerError: when it is none.
    """
    if not isinstance(content, Mapping) or not _is_number(content.get("number")):
        raise AnswerError(f"Jenkins has a build without a number: {str(content)[:200]}")
    result, started = content.get("result"), content.get("timestamp")
    return JenkinsBuild(
        number=int(content["number"]),
        url=str(content.get("url") or ""),
        # A build that was just ended may have a result while it still tidies up: then its result may change.
        building=content.get("building") is not False,
        result=str(result) if result is not None else None,
        started=started // 1000 if _is_number(started) else 0,
        description=str(content.get("description") or ""),
        parameters=_parameters(content),
    )


def read_list(content: object, key: str, what: str) -> Sequence[object]:
    """Return a list out of an answer.

    :raises AnswerError: when there is none.
    """
    found = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(found, list):
        raise AnswerError(f"Jenkins's answer about {what} has no list {key!r}")
    return found


def _parameters(content: Mapping[str, object]) -> dict[str, str]:
    # Passwords and files have no value here.
    return {
        str(each["name"]): str(each["value"])
        for action in _items(content.get("actions"))
        for each in _items(action.get("parameters"))
        if "name" in each and each.get("value") is not None
    }


def _items(content: object) -> list[Mapping[str, object]]:
    """Return the objects of a list; plugins leave empty ones, and nulls, among them."""
    return [each for each in content if isinstance(each, Mapping)] if isinstance(content, list) else []


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
