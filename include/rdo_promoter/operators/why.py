"""The table that says why a build is not promoted, in a gate's log."""

from __future__ import annotations

from collections.abc import Collection

from rdo_promoter.engine.why import Subject, Waiting, why
from rdo_promoter.errors import PromoterError
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import Build
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.model.text import one_line
from rdo_promoter.triggers.feeds import Log
from rdo_promoter.triggers.terms import Terms


def log_why(
    log: Log,
    services: ConnectionServices,
    terms: Terms,
    build: Build,
    *,
    decisions: Decisions,
    release_jobs: Collection[str],
) -> None:
    """Write what ``rdo-promoter verdict`` would print about a gate; a table that cannot be made stops nobody.

    :param log: the gate's log.
    :param services: makes clients.
    :param terms: what the gate waits for.
    :param build: the build.
    :param decisions: what people have decided about the release.
    :param release_jobs: the jobs that any stage of the release requires.
    """
    stage, _, step = terms.gate.removesuffix(".gate").partition(".")
    pipeline = terms.ci.pipeline if terms.ci else None
    decides = pipeline if terms.ci and terms.ci.decides else None
    subject = Subject(
        stage=stage,
        candidate_label=terms.where.candidate_label,
        promoted_label=terms.where.promoted_label,
        waits={step: Waiting(terms.criteria, decides)},
        pipeline=pipeline,
        release_jobs=frozenset(release_jobs),
    )
    try:
        found = why(subject, build, services.dlrn, services.zuul, decisions)
    except PromoterError as error:
        log.info("%s no table of the jobs: %s", build.short, one_line(str(error)))
        return
    log.info("%s\n%s", build.short, "\n".join(found.lines()))
