"""What a step knows when it builds its Airflow tasks. The only module of `steps` that loads Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from airflow.sdk import Asset, BaseOperator

from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.order import Wait
from rdo_promoter.model.votes import VotePolicy
from rdo_promoter.steps.base import Step
from rdo_promoter.steps.facts import StageFacts
from rdo_promoter.triggers.terms import Ci, Where


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
class StageContext(StageFacts):
    """The stage, as far as its tasks need it.

    :param services: makes clients from Connections.
    :param promoted_label: the label that the stage promotes to, None when it promotes to none.
    :param waits: what the stage waits for, in its order.
    :param since: template of the time from which deadlines count.
    :param poll: seconds between two looks at the votes.
    :param asset: stands for the promoted label.
    :param made_from: the release file.
    :param dag_id: the release's Dag.
    :param waivers_file: the reviewed file of waivers, relative to the releases folder; None without one.
    :param policy: which of a job's votes counts.
    :param release_jobs: all jobs that a stage of the release requires.
    :param asks: the stage's tasks at which a person can give a build up.
    :param pipeline: the pipeline that tests the stage's builds, None when it is not known.
    """

    services: ConnectionServices
    promoted_label: str | None
    waits: tuple[Wait, ...]
    since: str
    poll: int
    asset: Asset | None
    made_from: MadeFrom
    dag_id: str
    waivers_file: str | None
    policy: VotePolicy
    release_jobs: frozenset[str]
    asks: tuple[str, ...] = ()
    pipeline: Pipeline | None = None

    @property
    def where(self) -> Where:
        """The DLRN and the labels of the stage."""
        services = self.services
        return Where(services.dlrn_conn_id, services.repo_url, self.candidate_label, self.promoted_label)

    def ci(self, *, decides: bool) -> Ci | None:
        """Return where to look for jobs that have not voted, None when that is not known.

        :param decides: whether a buildset decides in place of votes.
        """
        conn_id = self.services.zuul_conn_id
        if conn_id is None or self.pipeline is None:
            return None
        return Ci(conn_id, self.pipeline, decides)

    @property
    def jobs(self) -> frozenset[str]:
        """All jobs of the stage, alternatives among them."""
        return frozenset[str]().union(*(wait.criteria.known_jobs for wait in self.waits))

    def for_step(self, *steps: Step) -> StageContext:
        """Return the context with the Connections that these steps name, and no others.

        :param steps: steps of the stage.
        """
        zuul = self.pipeline is not None and any(step.asks_zuul for step in steps)
        return replace(self, services=self.services.only(*self.uses(steps), zuul=zuul))


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
