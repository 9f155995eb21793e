"""What a person answered while the task that asked was awake: Airflow keeps that, and resumes nobody."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

#: Seconds until a task that has just begun to wait is asked about: a trigger that fires before the scheduler
#: has taken in that its task waits fails the task (Airflow 3.3.2).
SETTLED = 15.0


async def answer_so_far(task_instance: Any) -> dict[str, Any] | None:
    """Return the answer to a task's question as Airflow resumes tasks with one, None when nobody answered.

    A task cannot ask this (Airflow 3.3.2), a trigger can.

    :param task_instance: the trigger's; None outside of Airflow, where nobody was asked.
    """
    if task_instance is None:
        return None
    await asyncio.sleep(SETTLED)
    found = await asyncio.to_thread(get_hitl_detail_content_detail, task_instance.id)
    return found.model_dump(mode="json") if found.response_received else None
