"""The check_repo step: make sure that a label's ``delorean.repo`` is the build's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rdo_promoter.files.document import Problem
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.steps.base import Scope, Step
from rdo_promoter.steps.candidate import Candidate
from rdo_promoter.steps.fields import Label, nearest

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


class CheckRepo(Step):
    """Fetch a label's ``delorean.repo`` and make sure that it is the run's build, as CI will.

    When the label names another build by now, the stage ends as skipped.

    :param label: the label that the stage starts from, or its candidate label.
    """

    kind: ClassVar[str] = "check_repo"

    label: Label

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        given = {scope.source, *(step.label for step in scope.before if isinstance(step, Candidate))}
        # `consistent` moves on with each build, and cannot be written here.
        known = sorted(given - {CONSISTENT})
        if self.label not in known:
            yield Problem(
                ("label",),
                f"nothing gives {self.label!r} to the build before this step, so it need not name it: write "
                f"the stage's source or its candidate label; {nearest(self.label, known)}",
            )

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        return f"fetches `{self.label}/delorean.repo` and makes sure that it is the build"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that fetches and compares."""
        from rdo_promoter.operators.repo_check import CheckRepoOperator

        return chain.then(CheckRepoOperator(task_id=name, services=context.services, followed=self.label))
