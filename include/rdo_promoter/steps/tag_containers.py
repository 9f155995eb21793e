"""The tag_containers step: verify containers in a registry and tag them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rdo_promoter.files.document import Problem
from rdo_promoter.steps.base import Reference, Scope, Step, check_tag, needs_containers
from rdo_promoter.steps.fields import Label, Name

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


class TagContainers(Step):
    """Verify that every container of the build is in a registry, then tag them there.

    :param in_: the registry's name; written ``in``.
    :param tag: the tag, a candidate label of the release.
    """

    kind: ClassVar[str] = "tag_containers"

    in_: Name = Field(alias="in")
    tag: Label

    def references(self) -> Iterable[Reference]:
        """Return the registry that the step uses."""
        yield Reference(("in",), "registries", self.in_)

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        yield from needs_containers(self, scope, ())
        yield from check_tag(self.tag, scope)

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        return f"verifies the containers in `{self.in_}` and tags them `{self.tag}`"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that verifies and tags."""
        from rdo_promoter.operators.candidate import TagCandidateOperator

        return chain.then(
            TagCandidateOperator(
                task_id=name,
                services=context.services,
                registry=self.in_,
                push=False,
                coordinates=context.coordinates(self.tag),
            )
        )
