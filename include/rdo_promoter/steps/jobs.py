"""What the steps that start a job of their own have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictStr

from rdo_promoter.errors import ConfigError
from rdo_promoter.files.document import Problem
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.jobs import FIELDS, ID_NAME, fields_of
from rdo_promoter.steps.base import Scope, Step
from rdo_promoter.steps.fields import ConnectionId, Duration, FrozenMap, JobName, format_duration, nearest

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from rdo_promoter.steps.context import Chain, StageContext

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _template(value: str) -> str:
    try:
        names = fields_of(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    for name in names:
        if name not in FIELDS:
            raise ValueError(f"{{{name}}} is not known here; {nearest(name, FIELDS)}")
    if "\0" in value:
        raise ValueError("a NUL character cannot be passed on: remove it")
    return value


def _line(value: str) -> str:
    try:
        groups = re.compile(value).groupindex
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from error
    if "hash" not in groups:
        raise ValueError(
            f"{value!r} has no group named 'hash': write for example '^tested (?P<hash>\\S+)$', where the "
            "hash that was tested is taken from"
        )
    return value


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be a name here: use letters, digits and '_', beginning with no digit"
        )
    if value == ID_NAME:
        raise ValueError(f"{ID_NAME} is always passed on, it is how a job is found again: remove it here")
    return value


#: A text in which names between braces are filled in.
Template = Annotated[StrictStr, AfterValidator(_template), Field(max_length=20_000)]
#: A regular expression that takes the tested hash out of a line.
Line = Annotated[StrictStr, AfterValidator(_line), Field(max_length=500)]
#: The name of a parameter or an environment variable.
Variable = Annotated[StrictStr, AfterValidator(_variable)]
#: What a job is told.
ToldMap = FrozenMap[Variable, Template]


class JobStep(Step):
    """A step that starts a job for the run's build and waits for its end.

    :param connection: id of the Airflow Connection to what runs the job.
    :param within: seconds that the job may take, its time in a queue included.
    :param report_vote: the CI job as which the result is reported to DLRN; a wait_for of the stage can
        require it.
    :param gates: what a job that did not pass holds back: ``next`` the steps that follow, ``nothing``
        nothing. Without this key ``nothing`` when the result is reported as a vote, which decides then, and
        ``next`` otherwise.
    """

    connection: ConnectionId
    within: Annotated[Duration, Field(ge=1)]
    report_vote: JobName | None = None
    gates: Literal["next", "nothing"] | None = None

    @property
    def holds_back(self) -> bool:
        """Whether a job that did not pass holds back the steps that follow."""
        return (self.gates or ("nothing" if self.report_vote else "next")) == "next"

    @property
    def non_voting(self) -> bool:
        """Whether the job's result is only recorded: it is no vote, and holds nothing back."""
        return not self.holds_back and self.report_vote is None

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        if self.report_vote is None:
            return
        if self.report_vote == CONSISTENT:
            yield Problem(
                ("report_vote",), f"{CONSISTENT!r} is DLRN's own mark and no job: use a name of your own"
            )
        for step in scope.before:
            if self.report_vote in getattr(step, "jobs", ()):
                yield Problem(
                    ("report_vote",),
                    f"a wait_for before this step waits for {self.report_vote!r}, which would be reported "
                    "only after it: put this step before the wait_for",
                )
            if isinstance(step, JobStep) and step.report_vote == self.report_vote:
                yield Problem(
                    ("report_vote",),
                    f"an earlier {step.kind} of this stage reports {self.report_vote!r} already: two results "
                    "under one name would take turns; use another name",
                )

    def describe_job(self, what: str) -> str:
        """Say in one sentence what the step does, for the Dag's documentation.

        :param what: what is started.
        """
        vote = f"; its result is the vote `{self.report_vote}`" if self.report_vote else ""
        gates = "" if self.holds_back else "; gates nothing"
        gates += ", non-voting" if self.non_voting else ""
        return f"{what} and waits up to {format_duration(self.within)} for its end{vote}{gates}"

    def arguments(self, context: StageContext, name: str) -> dict[str, Any]:
        """Return what all operators of such steps are made with.

        :param name: the task's id.
        """
        return {
            "task_id": name,
            "task_display_name": f"{name} (non-voting)" if self.non_voting else name,
            "doc_md": f"{self.describe()}.",
            "services": context.services,
            "conn_id": self.connection,
            "tested_label": context.candidate_label,
            "within": self.within,
            "report_vote": self.report_vote,
            "poll": context.poll,
        }

    def attach(self, task: BaseOperator, chain: Chain) -> Chain:
        """Put the task into the chain, or beside it when it gates nothing.

        Beside it nothing waits for the task, so that a gate can decide, and ask, while a job runs for hours.
        """
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import TriggerRule

        if self.holds_back:
            return chain.then(task)
        task.set_upstream(list(chain.tail))
        # A leaf that fails would fail the run.
        # Its label is what people read.
        name = task.task_id.rpartition(".")[2]
        ended = EmptyOperator(
            task_id=f"{name}.ended", task_display_name="ended", trigger_rule=TriggerRule.ALL_DONE
        )
        ended.set_upstream(task)
        return chain
