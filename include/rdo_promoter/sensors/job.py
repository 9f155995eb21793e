"""The sensor that shows one CI job in the grid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.triggers.base import StartTriggerArgs

from rdo_promoter.errors import PermanentError
from rdo_promoter.triggers.dlrn import LabelsSource
from rdo_promoter.triggers.feeds import DecisionsSource
from rdo_promoter.triggers.job import is_true, xcoms
from rdo_promoter.triggers.links import LogLink, VotesLink
from rdo_promoter.triggers.names import BUILD_KEY, BUILD_TASK, REASON_KEY, pull
from rdo_promoter.triggers.outcome import End, Known, Outcome, dry_outcome, job_outcome
from rdo_promoter.triggers.terms import LONGEST_WAIT, Terms, read_build, read_since
from rdo_promoter.triggers.zuul import votes_source

BUILD = pull(BUILD_TASK, BUILD_KEY)
DRY_RUN = "{{ params.dry_run }}"

#: Tries beyond those that looking again costs: for a triggerer that could not load the code, and the like.
SPARE_TRIES = 10


class JobSensor(BaseOperator):
    """Waits in the triggerer alone until a CI job has passed on the run's build.

    It decides nothing: the gate does, on fresh votes. How it ends is told in `JobTrigger`.

    :param terms: what the stage waits for.
    :param job: the CI job.
    :param since: when the build got the candidate label, seconds since the epoch; templated.
    :param look_again: seconds until a job that failed is looked at again.
    :param build: the run's build as JSON; templated.
    :param is_dry_run: do not wait, end by what is known; templated.
    """

    template_fields: Sequence[str] = ("build", "since", "is_dry_run")
    ui_color = "#e8f0fe"
    operator_extra_links = (VotesLink(), LogLink())

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="rdo_promoter.triggers.job.JobTrigger", next_method="execute_complete"
    )

    def __init__(
        self,
        *,
        terms: Terms,
        job: str,
        since: str,
        look_again: float = 600,
        build: str = BUILD,
        is_dry_run: str = DRY_RUN,
        **kwargs: Any,
    ) -> None:
        # A failed job takes a try each time it is looked at: the deadline has to come before the last one.
        longest = terms.within + (terms.answer_within + LONGEST_WAIT if terms.ask else 0)
        kwargs["retries"] = math.ceil(longest / look_again) + SPARE_TRIES
        kwargs["retry_delay"] = timedelta(seconds=look_again)
        kwargs["retry_exponential_backoff"] = 0
        # It would end the waiting on a worker.
        kwargs["execution_timeout"] = None
        super().__init__(**kwargs)
        self.terms = terms
        self.job = job
        self.since = since
        self.build = build
        self.is_dry_run = is_dry_run
        templated = {name: getattr(self, name) for name in self.template_fields}
        self.start_trigger_args = dataclasses.replace(
            self.start_trigger_args, trigger_kwargs={"terms": terms.to_json(), "job": job, **templated}
        )

    def execute(self, context: Context) -> dict[str, str]:
        """Judge once by what is known now: `dag.test` starts nothing in a triggerer."""
        terms, decide = self.terms, dry_outcome if is_true(self.is_dry_run) else job_outcome
        try:
            build, since = read_build(self.build, self.job), read_since(self.since, self.job)
            known = Known(
                votes_source(terms, build).ask(),
                LabelsSource(terms.where).ask(),
                DecisionsSource(terms.dag_id, terms.waivers_file).ask(),
            )
            outcome = decide(terms, self.job, build, since, known)
        except PermanentError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        if outcome is None:
            raise AirflowFailException(
                f"{build.short} {self.job} has not voted yet; this task waits in the triggerer, "
                "where nothing has started it: unpause the Dag and trigger a run"
            )
        return self._end(context, outcome)

    def execute_complete(self, context: Context, event: Mapping[str, str]) -> None:
        """Fail for good, which the triggerer cannot.

        :param event: what the trigger found.
        """
        outcome = Outcome(End(event["state"]), event["job"], event["reason"], event["url"], event["page"])
        self._end(context, outcome)

    def _end(self, context: Context, outcome: Outcome) -> dict[str, str]:
        left = xcoms(outcome)
        result: dict[str, str] = left.pop("return_value")
        if outcome.end is End.PASSED:
            left.pop(REASON_KEY)
        for key, value in left.items():
            context["ti"].xcom_push(key=key, value=value)
        if outcome.end is End.PASSED:
            return result
        if outcome.end in (End.FAILED, End.EXPIRED, End.REFUSED, End.LOST):
            raise AirflowFailException(outcome.reason)
        raise AirflowSkipException(outcome.reason)
