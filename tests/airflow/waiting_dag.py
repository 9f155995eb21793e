"""Dags for the tests of waiting: they pin a build as the real ones do, and wait for jobs. Read by Airflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, task

from rdo_promoter.model.verdict import Criteria
from rdo_promoter.sensors.job import JobSensor
from rdo_promoter.triggers.terms import Terms, Where

REPO_URL = Path(os.environ["RDO_PROMOTER_RELEASES"], "repo_url").read_text()
ALTERNATIVES = {"replaced": ("other", "internal")}
JOBS = ("passes", "flaky", "replaced", "never")
PARAMS = {"dry_run": Param(False, type="boolean"), "build": Param("", type="string"), "since": Param(0)}


def make(dag_id: str, jobs: tuple[str, ...]) -> None:
    with DAG(dag_id, schedule=None, params=PARAMS, is_paused_upon_creation=False):
        with TaskGroup("source"):

            @task
            def build(**context: Any) -> None:
                for key in ("build", "since"):
                    context["ti"].xcom_push(key=key, value=context["params"][key])

            pinned = build()
        for job in jobs:
            sensor = JobSensor(
                task_id=job,
                terms=Terms(
                    where=Where("dlrn_test", REPO_URL, f"{dag_id}-testing", f"{dag_id}-current"),
                    dag_id=dag_id,
                    gate="gate",
                    criteria=Criteria(jobs, ALTERNATIVES),
                    stage_jobs=frozenset({*jobs, "other", "internal"}),
                    within=30 if job == "never" else 3600,
                    poll=1,
                ),
                job=job,
                since="{{ ti.xcom_pull(task_ids='source.build', key='since', map_indexes=-1) }}",
                look_again=3,
            )
            pinned >> sensor


make("waiting", JOBS)
for name in ("lost", "dry", "killed"):
    make(name, ("passes", "fails"))
