"""The Dag ``promotions-sentinel``: looks after what no release's own Dag can see.

A release whose file is broken, renamed or removed has no Dag that could say so, and the runs that it had
are frozen. This Dag is always there; it also keeps alive what Airflow stores for the holders of labels.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import DAG, Param

from rdo_promoter.sentinel.releases import ReleasesOperator
from rdo_promoter.sentinel.unfinished import UnfinishedOperator

DAG_ID = "promotions-sentinel"

_DOC = """# promotions-sentinel

Looks every 30 minutes after what no release's own Dag can see.

- `releases` is red while a release file cannot be used, and while runs are frozen because the file of their
  release was renamed or removed. The task's log and its XCom `reason` say which, and what to do.
- `unfinished` completes promotions that had begun when their step was taken out of the release file, so that
  nothing is left half done: ten minutes after it misses the step, at once in a run that a person starts. It
  is red when it cannot, and when a person has to decide: it does not go on with what failed or was stopped
  before, nor with what was begun on the command line. Put the step back and mend it there, or start a run
  of this Dag with `give_up` and `reason` in its form.
"""


def sentinel_dag(start_date: datetime, folder: Path | None = None) -> DAG:
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
        description="Releases that are broken or gone, and promotions that nobody would complete",
        doc_md=_DOC,
        params={
            "give_up": Param(
                None,
                type=["null", "string"],
                title="Give up",
                description="Full hash of a build whose promotion shall not be completed, and whose step "
                "is in no release file any more: what has moved stays where it is.",
            ),
            "reason": Param(None, type=["null", "string"], title="Why", description="Goes to the ledger."),
        },
        default_args={
            "owner": "rdo-promoter",
            "retries": 3,
            "retry_delay": timedelta(seconds=15),
            "execution_timeout": timedelta(hours=2),
        },
    ) as dag:
        named = str(folder) if folder else None
        ReleasesOperator(task_id="releases", folder=named)
        UnfinishedOperator(task_id="unfinished", folder=named)
    return dag
