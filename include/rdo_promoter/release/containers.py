"""Container lists: tripleo's ``container_images`` or plain names."""

from __future__ import annotations

import re

from rdo_promoter.files.document import Document, KeyPath, Problem, Value
from rdo_promoter.release.models import Containers
from rdo_promoter.steps.fields import closest, nearest

_NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@[A-Za-z0-9:]+)?$")
_LONGEST = 200


def container_names(document: Document, containers: Containers) -> tuple[tuple[str, ...], list[Problem]]:
    """Read a list of containers.

    The list is a plain one of names, with or without the prefix, or has the form of tripleo's
    ``overcloud_containers.yaml``: ``container_images`` with an ``imagename`` each, of which the last part
    without its tag is the name.

    :param document: the list.
    :param containers: prefix and exclusions.
    :return: the names with their prefix in the list's order, and what is wrong with the list. Paths are
        the list's, except for exclusions that match nothing: those begin with ``exclude``.
    """
    problems: list[Problem] = []
    names: list[str] = []
    skipped: set[str] = set()
    for path, text in _entries(document.value, problems):
        # "docker.io/ceph/daemon:v3" is the container "daemon", or "ceph/daemon" with its namespace.
        parts = _TAG.sub("", text, count=1).split("/")
        name, qualified = parts[-1], "/".join(parts[-2:])
        if len(text) > _LONGEST or not _NAME.fullmatch(name):
            problems.append(
                Problem(path, f"{text!r} names no container: lower-case letters, digits, '.', '_' and '-'")
            )
            continue
        if name.startswith(containers.prefix):
            full = name
        elif text == name:
            full = containers.prefix + name
        else:
            full = ""
        hits = {name, full, full.removeprefix(containers.prefix), qualified} & set(containers.exclude)
        skipped |= hits
        if hits:
            continue
        if not full:
            problems.append(
                Problem(
                    path,
                    f"{name!r} does not begin with the prefix {containers.prefix!r}: remove it, or exclude "
                    f"it in the release file (exclude: [{qualified}])",
                )
            )
        elif full in names:
            problems.append(Problem(path, f"{full!r} is listed twice: keep one"))
        else:
            names.append(full)
    if not names and not problems:
        problems.append(
            Problem((), "lists no container: add names, or remove `containers:` from the release")
        )
    return tuple(names), problems + _idle(containers, skipped, names)


def _idle(containers: Containers, skipped: set[str], names: list[str]) -> list[Problem]:
    short = tuple(name.removeprefix(containers.prefix) for name in names)
    return [
        Problem(("exclude", at), f"{name!r} is not in the list: {_instead(closest(name, short))}")
        for at, name in enumerate(containers.exclude)
        if name not in skipped
    ]


def _instead(near: str | None) -> str:
    return f"did you mean {near!r}?" if near else "remove it"


def _entries(value: Value, problems: list[Problem]) -> list[tuple[KeyPath, str]]:
    at: KeyPath = ()
    if isinstance(value, dict):
        problems += [
            Problem((key,), f"unknown key; {nearest(key, ('container_images',))}")
            for key in value
            if key != "container_images"
        ]
        if "container_images" not in value:
            return []
        at, value = ("container_images",), value["container_images"]
    if value is None:
        return []
    if not isinstance(value, list):
        problems.append(Problem(at, "no list: write one container a line, `- name`"))
        return []
    entries: list[tuple[KeyPath, str]] = []
    for index, item in enumerate(value):
        path = (*at, index)
        if isinstance(item, dict):
            # tripleo's lists have further keys (image_source, neutron_driver ...) that do not matter here.
            item, path = item.get("imagename"), (*path, "imagename")  # noqa: PLW2901  # the name, where it is
        if isinstance(item, str) and item:
            entries.append((path, item))
        else:
            problems.append(
                Problem(path, "no container's name: write `- name` or `- imagename: ns/name:tag`")
            )
    return entries
