from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from rdo_promoter.sensors import job as sensors
from rdo_promoter.sensors.job import JobSensor
from rdo_promoter.triggers.job import JobTrigger
from rdo_promoter.triggers.terms import Terms
from tests.unit.terms import terms

TERMS = terms(jobs=("periodic-job.v1",), alternatives={"periodic-job.v1": ("other",)}, within=43200)


def sensor(look_again: float = 600, **changes: Any) -> JobSensor:
    return JobSensor(
        task_id="upstream.periodic-job.v1",
        terms=replace(TERMS, **changes),
        job="periodic-job.v1",
        since="{{ since }}",
        look_again=look_again,
    )


def test_it_starts_in_the_triggerer_with_all_that_the_trigger_needs() -> None:
    made = sensor()
    assert made.start_from_trigger
    args = made.start_trigger_args
    assert args is not None
    assert args.timeout is None  # would resume on a worker, and be retried
    assert args.trigger_cls == f"{JobTrigger.__module__}.{JobTrigger.__qualname__}"
    trigger = JobTrigger(**(args.trigger_kwargs or {}))
    assert trigger.serialize() == (args.trigger_cls, args.trigger_kwargs)
    assert Terms.from_json(trigger.terms) == TERMS


def test_templates_reach_the_trigger() -> None:
    """Airflow renders those template fields that are arguments and attributes of the trigger."""
    made = sensor()
    assert made.start_trigger_args is not None
    arguments = made.start_trigger_args.trigger_kwargs or {}
    trigger = JobTrigger(**arguments)
    for name in made.template_fields:
        assert name in arguments
        assert getattr(trigger, name) == getattr(made, name)
    assert "{{" in made.build
    assert "{{" in made.is_dry_run


@pytest.mark.parametrize(("within", "look_again"), [(43200, 600), (14400, 599), (60, 60), (25, 3)])
def test_tries_do_not_run_out_before_the_deadline(within: int, look_again: int) -> None:
    made = sensor(within=within, look_again=look_again)
    assert made.retry_delay == timedelta(seconds=look_again)
    assert (made.retries or 0) * look_again > within


def test_the_dags_defaults_do_not_reach_it() -> None:
    defaults = {
        "retries": 1,
        "retry_delay": timedelta(seconds=1),
        "retry_exponential_backoff": 2.0,
        "execution_timeout": timedelta(minutes=5),
    }
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1), default_args=defaults):  # noqa: DTZ001
        made = sensor(look_again=600)
    assert made.retries == 72 + sensors.SPARE_TRIES
    assert made.retry_delay == timedelta(seconds=600)
    assert not made.retry_exponential_backoff
    assert made.execution_timeout is None


class Ti:
    """The part of a task instance that is used."""

    def __init__(self) -> None:
        self.xcoms: dict[str, object] = {}

    def xcom_push(self, key: str, value: object) -> None:
        self.xcoms[key] = value


EVENT = {"job": "job", "reason": "because", "url": "http://logs/1", "page": "http://dlrn/votes"}
LEFT = {"reason": "because", "link_votes": "http://dlrn/votes", "link_log": "http://logs/1"}


@pytest.mark.parametrize("state", ["expired", "refused", "lost"])
def test_what_the_triggerer_cannot_end_fails_without_a_retry(state: str) -> None:
    ti = Ti()
    with pytest.raises(AirflowFailException, match="because"):
        sensor().execute_complete({"ti": ti}, {"state": state, **EVENT})  # type: ignore[typeddict-item]
    assert ti.xcoms == LEFT


def test_tries_last_while_a_person_is_asked() -> None:
    made = sensor(ask=True, answer_within=86_400)
    assert (made.retries or 0) * 600 > 43_200 + 86_400
