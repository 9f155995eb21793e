"""Release files that cannot be used, and runs of releases that are gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context
from pydantic import JsonValue

from rdo_promoter.model.roster import gone, read_roster, report, update
from rdo_promoter.operators.base import Result, fail
from rdo_promoter.operators.hold import HOLDERS
from rdo_promoter.release import BrokenRelease, Release, load_releases, releases_folder

_ROSTER = "releases"


class ReleasesOperator(BaseOperator):
    """Report release files that cannot be used, and runs of releases that are gone.

    :param folder: the releases folder; the one that the environment names when None.
    """

    def __init__(self, *, folder: str | None = None, **kwargs: Any) -> None:
        super().__init__(inlets=[HOLDERS], **kwargs)
        self.folder = folder

    def execute(self, context: Context) -> Result:
        """Look, remember, report."""
        loaded = read_folder(self.folder)
        present = {each.dag_id: each.file for each in loaded if isinstance(each, Release)}
        broken = [each for each in loaded if isinstance(each, BrokenRelease)]
        store = context["asset_state_store"][HOLDERS]
        roster = update(
            read_roster(store.get(_ROSTER)), present, {each.file for each in broken}, now=int(time.time())
        )
        problems = [f"{each.error}\n(shown by the Dag {each.dag_id})" for each in broken]
        over = set()
        for release in gone(roster):
            count = context["ti"].get_dr_count(dag_id=release.dag_id, states=["queued", "running"])
            if count:
                problems.append(report(release, present, count))
            else:
                over.add(release)
        kept: list[JsonValue] = [dict(release.to_json()) for release in roster if release not in over]
        store.set(_ROSTER, kept)
        if problems:
            raise fail(context, "\n".join(problems))
        return {"releases": sorted(present)}


def read_folder(folder: str | None) -> list[Release | BrokenRelease]:
    """Read the release files as the Dag file does.

    :param folder: the releases folder; the one that the environment names when None.
    """
    return load_releases(Path(folder) if folder else releases_folder())
