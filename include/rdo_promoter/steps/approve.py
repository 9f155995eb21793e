"""The approve step: a person says whether the build may go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, StrictStr

from rdo_promoter.steps.base import Step
from rdo_promoter.steps.fields import Distinct, Duration, format_duration

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("this is empty: write what a person has to look at before the build may go on")
    return value.strip()


def _user(value: str) -> str:
    if not value.strip() or value != value.strip():
        raise ValueError(f"{value!r} is no user: write the id of an account in Airflow")
    return value


class Approve(Step):
    """Ask a person in Airflow's UI whether the build may go on; without an approval it does not.

    It replaces no votes: a promotion needs a wait_for step all the same.

    :param text: what is asked, in Markdown.
    :param users: the ids of the accounts that may answer: the login of Airflow's simple auth manager and of
        most others, a number with FAB; without them everybody who may edit the Dag.
    :param within: how long the question is open.
    """

    kind: ClassVar[str] = "approve"

    text: Annotated[StrictStr, AfterValidator(_text), Field(max_length=4000)]
    users: Distinct[Annotated[StrictStr, AfterValidator(_user)]] = ()
    within: Annotated[Duration, Field(ge=60)] = 86_400

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        who = ", ".join(self.users) if self.users else "a person"
        return f"asks {who} for an approval, for {format_duration(self.within)}"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that asks."""
        from rdo_promoter.model.verdict import Criteria
        from rdo_promoter.operators.approve import ApproveOperator
        from rdo_promoter.triggers.terms import Terms

        terms = Terms(
            where=context.where,
            dag_id=context.dag_id,
            waivers_file=context.waivers_file,
            gate=f"{context.stage}.{name}",
            criteria=Criteria(()),
            stage_jobs=context.jobs,
            within=self.within,
            poll=context.poll,
        )
        return chain.then(
            ApproveOperator(
                task_id=name,
                services=context.services,
                text=self.text,
                users=self.users,
                terms=terms,
                since=context.since,
            )
        )
