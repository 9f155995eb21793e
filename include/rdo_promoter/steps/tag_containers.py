"""The tag_containers step: verify containers in a registry and tag them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from rdo_promoter.steps.base import Problem, Reference, Scope, Step, needs_containers, not_promoted
from rdo_promoter.steps.fields import Label, Name


class TagContainers(Step):
    """Verify that every container of the build is in a registry, then tag them there.

    :param in_: the registry's name; written ``in``.
    :param tag: the tag, the candidate label as a rule.
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
        yield from not_promoted(self.tag, scope)
