"""What `plan` and `promote` work on: a release and its stages. Nothing here loads Airflow or a client."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rdo_promoter.model.build import Build, is_full_hash
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.release import (
    BrokenRelease,
    Release,
    Stage,
    load_files,
    load_releases,
    releases_folder,
)
from rdo_promoter.release.promotions import promote_step, promotion_of, stage_facts
from rdo_promoter.steps import Promote, WaitFor
from rdo_promoter.steps.fields import nearest


@dataclass(frozen=True)
class Target:
    """A stage that promotes.

    :param release: its release.
    :param stage: the stage.
    :param step: its promote step.
    """

    release: Release
    stage: Stage
    step: Promote

    @property
    def uses(self) -> tuple[list[str], list[str]]:
        """The registries and the image servers that the promotion works on."""
        return stage_facts(self.release, self.stage).uses([self.step])

    @property
    def connections(self) -> tuple[str, ...]:
        """The ids of the Airflow Connections that the promotion needs."""
        registries, servers = self.uses
        return (
            self.release.dlrn.connection,
            *(self.release.registries[name].connection for name in registries),
            *(self.release.image_servers[name].connection for name in servers),
            *((self.release.zuul.connection,) if self.release.zuul and self.asks_zuul else ()),
        )

    @property
    def pipeline(self) -> Pipeline | None:
        """The Zuul pipeline that tests the stage's builds, None when none is known."""
        return self.release.pipeline(self.stage)

    @property
    def asks_zuul(self) -> bool:
        """Whether a buildset of Zuul's decides about the promotion."""
        return any(isinstance(step, WaitFor) and step.by_buildset for step in self.stage.steps)

    def promotion(self, build: Build) -> Promotion:
        """Return what the stage wants for a build."""
        return promotion_of(self.release, self.stage, self.step, build)


def add_release(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a release; a broken one is found, too."""
    parser.add_argument(
        "release", metavar="RELEASE", type=_release, help="the release's name, its Dag id, or its file"
    )


def add_arguments(
    parser: argparse.ArgumentParser,
    *,
    required: bool,
    newest: str = "the newest that the stage starts from",
    every: str = "every stage that promotes",
) -> None:
    """Add the arguments that name a target.

    :param required: whether hash and stage have to be named.
    :param newest: the build that is meant without a hash.
    :param every: the stages that are meant without a name.
    """
    add_release(parser)
    build, stage = ("", "") if required else (f" (default: {newest})", f" (default: {every})")
    parser.add_argument("--hash", type=_full_hash, required=required, help=f"full hash of the build{build}")
    parser.add_argument("--stage", required=required, help=f"the stage's name{stage}")


def read_targets(options: argparse.Namespace, refuse: Callable[[str], object]) -> list[Target]:
    """Return the stages that the arguments name.

    :param refuse: called with what is wrong with the arguments; it does not return.
    :raises ConfigError: when the release's file cannot be used.
    """
    if isinstance(options.release, BrokenRelease):
        raise options.release.error
    targets = {
        stage.name: Target(options.release, stage, step)
        for stage in options.release.stages
        if (step := promote_step(stage))
    }
    if options.stage is None:
        if not targets:
            refuse(f"no stage of {options.release.dag_id} promotes")
        return list(targets.values())
    if options.stage not in targets:
        every = [stage.name for stage in options.release.stages]
        said = "promotes nothing" if options.stage in every else "is no stage"
        refuse(f"argument --stage: {options.stage!r} {said}; {nearest(options.stage, list(targets))}")
    return [targets[options.stage]]


def read_stages(
    options: argparse.Namespace, refuse: Callable[[str], object]
) -> tuple[Release, tuple[Stage, ...]]:
    """Return the release and those of its stages that wait for CI, as far as the arguments name them.

    :param refuse: called with what is wrong with the arguments; it does not return.
    :raises ConfigError: when the release's file cannot be used.
    """
    if isinstance(options.release, BrokenRelease):
        raise options.release.error
    release: Release = options.release
    stages = {
        stage.name: stage
        for stage in release.stages
        if any(isinstance(step, WaitFor) for step in stage.steps)
    }
    if options.stage is None:
        if not stages:
            refuse(f"no stage of {release.dag_id} waits for CI")
        return release, tuple(stages.values())
    if options.stage not in stages:
        said = (
            "waits for nothing" if options.stage in [each.name for each in release.stages] else "is no stage"
        )
        refuse(f"argument --stage: {options.stage!r} {said}; {nearest(options.stage, list(stages))}")
    return release, (stages[options.stage],)


def _release(text: str) -> Release | BrokenRelease:
    """Find a release by its file, its Dag id or its name."""
    path = Path(text)
    if path.is_file():
        # Read with the others of its folder, as the Dag file does: two may not share a Dag id or a label.
        beside = [each for each in load_releases(path.parent) if Path(each.file).name == path.name]
        return (beside or load_files([path]))[0]
    loaded = load_releases(releases_folder())
    usable = [each for each in loaded if isinstance(each, Release)]
    broken = [each for each in loaded if isinstance(each, BrokenRelease)]
    found: list[Release | BrokenRelease] = [each for each in loaded if each.dag_id == text]
    found = found or [each for each in usable if each.release == text]
    found = found or [each for each in broken if Path(each.file).stem == text]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(each.dag_id for each in found)
        raise argparse.ArgumentTypeError(f"{text!r} is the name of more than one release: name one of {ids}")
    known = [*(each.dag_id for each in usable), *(each.release for each in usable)]
    left_out = f"; cannot be used: {', '.join(each.file for each in broken)}" if broken else ""
    raise argparse.ArgumentTypeError(f"no release {text!r}; {nearest(text, sorted(set(known)))}{left_out}")


def _full_hash(text: str) -> str:
    if not is_full_hash(text.strip()):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no full hash: copy the build's directory name, "
            "<commit hash>_<first 8 digits of the distro hash>, and its extension if it has one"
        )
    return text.strip()
