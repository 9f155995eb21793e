"""Which jobs would have to pass so that nothing blocks a build any more? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

#: So many alternatives that several jobs share are tried in all combinations; of more, the most shared ones.
_TRIED = 12


def smallest_set(blocking: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return the fewest jobs whose passing lets a build through, required ones before alternatives.

    Only an alternative that stands in for several jobs can make the set smaller; where it does not, the
    required job itself is named.

    :param blocking: each required job that did not pass, with its alternatives.
    """
    helps: dict[str, set[str]] = {}
    for job, alternatives in blocking.items():
        for alternative in alternatives:
            helps.setdefault(alternative, set()).add(job)
    shared = sorted(
        (name for name, jobs in helps.items() if len(jobs) > 1),
        key=lambda name: (-len(helps[name]), name),
    )[:_TRIED]
    best: tuple[str, ...] = tuple(blocking)
    # Fewer alternatives first: of sets of one size the one with more required jobs stays.
    for count in range(1, len(shared) + 1):
        for chosen in combinations(shared, count):
            covered = set[str]().union(*(helps[name] for name in chosen))
            found = (*(job for job in blocking if job not in covered), *chosen)
            if len(found) < len(best):
                best = found
    return best
