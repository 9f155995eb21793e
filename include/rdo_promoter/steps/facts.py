"""What a stage's promotion is made of. Pure: the command line shares it with the Dags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdo_promoter.model.verdict import Criteria
from rdo_promoter.steps.base import Step


@dataclass(frozen=True)
class StageFacts:
    """What a release says of a stage.

    :param stage: the stage's name.
    :param source: the label that the stage starts from.
    :param candidate_label: the label that CI tests in this stage: the candidate step's, or the source.
    :param containers: the containers' names.
    :param container_source: the registry that CI's build job pushes to.
    :param images: the image files of a build.
    :param own_images: the image files on servers that hold others, for the label that the stage starts from.
    :param criteria: what the stages require up to the one that promotes to the label the stage starts from.
    :param known_files: all files that a step of the release puts into a build's folder or looks for there.
    """

    stage: str
    source: str
    candidate_label: str
    containers: tuple[str, ...]
    container_source: str | None
    images: tuple[str, ...]
    own_images: Mapping[str, tuple[str, ...]]
    criteria: tuple[Criteria, ...]
    known_files: tuple[str, ...]

    def coordinates(self, label: str, **more: Sequence[str]) -> dict[str, Any]:
        """Return the fields of a `Promotion` to the label, but its build.

        :param more: the fields that are the step's own.
        """
        return {
            "label": label,
            "candidate_label": self.candidate_label,
            "source": self.container_source,
            "containers": self.containers,
            **{key: tuple(value) for key, value in more.items()},
        }

    def uses(self, steps: Iterable[Step]) -> tuple[list[str], list[str]]:
        """Return the registries and the image servers that steps of the stage work on.

        :param steps: steps of the stage.
        """
        steps = list(steps)
        named = [use for step in steps for use in step.references()]
        registries = [use.name for use in named if use.to == "registries"]
        if self.container_source and (registries or any(step.reads_source for step in steps)):
            registries.append(self.container_source)
        servers = [use.name for use in named if use.to == "image_servers"]
        return list(dict.fromkeys(registries)), list(dict.fromkeys(servers))
