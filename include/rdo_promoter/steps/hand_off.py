"""The hand_off step: a promoted build is handed off to the builds of a product."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rdo_promoter.files.document import Problem
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.steps.base import Reference, Scope, Step, needs_containers
from rdo_promoter.steps.fields import ConnectionId, Distinct, Duration, Label, Name, format_duration

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


class HandOff(Step):
    """Hand the build off that the stage starts from: a signed record, stored, posted, and acknowledged.

    :param key: id of the Airflow Connection (type ``handoff_key``) with the Ed25519 key that signs.
    :param receiver: id of the Airflow Connection (type ``handoff_receiver`` or ``http``) to what receives it.
    :param label: the promoted label that has to name the build; the stage's source, and need not be written.
    :param registries: registries whose digests the record names; without it the one that CI's build job
        pushes to.
    :param store_on: image servers whose checksums the record names, and where it is stored, in the build's
        folder as ``handoff-<label>.json``.
    :param acknowledged_within: how long the receiver has to acknowledge it; without it that is not awaited.
    """

    kind: ClassVar[str] = "hand_off"
    reads_source: ClassVar[bool] = True

    key: ConnectionId
    receiver: ConnectionId
    label: Label | None = None
    registries: Distinct[Name] = ()
    store_on: Distinct[Name] = ()
    acknowledged_within: Annotated[Duration, Field(ge=1)] | None = None

    def references(self) -> Iterable[Reference]:
        """Return the registries and image servers that the step uses."""
        for index, name in enumerate(self.registries):
            yield Reference(("registries", index), "registries", name)
        for index, name in enumerate(self.store_on):
            yield Reference(("store_on", index), "image_servers", name)

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        if scope.source == CONSISTENT:
            yield Problem(
                (),
                f"nothing is promoted yet where stage {scope.stage!r} starts: put the step into a stage "
                "whose `source:` is the promoted label",
            )
        elif self.label not in (None, scope.source):
            yield Problem(
                ("label",),
                f"{self.label!r} is not what stage {scope.stage!r} starts from: write {scope.source!r}, or "
                f"put the step into a stage with `source: {self.label}`",
            )
        if self.registries:
            yield from needs_containers(self, scope, ("registries",))
        if self.store_on and not scope.has_images:
            yield Problem(("store_on",), "the release has no images: add `images:` or remove store_on")
        for step in scope.before:
            if isinstance(step, HandOff) and (twice := set(step.store_on) & set(self.store_on)):
                yield Problem(
                    ("store_on",),
                    f"an earlier hand_off of this stage stores the same file on {', '.join(sorted(twice))}: "
                    "remove it here",
                )

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        stored = f", stored on {', '.join(f'`{name}`' for name in self.store_on)}" if self.store_on else ""
        within = self.acknowledged_within
        awaited = f"; acknowledged within {format_duration(within)}" if within is not None else ""
        return f"hands the build off to `{self.receiver}`: a record signed with `{self.key}`{stored}{awaited}"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that hands off and waits."""
        from rdo_promoter.engine.handoff import Scope as Told
        from rdo_promoter.operators.handoff import HandOffOperator, Way, handoff_asset

        source = (context.container_source,) if context.container_source else ()
        return chain.then(
            HandOffOperator(
                task_id=name,
                services=context.services,
                scope=Told(
                    label=context.source,
                    containers=context.containers,
                    registries=self.registries or source,
                    images=context.images,
                    own_images=context.own_images,
                    servers=self.store_on,
                    criteria=context.criteria,
                ),
                way=Way(self.key, self.receiver, self.acknowledged_within),
                asset=handoff_asset(context.dag_id, context.services.repo_url, context.source),
                waivers_file=context.waivers_file,
                poll=context.poll,
            )
        )
