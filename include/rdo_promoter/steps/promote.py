"""The promote step: one promotion group, DLRN's label last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rdo_promoter.steps.base import Problem, Reference, Scope, Step, needs_containers
from rdo_promoter.steps.fields import Distinct, Label, Name


class Promote(Step):
    """Promote the run's build to a label: containers and images everywhere, verified, DLRN's label last.

    :param label: the promoted label, for example ``current-tripleo``.
    :param tag_in: registries that hold the containers already, where they are tagged.
    :param push_to: registries to which the containers are copied and where they are tagged then.
    :param link_on: image servers on which the label's link is moved.
    """

    kind: ClassVar[str] = "promote"

    label: Label
    tag_in: Distinct[Name] = ()
    push_to: Distinct[Name] = ()
    link_on: Distinct[Name] = ()

    def references(self) -> Iterable[Reference]:
        """Return the registries and image servers that the step uses."""
        for key in ("tag_in", "push_to"):
            for index, name in enumerate(getattr(self, key)):
                yield Reference((key, index), "registries", name)
        for index, name in enumerate(self.link_on):
            yield Reference(("link_on", index), "image_servers", name)

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        if not any(step.decides for step in scope.before):
            yield Problem(
                (), f"a promotion without criteria: put a wait_for step before it in stage {scope.stage!r}"
            )
        if self.label in scope.candidate_labels:
            yield Problem(
                ("label",),
                f"{self.label!r} is a candidate label, which names builds that are not tested yet: "
                "promote to another label",
            )
        if self.label == scope.source:
            yield Problem(("label",), f"{self.label!r} is the stage's source: promote to another label")
        yield from self._check_containers(scope)
        if self.link_on and not scope.has_images:
            yield Problem(("link_on",), "the release has no images: add `images:` or remove link_on")

    def _check_containers(self, scope: Scope) -> Iterable[Problem]:
        source = scope.container_source
        for key in ("tag_in", "push_to"):
            if getattr(self, key):
                yield from needs_containers(self, scope, (key,))
        if source is None:
            return
        if self.tag_in and source not in self.tag_in:
            yield Problem(
                ("tag_in",),
                f"the containers come from {source!r}, which is not listed: add it, or leave "
                "tag_in out to tag no registry in place",
            )
        for index, name in enumerate(self.push_to):
            if name == source:
                yield Problem(
                    ("push_to", index),
                    f"{name!r} is where the containers come from: write `tag_in: [{name}]`",
                )
            elif name in self.tag_in:
                yield Problem(
                    ("push_to", index), f"{name!r} is in tag_in as well: a push tags it already, keep push_to"
                )
