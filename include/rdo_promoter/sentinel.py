"""The Dag ``promotions-sentinel``: looks after what no release's own Dag can see.

A release whose file is broken, renamed or removed has no Dag that could say so, and the runs that it had
are frozen. This Dag is always there; it also keeps alive what Airflow stores for the holders of labels.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, Context
from pydantic import JsonValue

from rdo_promoter.model.roster import gone, read_roster, report, update
from rdo_promoter.operators.base import Result, fail
from rdo_promoter.operators.hold import HOLDERS
from rdo_promoter.release import BrokenRelease, Release, load_releases, releases_folder

DAG_ID = "promotions-sentinel"

_ROSTER = "releases"

_DOC = """# promotions-sentinel

Looks every 30 minutes after what no release's own Dag can see.

- `releases` is red while a release file cannot be used, and while runs are frozen because the file of their
  release was renamed or removed. The task's log and its XCom `reason` say which, and what to do.
"""


def sentinel_dag(start_date: Any, folder: Path | None = None) -> DAG:
    """Make the Dag.

    :param start_date: no run is older.
    :param folder: the releases folder; the one that the environment names when not given.
    """
    with DAG(
        DAG_ID,
        schedule="*/30 * * * *",
        start_date=start_date,
        catchup=False,
        max_active_runs=1,
        tags=["rdo-promoter"],
        description="Reports releases that are broken, renamed or removed, and runs that are frozen for it",
        doc_md=_DOC,
        default_args={"owner": "rdo-promoter", "retries": 3, "retry_delay": timedelta(seconds=15)},
    ) as dag:
        ReleasesOperator(task_id="releases", folder=str(folder) if folder else None)
    return dag


class ReleasesOperator(BaseOperator):
    """Report release files that cannot be used, and runs of releases that are gone.

    :param folder: the releases folder; the one that the environment names when None.
    """

    def __init__(self, *, folder: str | None = None, **kwargs: Any) -> None:
        super().__init__(inlets=[HOLDERS], **kwargs)
        self.folder = folder

    def execute(self, context: Context) -> Result:
        """Look, remember, report."""
        loaded = load_releases(Path(self.folder) if self.folder else releases_folder())
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
