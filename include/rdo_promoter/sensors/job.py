"""The sensor that shows one CI job in the grid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.triggers.base import StartTriggerArgs

from rdo_promoter.errors import PermanentError
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.triggers.dlrn import LabelsSource, VotesSource, Where
from rdo_promoter.triggers.job import read_wait
from rdo_promoter.triggers.names import BUILD_KEY, BUILD_TASK, REASON_KEY, pull
from rdo_promoter.triggers.outcome import End, Outcome

BUILD = pull(BUILD_TASK, BUILD_KEY)
DRY_RUN = "{{ params.dry_run }}"

#: Tries beyond those that looking again costs: for a triggerer that could not load the code, and the like.
SPARE_TRIES = 10


class JobSensor(BaseOperator):
    """Waits in the triggerer alone until a CI job has passed on the run's build.

    It decides nothing: the gate does, on fresh votes. How it ends is told in `JobTrigger`.

    :param services: makes the release's clients from Airflow Connections.
    :param job: the CI job.
    :param alternatives: jobs that may stand in for it, in order of preference.
    :param stage_jobs: all jobs of the stage, alternatives among them.
    :param candidate_label: the label that CI tests.
    :param promoted_label: the label that the stage promotes to, None when it promotes to none.
    :param since: when the build got the candidate label, seconds since the epoch; templated.
    :param within: seconds after that until the job has to have passed.
    :param look_again: seconds until a job that failed is looked at again.
    :param poll: seconds between two questions for votes.
    :param build: the run's build as JSON; templated.
    :param is_dry_run: do not wait, end by what is known; templated.
    """

    template_fields: Sequence[str] = ("build", "since", "is_dry_run")
    ui_color = "#e8f0fe"

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="rdo_promoter.triggers.job.JobTrigger", next_method="execute_complete"
    )

    #: Names of the trigger's arguments, which are attributes of the sensor as well.
    _passed_on: ClassVar[tuple[str, ...]] = (
        *("build", "job", "alternatives", "stage_jobs", "candidate_label", "promoted_label"),
        *("since", "within", "poll", "is_dry_run"),
    )

    def __init__(
        self,
        *,
        services: ConnectionServices,
        job: str,
        alternatives: Sequence[str] = (),
        stage_jobs: Collection[str] = (),
        candidate_label: str,
        promoted_label: str | None,
        since: str,
        within: float,
        look_again: float = 600,
        poll: float = 15,
        build: str = BUILD,
        is_dry_run: str = DRY_RUN,
        **kwargs: Any,
    ) -> None:
        # A failed job takes a try each time it is looked at: the deadline has to come before the last one.
        kwargs["retries"] = math.ceil(within / look_again) + SPARE_TRIES
        kwargs["retry_delay"] = timedelta(seconds=look_again)
        kwargs["retry_exponential_backoff"] = 0
        # It would end the waiting on a worker.
        kwargs["execution_timeout"] = None
        super().__init__(**kwargs)
        self.services = services
        self.job = job
        self.alternatives = list(alternatives)
        self.stage_jobs = sorted(stage_jobs)  # two parses give the same Dag
        self.candidate_label = candidate_label
        self.promoted_label = promoted_label
        self.since = since
        self.within = within
        self.poll = poll
        self.build = build
        self.is_dry_run = is_dry_run
        names = {"dlrn_conn_id": services.dlrn_conn_id, "repo_url": services.repo_url}
        passed_on = {name: getattr(self, name) for name in self._passed_on}
        self.start_trigger_args = dataclasses.replace(
            self.start_trigger_args, trigger_kwargs={**names, **passed_on}
        )

    def execute(self, context: Context) -> dict[str, str]:
        """Judge once by what DLRN says now: `dag.test` starts nothing in a triggerer."""
        where = Where(
            self.services.dlrn_conn_id, self.services.repo_url, self.candidate_label, self.promoted_label
        )
        try:
            wait = read_wait(
                build=self.build,
                job=self.job,
                alternatives=self.alternatives,
                stage_jobs=self.stage_jobs,
                since=self.since,
                within=self.within,
                is_dry_run=self.is_dry_run,
            )
            outcome = wait.outcome(VotesSource(where, wait.build).ask(), LabelsSource(where).ask())
        except PermanentError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
        if outcome is None:
            raise AirflowFailException(
                f"{wait.build.short} {self.job} has not voted yet; this task waits in the triggerer, "
                "where nothing has started it: unpause the Dag and trigger a run"
            )
        return self._end(context, outcome)

    def execute_complete(self, context: Context, event: Mapping[str, str]) -> None:
        """Fail for good, which the triggerer cannot.

        :param event: what the trigger found.
        """
        context["ti"].xcom_push(key=REASON_KEY, value=event["reason"])
        raise AirflowFailException(event["reason"])

    def _end(self, context: Context, outcome: Outcome) -> dict[str, str]:
        if outcome.end is End.PASSED:
            return outcome.to_json()
        context["ti"].xcom_push(key=REASON_KEY, value=outcome.reason)
        if outcome.end in (End.FAILED, End.EXPIRED):
            raise AirflowFailException(outcome.reason)
        raise AirflowSkipException(outcome.reason)
