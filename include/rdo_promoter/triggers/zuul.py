"""What the feeds ask of Zuul. Runs in threads of the triggerer."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rdo_promoter.engine.ci import PipelineWatch
from rdo_promoter.engine.evidence import buildset_evidence
from rdo_promoter.hooks.zuul import ZuulHook
from rdo_promoter.model.build import Build
from rdo_promoter.model.ci import Sighting
from rdo_promoter.model.evidence import Evidence
from rdo_promoter.triggers.dlrn import VotesSource
from rdo_promoter.triggers.feed import Feed, join
from rdo_promoter.triggers.terms import Ci, Terms, Where

if TYPE_CHECKING:
    from rdo_promoter.clients.zuul import ZuulClient


class PipelineSource:
    """Asks what is in a pipeline: two requests, however many builds and jobs are waited for.

    A Zuul that does not answer ends no wait: the answer then says so.

    :param zuul_conn_id: Connection of type ``zuul``.
    :param pipeline: Zuul's name of the pipeline.
    """

    def __init__(self, zuul_conn_id: str, pipeline: str) -> None:
        self.zuul_conn_id = zuul_conn_id
        self._watch = PipelineWatch(self._open, pipeline)

    def ask(self) -> Sighting:
        """Return what Zuul knows."""
        return self._watch.look()

    def close(self) -> None:
        """Close the client's connections."""
        self._watch.close()

    def _open(self) -> ZuulClient:
        return ZuulHook(self.zuul_conn_id).get_conn()


class BuildsetSource(VotesSource):
    """Asks for the buildset that tested one build, in place of its votes.

    Unlike `PipelineSource` it lets everybody wait while Zuul does not answer: nothing else could decide.

    :param where: the DLRN and the labels.
    :param build: the build.
    :param ci: the pipeline whose buildset decides.
    """

    def __init__(self, where: Where, build: Build, ci: Ci) -> None:
        super().__init__(where, build)
        self.ci = ci
        self._watch = PipelineWatch(lambda: ZuulHook(ci.zuul_conn_id).get_conn(), ci.pipeline.name)

    def evidence(self) -> Evidence:
        """Return what the buildset says of the build."""
        return buildset_evidence(
            self.client,
            self._watch,
            self.build,
            candidate_label=self.where.candidate_label,
            pipeline=self.ci.pipeline,
        )

    def close(self) -> None:
        """Close both clients' connections."""
        super().close()
        self._watch.close()


def votes_source(terms: Terms, build: Build) -> VotesSource:
    """Return what is asked whether a build is good.

    :param terms: what is waited for.
    :param build: the build.
    """
    if terms.ci and terms.ci.decides:
        return BuildsetSource(terms.where, build, terms.ci)
    return VotesSource(terms.where, build)


def join_pipeline(
    zuul_conn_id: str, pipeline: str, *, poll: float, bell: asyncio.Event
) -> AbstractContextManager[Feed[Sighting]]:
    """Join the one poll loop of this process for a pipeline.

    :param zuul_conn_id: Connection of type ``zuul``.
    :param pipeline: Zuul's name of the pipeline.
    :param poll: seconds between two looks.
    :param bell: set at each answer.
    """
    return join(
        ("pipeline", zuul_conn_id, pipeline),
        PipelineSource(zuul_conn_id, pipeline),
        service=zuul_conn_id,
        name=f"{pipeline} in {zuul_conn_id}",
        poll=poll,
        bell=bell,
    )
