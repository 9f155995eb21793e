"""The promote step: one promotion group, DLRN's label last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rdo_promoter.files.document import Problem
from rdo_promoter.steps.base import Reference, Scope, Step, needs_containers
from rdo_promoter.steps.fields import Distinct, FileName, FrozenMap, Label, Name, SomeDistinct, nearest

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext
    from rdo_promoter.steps.facts import StageFacts


class Promote(Step):
    """Promote the run's build to a label: containers and images everywhere, verified, DLRN's label last.

    :param label: the promoted label, for example ``current-tripleo``.
    :param tag_in: registries that hold the containers already, where they are tagged.
    :param push_to: registries to which the containers are copied and where they are tagged then.
    :param link_on: image servers with the images of all builds, where the label's link is moved.
    :param mirror_to: image servers to which the images are copied, from the first of link_on, and where the
        label's link is moved then.
    :param images: image server of link_on -> the image files that it has to hold, where these are not the
        release's.
    """

    kind: ClassVar[str] = "promote"

    label: Label
    tag_in: Distinct[Name] = ()
    push_to: Distinct[Name] = ()
    link_on: Distinct[Name] = ()
    mirror_to: Distinct[Name] = ()
    images: FrozenMap[Name, SomeDistinct[FileName]] = Field(default={}, validate_default=True)

    def references(self) -> Iterable[Reference]:
        """Return the registries and image servers that the step uses."""
        for key in ("tag_in", "push_to"):
            for index, name in enumerate(getattr(self, key)):
                yield Reference((key, index), "registries", name)
        for key in ("link_on", "mirror_to"):
            for index, name in enumerate(getattr(self, key)):
                yield Reference((key, index), "image_servers", name)

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
        yield from self._check_images(scope)

    def _check_containers(self, scope: Scope) -> Iterable[Problem]:
        source = scope.container_source
        for key in ("tag_in", "push_to"):
            if getattr(self, key):
                yield from needs_containers(self, scope, (key,))
        if source is None:
            return
        if self.tag_in and source in scope.registries and source not in self.tag_in:
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

    def _check_images(self, scope: Scope) -> Iterable[Problem]:
        for name in self.images:
            if name not in self.link_on:
                yield Problem(
                    ("images", name),
                    f"no server of link_on, whose images alone are looked at; {nearest(name, self.link_on)}",
                )
        uploaded = (self.link_on or self.mirror_to)[:1] if self.mirror_to else ()
        for key, servers in (("link_on", self.link_on), ("mirror_to", uploaded)):
            if not scope.has_images and not set(servers) <= set(self.images):
                yield Problem((key,), f"the release has no images: add `images:` or remove {key}")
        if self.mirror_to and not self.link_on:
            yield Problem(
                ("mirror_to",),
                "the images are copied from the first server of link_on: add `link_on:` with the server that "
                "the image job uploads to",
            )
        for index, name in enumerate(self.link_on):
            if name in scope.mirrors:
                yield Problem(
                    ("link_on", index),
                    f"{name!r} is a mirror (layout: by_label), which holds what promotions copy to it: write "
                    f"`mirror_to: [{name}]`",
                )
        for index, name in enumerate(self.mirror_to):
            if name in scope.image_servers and name not in scope.mirrors:
                yield Problem(
                    ("mirror_to", index),
                    f"{name!r} is no mirror, CI's image job uploads to it: write `link_on: [{name}]`, or "
                    f"`layout: by_label` below image_servers.{name}",
                )

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        parts = (
            ("tags", self.tag_in),
            ("pushes to", self.push_to),
            ("links on", self.link_on),
            ("mirrors to", self.mirror_to),
        )
        own = [f"{', '.join(images)} have to be on `{name}`" for name, images in self.images.items()]
        where = [f"{verb} {', '.join(f'`{name}`' for name in names)}" for verb, names in parts if names]
        return f"promotes the build to `{self.label}`: {'; '.join([*where, *own, 'DLRN last'])}"

    def coordinates(self, facts: StageFacts) -> dict[str, Any]:
        """Return the fields of the step's `Promotion`, but its build.

        :param facts: the stage.
        """
        coordinates = facts.coordinates(
            self.label,
            tag_in=self.tag_in,
            push_to=self.push_to,
            images=facts.images if self.link_on else (),
            link_on=self.link_on,
            mirror_to=self.mirror_to,
        )
        return {**coordinates, "own_images": dict(self.images)}

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the promotion group. Its order is what keeps the label whole: `DLRN's label last`."""
        from airflow.sdk import TaskGroup

        from rdo_promoter.operators import promotion as group
        from rdo_promoter.operators.hold import HoldOperator

        assert context.asset is not None, "a stage with this step has a promoted label"
        common: dict[str, Any] = {
            "services": context.services,
            "coordinates": self.coordinates(context),
            "group": f"{context.stage}.{name}",
        }
        with TaskGroup(name, tooltip=self.describe()):
            hold = HoldOperator(task_id="hold", poll=context.poll, **common)
            plan = group.PlanOperator(
                task_id="plan", made_from=context.made_from, poll=context.poll, **common
            )
            copies = [
                *(
                    group.CopyOperator(task_id=f"copy_{registry}", registry=registry, **common)
                    for registry in self.push_to
                ),
                *(
                    group.MirrorOperator(task_id=f"mirror_{server}", server=server, **common)
                    for server in self.mirror_to
                ),
            ]
            check = group.CheckCopiesOperator(task_id="check_copies", **common)
            moves = [
                *(
                    group.TagOperator(task_id=f"tag_{registry}", registry=registry, **common)
                    for registry in dict.fromkeys((*self.tag_in, *self.push_to))
                ),
                *(
                    group.LinkOperator(task_id=f"link_{server}", server=server, **common)
                    for server in (*self.link_on, *self.mirror_to)
                ),
            ]
            dlrn = group.CommitOperator(task_id="dlrn", **common)
            verify = group.VerifyOperator(
                task_id="verify", asset=context.asset, made_from=context.made_from, **common
            )
        chain = chain.then(hold).then(plan)
        if copies:
            chain = chain.then(*copies)
        chain = chain.then(check)
        if moves:
            chain = chain.then(*moves)
        return chain.then(dlrn).then(verify)
