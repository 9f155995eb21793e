"""The push_containers step: copy containers to another registry and tag them there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rdo_promoter.files.document import Problem
from rdo_promoter.steps.base import Reference, Scope, Step, check_tag, needs_containers
from rdo_promoter.steps.fields import Label, Name

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


class PushContainers(Step):
    """Copy every container of the build from the source registry to another one and tag it there.

    :param to: the target registry's name.
    :param tag: the tag, a candidate label of the release.
    :param gates: what a failure holds back: ``next`` the steps that follow, ``nothing`` nothing.
    """

    kind: ClassVar[str] = "push_containers"

    to: Name
    tag: Label
    gates: Literal["next", "nothing"] = "next"

    @property
    def holds_back(self) -> bool:
        """Whether what follows goes on only when the step has succeeded."""
        return self.gates == "next"

    def references(self) -> Iterable[Reference]:
        """Return the registry that the step uses."""
        yield Reference(("to",), "registries", self.to)

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        yield from needs_containers(self, scope, ())
        yield from check_tag(self.tag, scope)
        if self.to == scope.container_source:
            yield Problem(
                ("to",),
                f"{self.to!r} is where the containers come from: write `tag_containers: {{in: {self.to}, "
                f"tag: {self.tag}}}`, or push to another registry",
            )

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        gates = "" if self.holds_back else "; gates nothing"
        return f"copies the containers to `{self.to}` and tags them `{self.tag}`{gates}"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that copies and tags; beside the chain when it gates nothing."""
        from rdo_promoter.operators.candidate import TagCandidateOperator

        # What gates nothing may not hold up the next decision for long either.
        patience: dict[str, Any] = (
            {} if self.holds_back else {"retries": 2, "execution_timeout": timedelta(minutes=30)}
        )
        task = TagCandidateOperator(
            **patience,
            task_id=name,
            services=context.services,
            registry=self.to,
            push=True,
            coordinates=context.coordinates(self.tag),
        )
        if self.holds_back:
            return chain.then(task)
        task.set_upstream(list(chain.tail))
        return replace(chain, aside=(*chain.aside, task))
