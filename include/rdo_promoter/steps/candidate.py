"""The candidate step: admit a build to CI and move the candidate label to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictInt

from rdo_promoter.steps.base import Problem, Scope, Step
from rdo_promoter.steps.fields import Duration, Label


def _moved_by(value: Any) -> Any:
    if value == "ci":
        raise ValueError("following a label that CI moves is not supported yet: write `moved_by: us`")
    return value


class Candidate(Step):
    """Admit the run's build to CI and move the candidate label to it in DLRN.

    CI tests what the candidate label names when each job starts, so the label has to stand still while
    CI uses it: a run that is not admitted ends as skipped.

    :param label: the candidate label, for example ``tripleo-ci-testing``.
    :param moved_by: who moves the label; ``us`` only.
    :param max_in_ci: how many builds may be in CI at the same time.
    :param min_gap: seconds between two moves of the label, at least.
    """

    kind: ClassVar[str] = "candidate"

    label: Label
    moved_by: Annotated[Literal["us"], BeforeValidator(_moved_by)] = "us"
    max_in_ci: Annotated[StrictInt, Field(ge=1, le=50)] = 1
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
