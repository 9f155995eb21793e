"""A Dag for the tests of waiting: pins a build as the real ones do, and waits for jobs. Read by Airflow."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, task

from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.sensors.job import JobSensor

SERVICES = ConnectionServices("dlrn_test", os.environ["AIRFLOW_VAR_REPO_URL"])
ALTERNATIVES = {"replaced": ["other", "internal"]}
JOBS = ("passes", "flaky", "replaced", "never")

with DAG(
    "waiting",
    schedule=None,
    params={"dry_run": Param(False, type="boolean"), "build": Param("", type="string"), "since": Param(0)},
) as dag:
    with TaskGroup("source"):

        @task
        def build(**context: Any) -> None:
            for key in ("build", "since"):
                context["ti"].xcom_push(key=key, value=context["params"][key])

        pinned = build()
    for job in JOBS:
        pinned >> JobSensor(
            task_id=job,
            services=SERVICES,
            job=job,
            alternatives=ALTERNATIVES.get(job, []),
            stage_jobs=[*JOBS, "other", "internal"],
            candidate_label="testing",
            promoted_label="current",
            since="{{ ti.xcom_pull(task_ids='source.build', key='since', map_indexes=-1) }}",
            within=25 if job == "never" else 3600,
            look_again=3,
            poll=1,
        )
