"""What every step kind has: a frozen model, its checks and its tasks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rdo_promoter.files.document import Problem
from rdo_promoter.steps.fields import Frozen, Name, nearest

if TYPE_CHECKING:  # loading Airflow takes seconds; reading a release file never does
    from rdo_promoter.steps.context import Chain, StageContext


@dataclass(frozen=True, slots=True)
class Reference:
    """A step's use of a registry or an image server of the release.

    :param path: keys and list indexes inside the step that lead to the name.
    :param to: which of the release's mappings has to know the name.
    :param name: the name.
    """

    path: tuple[str | int, ...]
    to: Literal["registries", "image_servers"]
    name: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What stands around a step in its release: all that `Step.check` may look at.

    :param stage: the stage's name.
    :param source: the label that the stage starts from.
    :param before: the steps of the same stage that come before it.
    :param registries: names of the release's registries.
    :param image_servers: names of the release's image servers.
    :param mirrors: those of them that promotions copy the images to.
    :param container_source: the registry that holds the containers, None in a release without containers.
    :param has_images: whether the release has images.
    :param candidate_labels: the labels that candidate steps of the release move.
    :param promoted_labels: the labels that promote steps of the release move.
    :param pipeline: the Zuul pipeline that tests the stage's builds, None when none is known.
    """

    stage: str
    source: str
    before: tuple[Step, ...]
    registries: tuple[str, ...]
    image_servers: tuple[str, ...]
    mirrors: tuple[str, ...]
    container_source: str | None
    has_images: bool
    candidate_labels: tuple[str, ...]
    promoted_labels: tuple[str, ...]
    pipeline: str | None


class Step(Frozen):
    """One step of a stage.

    A kind is one module with one subclass and one line in the list of `rdo_promoter.steps`. Its method
    `tasks` imports Airflow inside: reading and checking a release file never loads Airflow.

    :param name: the step's id within its stage; its kind without it, from the second on with a number
        (``wait_for_2``).
    """

    #: The key under which a release file writes the step.
    kind: ClassVar[str]
    #: Whether a promotion may rest on this step's result.
    decides: ClassVar[bool] = False
    #: Whether it looks into the Zuul whose jobs test the builds.
    asks_zuul: ClassVar[bool] = False
    #: Whether it looks at the containers in the registry that CI's build job pushes them to.
    reads_source: ClassVar[bool] = False

    name: Name | None = None

    @property
    def holds_back(self) -> bool:
        """Whether what follows goes on only when the step has succeeded."""
        return True

    def references(self) -> Iterable[Reference]:
        """Return the registries and image servers that the step uses."""
        return ()

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands; kinds add their own checks to this.

        :param scope: what stands around the step.
        """
        for reference in self.references():
            known: tuple[str, ...] = getattr(scope, reference.to)
            if reference.name not in known:
                what = {"registries": "registry", "image_servers": "image server"}[reference.to]
                yield Problem(
                    reference.path, f"unknown {what} {reference.name!r}; {nearest(reference.name, known)}"
                )

    @abstractmethod
    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""

    @abstractmethod
    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the step's Airflow tasks inside the stage's task group.

        :param context: the stage.
        :param name: the step's task or group id.
        :param chain: what comes before; the result is what the next step comes after.
        """


def needs_containers(step: Step, scope: Scope, path: tuple[str | int, ...]) -> Iterable[Problem]:
    """Return the problem of a step that works on containers in a release without any."""
    if scope.container_source is None:
        yield Problem(
            path, f"the release has no containers for {step.kind}: add `containers:` or remove this key"
        )


def check_tag(tag: str, scope: Scope) -> Iterable[Problem]:
    """Return the problem of a step outside a promotion that would not move a candidate label.

    Its tags are moved while DLRN's label names the build, so another one would never be moved.
    """
    if tag in scope.promoted_labels:
        yield Problem(
            ("tag",),
            f"{tag!r} is a promoted label: only its promote step may tag containers with it, "
            "after everything was verified; use the candidate label",
        )
    elif tag not in scope.candidate_labels:
        known = nearest(tag, scope.candidate_labels)
        yield Problem(("tag",), f"no candidate step moves {tag!r}, so nothing would be tagged; {known}")
