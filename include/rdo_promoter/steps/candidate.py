"""The candidate step: admit a build to CI and move the candidate label to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, StrictInt

from rdo_promoter.files.document import Problem
from rdo_promoter.steps.base import Scope, Step
from rdo_promoter.steps.fields import Duration, Label

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


def _moved_by(value: Any) -> Any:
    if value == "ci":
        raise ValueError("following a label that CI moves is not supported yet: write `moved_by: us`")
    return value


def _max_in_ci(value: int) -> int:
    if value != 1:
        raise ValueError(
            f"{value} builds in CI at a time are not supported yet: CI tests what the label names when a job "
            "starts, so a second build would displace the first; write 1"
        )
    return value


class Candidate(Step):
    """Admit the run's build to CI and move the candidate label to it in DLRN.

    CI tests what the candidate label names when each job starts, so the label has to stand still while
    CI uses it: a run that is not admitted ends as skipped.

    :param label: the candidate label, for example ``tripleo-ci-testing``.
    :param moved_by: who moves the label; ``us`` only.
    :param max_in_ci: how many builds may be in CI at the same time; 1 only.
    :param min_gap: seconds between two moves of the label, at least.
    """

    kind: ClassVar[str] = "candidate"

    label: Label
    moved_by: Annotated[Literal["us"], BeforeValidator(_moved_by)] = "us"
    max_in_ci: Annotated[StrictInt, AfterValidator(_max_in_ci)] = 1
    min_gap: Duration = 0

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        if scope.before:
            yield Problem(
                (),
                "candidate has to be the stage's first step: what is before it would work on a build "
                "that was not admitted",
            )
        if self.label == scope.source:
            yield Problem(("label",), f"{self.label!r} is the stage's source as well: use a label of its own")

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        return f"promotes the build to `{self.label}` in DLRN when CI has room ({self.max_in_ci} at a time)"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that admits the build."""
        from rdo_promoter.engine.candidate import CandidateRules
        from rdo_promoter.operators.candidate import CandidateOperator

        rules = CandidateRules(
            self.label, context.waits, max_in_ci=self.max_in_ci, min_gap=self.min_gap, asks=context.asks
        )
        return chain.then(
            CandidateOperator(
                task_id=name,
                services=context.services,
                rules=rules,
                source=context.source,
                waivers_file=context.waivers_file,
                poll=context.poll,
            )
        )
