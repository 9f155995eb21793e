"""Ask for what says that a build is good: DLRN for votes, or Zuul for the buildset that tested it."""

from __future__ import annotations

from collections.abc import Callable

from rdo_promoter.clients.dlrn_read import PAGE, DlrnReader
from rdo_promoter.clients.zuul import ZuulClient
from rdo_promoter.engine.ci import PipelineWatch
from rdo_promoter.model.build import Build
from rdo_promoter.model.ci import Pipeline, tenure
from rdo_promoter.model.evidence import Evidence, find_buildset, from_buildset


def evidence_of(
    dlrn: DlrnReader,
    open_zuul: Callable[[], ZuulClient],
    build: Build,
    *,
    candidate_label: str,
    buildset_of: Pipeline | None,
) -> Evidence:
    """Return what says that a build is good, read anew.

    :param dlrn: the release's DLRN.
    :param open_zuul: makes a client of the release's Zuul; called when a buildset decides.
    :param build: the build.
    :param candidate_label: the label that CI tests.
    :param buildset_of: the pipeline whose buildset decides (``evidence: zuul_buildset``); None: votes do.
    :raises ServiceError: when DLRN, or the Zuul that decides, does not answer.
    """
    if buildset_of is None:
        return Evidence(tuple(dlrn.votes(build)))
    watch = PipelineWatch(open_zuul, buildset_of.name)
    try:
        return buildset_evidence(dlrn, watch, build, candidate_label=candidate_label, pipeline=buildset_of)
    finally:
        watch.close()


def buildset_evidence(
    dlrn: DlrnReader, watch: PipelineWatch, build: Build, *, candidate_label: str, pipeline: Pipeline
) -> Evidence:
    """Return what the buildset that tested a build says of it.

    :param dlrn: knows for which time the candidate label named the build.
    :param watch: looks at the pipeline.
    :param build: the build.
    :param candidate_label: the label that CI tests.
    :param pipeline: the pipeline.
    :raises ServiceError: when DLRN or Zuul does not answer.
    """
    held = tenure(dlrn.promotions(candidate_label, limit=PAGE), build)
    uuid = find_buildset(watch.runs(), held, pipeline)
    # The list may end in the middle of the buildset: asked for by its name it is whole.
    found = watch.client.buildset(uuid) if uuid else None
    return from_buildset(found, held, pipeline)
