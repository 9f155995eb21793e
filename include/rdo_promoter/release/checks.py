"""What has to be true between the parts of a release: names that refer to each other, and the order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rdo_promoter.files.document import Problem, spell
from rdo_promoter.model.build import CONSISTENT, LONGEST_LABEL
from rdo_promoter.model.promotion import previous_label
from rdo_promoter.release.models import ReleaseFile, Stage
from rdo_promoter.steps import Candidate, FetchImages, Promote, Scope, Step, WaitFor
from rdo_promoter.steps.fields import nearest

#: Ids that the Dag factory gives to groups and tasks of its own.
RESERVED_STAGES = frozenset({"source"})
RESERVED_STEPS = frozenset({"start"})


def check(release: ReleaseFile) -> Iterator[Problem]:
    """Return what is wrong between the parts of a release whose parts are well-formed."""
    yield from _check_containers(release)
    yield from _check_names(release)
    yield from _check_unused(release)
    yield from _check_zuul(release)
    yield from _check_fetches(release)
    yield from _check_stages(release)
    for kind in (Candidate, Promote):
        yield from _check_labels(release, kind)
    yield from _check_previous(release)
    for stage_at, stage in enumerate(release.stages):
        for step_at, step in enumerate(stage.steps):
            here = ("stages", stage_at, "steps", step_at, step.kind)
            for problem in step.check(_scope(release, stage, step_at)):
                yield Problem((*here, *problem.path), problem.message)


def _scope(release: ReleaseFile, stage: Stage, step_at: int) -> Scope:
    steps = [step for _, step in _steps(release)]
    pipeline = release.pipeline(stage)
    return Scope(
        stage=stage.name,
        source=stage.source,
        before=stage.steps[:step_at],
        registries=tuple(release.registries),
        image_servers=tuple(release.image_servers),
        mirrors=tuple(name for name, server in release.image_servers.items() if server.kept.mirror),
        container_source=release.containers.source if release.containers else None,
        has_images=bool(release.images),
        candidate_labels=tuple(step.label for step in steps if isinstance(step, Candidate)),
        promoted_labels=tuple(step.label for step in steps if isinstance(step, Promote)),
        pipeline=pipeline.name if pipeline else None,
    )


def _steps(release: ReleaseFile) -> Iterator[tuple[tuple[str | int, ...], Step]]:
    for stage_at, stage in enumerate(release.stages):
        for step_at, step in enumerate(stage.steps):
            yield ("stages", stage_at, "steps", step_at, step.kind), step


def _check_containers(release: ReleaseFile) -> Iterable[Problem]:
    containers = release.containers
    if containers and containers.source not in release.registries:
        known = nearest(containers.source, tuple(release.registries))
        yield Problem(("containers", "source"), f"unknown registry {containers.source!r}; {known}")


def _check_names(release: ReleaseFile) -> Iterable[Problem]:
    for key, server in release.image_servers.items():
        here = ("image_servers", key, "names")
        if server.names and not server.kept.mirror:
            yield Problem(
                here,
                "CI's image job names the files: remove this, or add `layout: by_label` to a mirror",
            )
            continue
        for image in server.names:
            if image not in release.images:
                yield Problem((*here, image), f"no image of the release; {nearest(image, release.images)}")
        files: dict[str, str] = {}
        for image in release.images:
            file = server.kept.file(image)
            if file in files:
                path = (*here, image) if image in server.names else (*here, files[file])
                yield Problem(
                    path, f"{files[file]!r} and {image!r} would both be {file!r}: name one otherwise"
                )
            files.setdefault(file, image)


def _check_unused(release: ReleaseFile) -> Iterable[Problem]:
    uses = [(use.to, use.name) for _, step in _steps(release) for use in step.references()]
    kinds = {to for to, _ in uses}
    source = ("registries", release.containers.source) if release.containers else None
    for key, names in (("registries", release.registries), ("image_servers", release.image_servers)):
        for name in names:
            if (key, name) not in uses and (key, name) != source:
                yield Problem((key, name), "no step uses it: name it in a step, or remove it")
    if release.containers and "registries" not in kinds:
        yield Problem(
            ("containers",), "no step tags or pushes them: add tag_in or push_to to promote, or remove them"
        )
    if release.images and "image_servers" not in kinds:
        yield Problem(("images",), "no step links them: add link_on to promote, or remove them")


def _check_zuul(release: ReleaseFile) -> Iterable[Problem]:
    for at, stage in enumerate(release.stages):
        if stage.pipeline and release.zuul is None:
            yield Problem(
                ("stages", at, "pipeline"),
                "the release names no Zuul: add `zuul: {connection: ..., pipeline: ...}`, or remove this",
            )
    if release.zuul and not any(release.pipeline(stage) for stage in release.stages):
        yield Problem(
            ("zuul",),
            "no stage has a pipeline: add `pipeline:` to one whose builds this Zuul tests, or remove it",
        )


def _check_fetches(release: ReleaseFile) -> Iterable[Problem]:
    """Refuse a copy of images onto themselves, whose old builds would be removed, and two to one place."""
    servers, filled = release.image_servers, dict[tuple[str, str], str]()
    for path, step in _steps(release):
        if isinstance(step, FetchImages) and step.to in servers:
            place = servers[step.to].connection, release.image_root(step.to)
            if place in filled:
                yield Problem(
                    (*path, "to"),
                    f"{filled[place]} fills that folder already, and both would count on the same room: name "
                    "all `images:` there, and remove this step",
                )
            filled.setdefault(place, spell(path))
        if isinstance(step, FetchImages) and step.from_ != step.to and {step.from_, step.to} <= set(servers):
            places = {(servers[name].connection, release.image_root(name)) for name in (step.from_, step.to)}
            if len(places) == 1:
                yield Problem(
                    (*path, "to"),
                    f"{step.to!r} is the same folder as {step.from_!r}: change image_servers.{step.to}",
                )


def _check_stages(release: ReleaseFile) -> Iterable[Problem]:
    names: set[str] = set()
    produced: list[str] = []
    for at, stage in enumerate(release.stages):
        here = ("stages", at)
        if stage.name in names | RESERVED_STAGES:
            whose = "an earlier stage's name" if stage.name in names else "the group of the run's first task"
            yield Problem((*here, "name"), f"{stage.name!r} is {whose}: give the stage another name")
        names.add(stage.name)
        if stage.source not in (CONSISTENT, *produced):
            yield Problem(
                (*here, "source"),
                f"no earlier stage promotes to {stage.source!r}; "
                + nearest(stage.source, (CONSISTENT, *produced)),
            )
        yield from _check_steps(stage, here)
        produced += [step.label for step in stage.steps if isinstance(step, Promote)]


def _check_steps(stage: Stage, here: tuple[str | int, ...]) -> Iterable[Problem]:
    ids: set[str] = set()
    admitted = stage.source != CONSISTENT
    for at, (step_id, step) in enumerate(stage.named_steps):
        path = (*here, "steps", at, step.kind)
        if step_id in ids | RESERVED_STEPS:
            whose = "an earlier step's id in this stage" if step_id in ids else "the id of a task of its own"
            yield Problem(
                (*path, "name") if step.name else path, f"{step_id!r} is {whose}: give it another `name:`"
            )
        ids.add(step_id)
        admitted = admitted or isinstance(step, Candidate)
        if isinstance(step, WaitFor) and not admitted:
            yield Problem(
                path,
                "nothing hands the build to CI: put `- candidate: {label: ...}` first, CI tests what that "
                "label names",
            )
        if isinstance(step, Promote) and step is not stage.steps[-1]:
            yield Problem(
                path,
                "promote has to be the stage's last step: move it to the end, or move what follows into a "
                f"stage with `source: {step.label}`",
            )
    yield from _check_jobs(stage, here, ids)


def _check_jobs(stage: Stage, here: tuple[str | int, ...], ids: set[str]) -> Iterable[Problem]:
    seen: dict[str, str] = {}
    for step_at, (step_id, step) in enumerate(stage.named_steps):
        if not isinstance(step, WaitFor):
            continue
        for job_at, job in enumerate(step.jobs):
            path = (*here, "steps", step_at, step.kind, "jobs", job_at)
            if job in seen:
                yield Problem(
                    path, f"{job!r} is awaited by {seen[job]!r} already: a job's name is a task id, keep one"
                )
            elif job in ids | RESERVED_STEPS:
                yield Problem(
                    path,
                    f"{job!r} is a step's id in this stage as well, and both become task ids: "
                    "give the step another `name:`",
                )
            seen.setdefault(job, step_id)


def _check_labels(release: ReleaseFile, kind: type[Candidate | Promote]) -> Iterable[Problem]:
    seen: dict[str, str] = {}
    for path, step in _steps(release):
        if not isinstance(step, kind):
            continue
        if step.label in seen:
            yield Problem(
                (*path, "label"),
                f"{step.label!r} is moved by {seen[step.label]} already: two steps would take turns; "
                "use another label",
            )
        seen.setdefault(step.label, spell(path))


def _check_previous(release: ReleaseFile) -> Iterable[Problem]:
    """Keep ``previous-<label>`` for the promotion of the label, and short enough for DLRN and a registry."""
    moved = [(path, step) for path, step in _steps(release) if isinstance(step, Candidate | Promote)]
    for path, step in moved:
        for _, other in moved:
            if isinstance(other, Promote) and step.label == previous_label(other.label):
                yield Problem(
                    (*path, "label"),
                    f"{step.label!r} keeps what {other.label!r} named before, and is moved by its promotion: "
                    "use another label",
                )
        longest = LONGEST_LABEL - len(previous_label(""))
        if isinstance(step, Promote) and len(step.label) > longest:
            yield Problem(
                (*path, "label"),
                f"{len(step.label)} characters are too many behind `previous-`: use at most {longest}",
            )
