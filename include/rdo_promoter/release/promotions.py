"""What a release's stages promote, and with which services: for the Dags and for the command line alike."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from rdo_promoter.model.build import Build
from rdo_promoter.model.handoff import stored_as
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.release.models import Release, Stage
from rdo_promoter.steps import Approve, FetchImages, HandOff, Promote, WaitFor
from rdo_promoter.steps.facts import StageFacts

if TYPE_CHECKING:  # its hooks load Airflow, and the engine's clients a library for HTTP
    from rdo_promoter.engine.why import Subject
    from rdo_promoter.hooks.services import ConnectionServices


def promote_step(stage: Stage) -> Promote | None:
    """Return the step by which a stage promotes, None when it promotes nothing."""
    return next((step for step in stage.steps if isinstance(step, Promote)), None)


def stage_facts(release: Release, stage: Stage) -> StageFacts:
    """Return what a release says of one of its stages."""
    return StageFacts(
        stage=stage.name,
        source=stage.source,
        candidate_label=stage.candidate_label,
        containers=release.container_names,
        container_source=release.containers.source if release.containers else None,
        images=tuple(release.images),
        own_images=_own_images(release, stage.source),
        criteria=tuple(_criteria(release, stage.source)),
        known_files=tuple(dict.fromkeys((*release.images, *_named_files(release)))),
    )


def _own_images(release: Release, label: str) -> dict[str, tuple[str, ...]]:
    """Return the image files on servers that hold others than the release's when a label names a build."""
    promotes = filter(None, map(promote_step, release.stages))
    return {
        name: tuple(images)
        for step in promotes
        if step.label == label
        for name, images in step.images.items()
    }


def _criteria(release: Release, label: str) -> Iterator[Criteria]:
    """Yield what the stages require up to the one that promotes to a label; nothing when none does."""
    labels = [step.label if (step := promote_step(stage)) else None for stage in release.stages]
    last = labels.index(label) + 1 if label in labels else 0
    for stage in release.stages[:last]:
        yield from (step.criteria(stage.policy) for step in stage.steps if isinstance(step, WaitFor))


def _named_files(release: Release) -> Iterator[str]:
    for stage in release.stages:
        for step in stage.steps:
            if isinstance(step, FetchImages):
                yield from step.images or ()
            if isinstance(step, Promote):
                yield from chain.from_iterable(step.images.values())
            if isinstance(step, HandOff) and step.store_on:
                yield stored_as(stage.source)


def promotion_of(release: Release, stage: Stage, step: Promote, build: Build) -> Promotion:
    """Return what a stage wants for a build: the same that the stage's tasks want.

    :param step: the stage's promote step.
    """
    return Promotion(build=build, **step.coordinates(stage_facts(release, stage)))


def approvals_of(stage: Stage) -> tuple[str, ...]:
    """Return the tasks of a stage that ask for an approval."""
    return tuple(f"{stage.name}.{name}" for name, step in stage.named_steps if isinstance(step, Approve))


def gates_of(stage: Stage) -> tuple[str, ...]:
    """Return the gates of a stage, at which a person can give a build up."""
    return tuple(f"{stage.name}.{name}.gate" for name, step in stage.named_steps if isinstance(step, WaitFor))


def subject_of(release: Release, stage: Stage) -> Subject:
    """Return a stage as one of which is asked why a build is not promoted."""
    from rdo_promoter.engine.why import Subject, Waiting

    step, pipeline = promote_step(stage), release.pipeline(stage)
    return Subject(
        stage=stage.name,
        candidate_label=stage.candidate_label,
        promoted_label=step.label if step else None,
        waits={
            name: Waiting(wait.criteria(stage.policy), pipeline if wait.by_buildset else None)
            for name, wait in stage.named_steps
            if isinstance(wait, WaitFor)
        },
        pipeline=pipeline,
        release_jobs=release.jobs,
        approvals=approvals_of(stage),
        gates=gates_of(stage),
    )


def services_of(release: Release) -> ConnectionServices:
    """Return what makes the release's clients from Airflow Connections; none is read here."""
    from rdo_promoter.hooks.services import ConnectionServices

    return ConnectionServices(
        dlrn_conn_id=release.dlrn.connection,
        repo_url=release.dlrn.repo_url,
        registries={name: (r.connection, r.namespace) for name, r in release.registries.items()},
        servers={
            name: (server.connection, release.image_root(name), server.kept)
            for name, server in release.image_servers.items()
        },
        zuul_conn_id=release.zuul.connection if release.zuul else None,
    )
