"""What a step knows when it builds its Airflow tasks. The only module of `steps` that loads Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow.sdk import Asset, BaseOperator

from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.order import Wait
from rdo_promoter.steps.base import Step


@dataclass(frozen=True)
class Chain:
    """Where the next step's tasks are attached.

    :param tail: the tasks that have to succeed first.
    :param aside: tasks that gate nothing, but should have ended before the next decision.
    """

    tail: tuple[BaseOperator, ...]
    aside: tuple[BaseOperator, ...] = ()

    def then(self, *tasks: BaseOperator) -> Chain:
        """Attach tasks to the tail and make them the new one."""
        for task in tasks:
            task.set_upstream(list(self.tail))
        return replace(self, tail=tasks)


@dataclass(frozen=True)
class StageContext:
    """The stage, as far as its tasks need it.

    :param stage: the stage's name, the id of its task group.
    :param services: makes clients from Connections.
    :param source: the label that the stage starts from.
    :param candidate_label: the label that CI tests in this stage: the candidate step's, or the source.
    :param promoted_label: the label that the stage promotes to, None when it promotes to none.
    :param waits: what the stage waits for, in its order.
    :param since: template of the time from which deadlines count.
    :param poll: seconds between two looks at the votes.
    :param containers: the containers' names.
    :param container_source: the registry that CI's build job pushes to.
    :param images: the image files of a build.
    :param asset: stands for the promoted label.
    :param made_from: the release file.
    """

    stage: str
    services: ConnectionServices
    source: str
    candidate_label: str
    promoted_label: str | None
    waits: tuple[Wait, ...]
    since: str
    poll: int
    containers: tuple[str, ...]
    container_source: str | None
    images: tuple[str, ...]
    asset: Asset | None
    made_from: MadeFrom

    @property
    def jobs(self) -> frozenset[str]:
        """All jobs of the stage, alternatives among them."""
        return frozenset[str]().union(*(wait.criteria.known_jobs for wait in self.waits))

    def for_step(self, *steps: Step) -> StageContext:
        """Return the context with the Connections that these steps name, and no others.

        :param steps: steps of the stage.
        """
        uses = [use for step in steps for use in step.references()]
        registries = [use.name for use in uses if use.to == "registries"]
        if registries and self.container_source:
            registries.append(self.container_source)
        servers = [use.name for use in uses if use.to == "image_servers"]
        return replace(self, services=self.services.only(registries, servers))

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


def short_names(jobs: Sequence[str]) -> dict[str, str]:
    """Return the jobs' names without what all of them begin with: the grid cuts long names.

    The common beginning ends at a ``-``, and is dropped when at least two jobs share eight characters.
    """
    prefix = _common_prefix(jobs) if len(jobs) > 1 else ""
    if len(prefix) < 8:
        return {job: job for job in jobs}
    return {job: f"…{job[len(prefix) :]}" for job in jobs}


def _common_prefix(jobs: Sequence[str]) -> str:
    first, last = min(jobs), max(jobs)
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first[:length].rfind("-") + 1]
