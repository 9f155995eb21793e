"""The fetch_images step: copy a build's images to an image server of ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, StrictInt

from rdo_promoter.files.document import Problem
from rdo_promoter.steps.base import Reference, Scope, Step
from rdo_promoter.steps.fields import FileName, Name, SomeDistinct

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


class FetchImages(Step):
    """Copy the build's images from one image server to another, verified, and remove old builds there.

    :param from_: the image server that has the build's folder; written ``from``.
    :param to: the image server that they are copied to, into a folder of the same name.
    :param images: the image files; those of the release without it.
    :param keep: builds that stay on `to`, the newest; what a link there names stays as well. Without it
        nothing is removed.
    """

    kind: ClassVar[str] = "fetch_images"

    from_: Name = Field(alias="from")
    to: Name
    images: SomeDistinct[FileName] | None = None
    keep: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None

    def references(self) -> Iterable[Reference]:
        """Return the image servers that the step uses."""
        yield Reference(("from",), "image_servers", self.from_)
        yield Reference(("to",), "image_servers", self.to)

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        for key, name in (("from", self.from_), ("to", self.to)):
            if name in scope.mirrors:
                yield Problem(
                    (key,),
                    f"{name!r} is a mirror (layout: by_label), which a promotion fills: write `mirror_to: "
                    f"[{name}]` in promote, or leave its layout out",
                )
        if self.from_ == self.to:
            yield Problem(("to",), f"{self.to!r} is where the images come from: name another image server")
        if self.images is None and not scope.has_images:
            yield Problem((), "the release has no images: add `images:` here, or to the release")

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        what = ", ".join(self.images) if self.images else "the images"
        kept = f", where the {self.keep} newest builds and those that links name stay" if self.keep else ""
        return f"copies {what} from `{self.from_}` to `{self.to}`{kept}"

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that copies and cleans up."""
        from rdo_promoter.operators.images import FetchImagesOperator

        return chain.then(
            FetchImagesOperator(
                task_id=name,
                services=context.services,
                wanted={
                    "source": self.from_,
                    "target": self.to,
                    "images": self.images or context.images,
                    "keep": self.keep,
                    "known": context.known_files,
                },
            )
        )
