"""The wait_for step: CI jobs whose votes on the build are awaited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rdo_promoter.files.document import Problem
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.steps.base import Scope, Step
from rdo_promoter.steps.fields import Duration, FrozenMap, JobName, SomeDistinct, format_duration, nearest

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


class WaitFor(Step):
    """Wait until every job has a vote for the run's build: the criteria of what follows.

    :param jobs: the jobs that have to pass, as DLRN's votes name them.
    :param within: seconds since the build got the candidate label; a job without a pass by then fails.
    :param alternatives: jobs that may pass in place of a listed one.
    :param retry_delay: seconds until a failed job is looked at again: it may have been rerun.
    """

    kind: ClassVar[str] = "wait_for"
    decides: ClassVar[bool] = True

    jobs: SomeDistinct[JobName]
    within: Annotated[Duration, Field(ge=1)]
    alternatives: FrozenMap[JobName, SomeDistinct[JobName]] = Field(default={}, validate_default=True)
    retry_delay: Annotated[Duration, Field(ge=1)] = 600

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        for job, others in self.alternatives.items():
            path = ("alternatives", job)
            if job not in self.jobs:
                yield Problem(path, f"no job of this step: {nearest(job, self.jobs)}")
            for index, other in enumerate(others):
                if other in self.jobs:
                    yield Problem(
                        (*path, index),
                        f"{other!r} is required by this step anyway and cannot stand in for another job: "
                        "remove it here or from jobs",
                    )
        if self.retry_delay > self.within:
            yield Problem(
                ("retry_delay",),
                f"{format_duration(self.retry_delay)} is longer than within "
                f"({format_duration(self.within)}): a failed job would not be looked at again",
            )

    @property
    def criteria(self) -> Criteria:
        """What has to pass."""
        return Criteria(self.jobs, {job: tuple(others) for job, others in self.alternatives.items()})

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        jobs = "1 CI job" if len(self.jobs) == 1 else f"{len(self.jobs)} CI jobs"
        return f"waits up to {format_duration(self.within)} for {jobs} to pass"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make one sensor a job, `votes_in`, and the gate, which alone decides.

        The gate is attached to what came before as well: were that skipped or failed, so is the gate.
        """
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import TaskGroup, TriggerRule

        from rdo_promoter.operators.gate import GateOperator
        from rdo_promoter.sensors.job import JobSensor
        from rdo_promoter.steps.context import Chain, short_names

        shown = short_names(self.jobs)
        waits = f"{context.stage}.{name}"
        # Jobs are known by their own names: `<stage>.<job>`, whatever step waits for them.
        with TaskGroup(
            name,
            prefix_group_id=False,
            group_display_name=f"{name} ({format_duration(self.within)})",
            tooltip=self.describe(),
        ) as group:
            sensors = [
                JobSensor(
                    task_id=f"{context.stage}.{job}",
                    task_display_name=shown[job],
                    services=context.services,
                    job=job,
                    alternatives=self.alternatives.get(job, ()),
                    stage_jobs=context.jobs,
                    candidate_label=context.candidate_label,
                    promoted_label=context.promoted_label,
                    since=context.since,
                    within=self.within,
                    look_again=self.retry_delay,
                    poll=context.poll,
                )
                for job in self.jobs
            ]
            votes_in = EmptyOperator(
                task_id=f"{waits}.votes_in",
                task_display_name="votes_in",
                # Sensors fail and are skipped for people to see; every other rule would skip this task when
                # one of them was skipped. It does nothing, so it may run whatever came before.
                trigger_rule=TriggerRule.ALL_DONE,
            )
            gate = GateOperator(
                task_id=f"{waits}.gate",
                task_display_name="gate",
                services=context.services,
                criteria=self.criteria,
                stage_jobs=context.jobs,
                candidate_label=context.candidate_label,
                promoted_label=context.promoted_label,
            )
        before = list(chain.tail)
        for sensor in sensors:
            sensor.set_upstream(before)
        votes_in.set_upstream([*sensors, *chain.aside])
        gate.set_upstream([*before, votes_in])
        for task in chain.aside:
            # Only for the order of the grid's rows; the group waits for it at `votes_in`.
            group.update_relative(task)
        return Chain((gate,))
