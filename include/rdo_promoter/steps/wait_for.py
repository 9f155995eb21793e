"""The wait_for step: CI jobs whose votes on the build are awaited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, StrictBool

from rdo_promoter.files.document import Problem
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.evidence import EvidenceKind
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.model.votes import VotePolicy
from rdo_promoter.steps.base import Scope, Step
from rdo_promoter.steps.fields import Duration, FrozenMap, JobName, SomeDistinct, format_duration, nearest

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


class WaitFor(Step):
    """Wait until every job has a vote for the run's build: the criteria of what follows.

    :param jobs: the jobs that have to pass, as DLRN's votes name them.
    :param within: seconds since the build got the candidate label; a job without a pass by then fails.
    :param alternatives: jobs that may pass in place of a listed one.
    :param retry_delay: seconds until the row of a failed job is looked at again. The gate notices a rerun
        within one poll, and as often as this whether the release file has been edited.
    :param soak: how long the build has to have been a candidate at least, whatever the votes say.
    :param fail_fast: end the stage as soon as a job and all its alternatives failed, and wait for no rerun.
    :param on_missing: when the time is over and jobs have not passed: ``fail``, or ``ask`` a person in
        Airflow's UI.
    :param answer_within: how long that question stays open.
    :param evidence: what decides: ``votes`` in DLRN, or in a flow whose jobs do not vote, ``zuul_buildset``:
        every voting job of the buildset of the stage's pipeline that tested the build.
    """

    kind: ClassVar[str] = "wait_for"
    decides: ClassVar[bool] = True
    asks_zuul: ClassVar[bool] = True

    jobs: SomeDistinct[JobName]
    within: Annotated[Duration, Field(ge=1)]
    alternatives: FrozenMap[JobName, SomeDistinct[JobName]] = Field(default={}, validate_default=True)
    retry_delay: Annotated[Duration, Field(ge=1)] = 600
    soak: Duration = 0
    fail_fast: StrictBool = False
    on_missing: Literal["fail", "ask"] = "fail"
    answer_within: Annotated[Duration, Field(ge=60)] = 86_400
    evidence: Literal["votes", "zuul_buildset"] = "votes"

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        if CONSISTENT in (*self.jobs, *(other for others in self.alternatives.values() for other in others)):
            yield Problem((), f"{CONSISTENT!r} is DLRN's own mark and no job: remove it")
        if self.by_buildset and scope.pipeline is None:
            yield Problem(
                ("evidence",),
                "no pipeline of Zuul's tests this stage: add `zuul: {connection: ..., pipeline: ...}` to the "
                "release, and `pipeline:` to a stage without a candidate step",
            )
        if self.soak > self.within:
            yield Problem(
                ("soak",),
                f"{format_duration(self.soak)} is longer than within ({format_duration(self.within)}): no "
                "build could pass",
            )
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
    def by_buildset(self) -> bool:
        """Whether a buildset of Zuul's decides in place of votes."""
        return EvidenceKind(self.evidence) is EvidenceKind.ZUUL_BUILDSET

    def criteria(self, policy: VotePolicy) -> Criteria:
        """Return what has to pass.

        :param policy: which of a job's votes counts in this stage.
        """
        alternatives = {job: tuple(others) for job, others in self.alternatives.items()}
        return Criteria(self.jobs, alternatives, policy, self.soak)

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        jobs = "1 CI job" if len(self.jobs) == 1 else f"{len(self.jobs)} CI jobs"
        text = f"waits up to {format_duration(self.within)} for {jobs} to pass"
        if self.soak:
            text += f", and until the build has been a candidate for {format_duration(self.soak)}"
        if self.fail_fast:
            text += "; ends as soon as one has failed for good"
        if self.by_buildset:
            text += "; a buildset of Zuul's decides, not votes"
        if self.on_missing == "ask":
            text += "; then asks a person"
        return text

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make one sensor a job, `votes_in`, and the gate, which alone decides.

        The gate waits itself: it notices a rerun while the row of the failed job is amber, and when jobs are
        missing it asks. Nothing behind it waits for the sensors, which are for people to see; `votes_in` is
        there because a leaf that fails would fail the run.
        """
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import BaseOperator, TaskGroup, TriggerRule

        from rdo_promoter.operators.gate import GateOperator
        from rdo_promoter.sensors.job import JobSensor
        from rdo_promoter.steps.context import Chain, short_names
        from rdo_promoter.triggers.terms import Terms

        shown = short_names(self.jobs)
        waits = f"{context.stage}.{name}"
        terms = Terms(
            where=context.where,
            dag_id=context.dag_id,
            waivers_file=context.waivers_file,
            gate=f"{waits}.gate",
            criteria=self.criteria(context.policy),
            stage_jobs=context.jobs,
            within=self.within,
            poll=context.poll,
            fail_fast=self.fail_fast,
            ask=self.on_missing == "ask",
            answer_within=self.answer_within,
            ci=context.ci(decides=self.by_buildset),
        )
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
                    terms=terms,
                    job=job,
                    since=context.since,
                    look_again=self.retry_delay,
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
                task_id=terms.gate,
                task_display_name="gate",
                services=context.services,
                terms=terms,
                release_jobs=sorted(context.release_jobs),
                since=context.since,
                # A trigger that fires before the scheduler has taken in that the task waits fails the task.
                look_again=max(self.retry_delay, 15),
            )
            first: list[BaseOperator] = list(chain.tail)
            for sensor in sensors:
                sensor.set_upstream(first)
            if chain.aside:
                # What gates nothing has to have ended before labels move, however it ended.
                settled = EmptyOperator(
                    task_id=f"{waits}.settled",
                    task_display_name="settled",
                    trigger_rule=TriggerRule.ALL_DONE,
                )
                settled.set_upstream(list(chain.aside))
                first = [*first, settled]
        votes_in.set_upstream(sensors)
        gate.set_upstream(first)
        for task in chain.aside:
            # Only for the order of the grid's rows.
            group.update_relative(task)
        return Chain((gate,))
