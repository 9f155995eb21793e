"""Which builds an image server need not keep any more. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def outdated(builds: Mapping[str, int], *, keep: int, spared: Collection[str]) -> tuple[str, ...]:
    """Return the builds that are older than the newest ones and that nobody names, oldest first.

    A build that is as old as the last one that is kept stays as well: nothing tells which of them is older.

    :param builds: folder of a build -> when something in it last changed, seconds.
    :param keep: how many of the newest stay, at least 1.
    :param spared: folders that stay however old they are.
    """
    if len(builds) <= keep:
        return ()
    limit = sorted(builds.values(), reverse=True)[keep - 1]
    old = (name for name, changed in builds.items() if changed < limit and name not in spared)
    return tuple(sorted(old, key=lambda name: (builds[name], name)))
