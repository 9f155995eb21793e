"""The Dag of `make wait-load`: a `wait_for` step as in a release, on a build that its form names."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, TaskGroup

from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.order import Wait
from rdo_promoter.model.votes import VotePolicy
from rdo_promoter.steps import WaitFor
from rdo_promoter.steps.context import Chain, StageContext
from rdo_promoter.triggers.names import BUILD_KEY, BUILD_TASK, SINCE_KEY, pull

JOBS = tuple(f"periodic-load-job{number:02}" for number in range(int(os.environ["WAIT_LOAD_JOBS"])))
POLL = int(os.environ["WAIT_LOAD_POLL"])
STEP = WaitFor.model_validate({"jobs": JOBS, "within": "12h"})
PARAMS = {"dry_run": Param(False, type="boolean"), "build": Param("", type="string"), "since": Param(0)}


def pin(**context: Any) -> None:
    """Pin the build as a release's first task does."""
    for key, name in ((BUILD_KEY, "build"), (SINCE_KEY, "since")):
        context["ti"].xcom_push(key=key, value=context["params"][name])


with DAG(
    "wait-load",
    schedule=None,
    params=PARAMS,
    is_paused_upon_creation=False,
    max_active_runs=200,
    max_active_tasks=10_000,
):
    with TaskGroup("source"):
        pinned = PythonOperator(task_id="build", python_callable=pin)
    with TaskGroup("load"):
        STEP.tasks(
            StageContext(
                stage="load",
                source="consistent",
                candidate_label="load-testing",
                containers=(),
                container_source=None,
                images=(),
                own_images={},
                criteria=(),
                known_files=(),
                services=ConnectionServices("dlrn_load", "http://not-asked.example"),
                promoted_label=None,
                waits=(Wait(STEP.criteria(VotePolicy.NEWEST), STEP.within),),
                since=pull(BUILD_TASK, SINCE_KEY),
                poll=POLL,
                asset=None,
                made_from=MadeFrom("wait-load", "0" * 64),
                dag_id="wait-load",
                waivers_file=None,
                policy=VotePolicy.NEWEST,
                release_jobs=frozenset(JOBS),
            ),
            "tests",
            Chain((pinned,)),
        )
