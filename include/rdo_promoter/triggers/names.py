"""Names of tasks and XComs that operators, sensors and triggers have in common."""

from __future__ import annotations

#: The task that pins the run's build, and the XCom key under which it leaves it, as JSON.
BUILD_TASK = "source.build"
BUILD_KEY = "build"
#: The XCom key of the time from which a stage's deadlines count, seconds since the epoch.
SINCE_KEY = "since"
#: The XCom key of the sentence that says why a task was skipped, or failed for good.
REASON_KEY = "reason"


def pull(task_id: str, key: str) -> str:
    """Return the template of an XCom that a triggerer may render.

    Without `map_indexes` the triggerer waits for ever (Airflow 3.3).

    :param task_id: the task that leaves it.
    :param key: its key.
    """
    return f"{{{{ ti.xcom_pull(task_ids='{task_id}', key='{key}', map_indexes=-1) }}}}"
