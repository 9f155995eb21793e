"""Which releases there were, and which of them are gone. Pure.

Airflow freezes the runs of a Dag that no file makes any more, and shows neither: somebody has to remember
that there was one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A release that was seen.

    :param dag_id: its Dag.
    :param file: the file that it was made from.
    :param gone_since: when it was first missed, seconds since the epoch; None while it is there.
    """

    dag_id: str
    file: str
    gone_since: int | None = None

    def to_json(self) -> dict[str, str | int | None]:
        """Return the fields as JSON values."""
        return {"dag_id": self.dag_id, "file": self.file, "gone_since": self.gone_since}


def read_roster(stored: object) -> tuple[Known, ...]:
    """Read what was stored as a list of `Known.to_json`; what is none is left out."""
    rows = stored if isinstance(stored, list) else []
    return tuple(
        Known(row["dag_id"], row["file"], row.get("gone_since"))
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("dag_id"), str) and isinstance(row.get("file"), str)
    )


def update(
    known: Iterable[Known], present: Mapping[str, str], broken: Collection[str], *, now: int
) -> tuple[Known, ...]:
    """Return the roster as it is now.

    A release whose file is broken is not gone: mended, its runs go on.

    :param known: the roster so far.
    :param present: file by Dag id of the releases that can be used.
    :param broken: files that cannot be used at the moment.
    :param now: seconds since the epoch.
    """
    here = [Known(dag_id, file) for dag_id, file in sorted(present.items())]
    absent = sorted((each for each in known if each.dag_id not in present), key=lambda each: each.dag_id)
    return (
        *here,
        *(
            Known(each.dag_id, each.file)
            if each.file in broken
            else Known(each.dag_id, each.file, now if each.gone_since is None else each.gone_since)
            for each in absent
        ),
    )


def gone(roster: Iterable[Known]) -> tuple[Known, ...]:
    """Return the releases that no file makes any more."""
    return tuple(each for each in roster if each.gone_since is not None)


def report(release: Known, present: Mapping[str, str], frozen: int) -> str:
    """Say what became of a release that is gone while runs of it are not over.

    :param present: file by Dag id of the releases that can be used.
    :param frozen: how many runs of it are queued or running, and will not go on.
    """
    runs = "1 run of it is" if frozen == 1 else f"{frozen} runs of it are"
    new = next((dag_id for dag_id, file in present.items() if file == release.file), None)
    if new is not None:
        happened = f"{release.file} makes {new} now"
        remedy = f"name it {release.dag_id} again until they have ended"
    else:
        happened = f"{release.file} is gone"
        remedy = "put the file back until they have ended"
    return (
        f"{release.dag_id}: {happened}, and {runs} frozen; {remedy}, or mark them as failed "
        f"(a Dag without a file is listed with the filter for stale Dags)"
    )
