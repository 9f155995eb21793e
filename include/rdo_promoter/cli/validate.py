"""``rdo-promoter validate``: read and check release files as the Dag file would."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rdo_promoter.errors import ConfigError
from rdo_promoter.release import (
    ENVIRONMENT,
    BrokenRelease,
    Release,
    load_release,
    load_releases,
    releases_folder,
)
from rdo_promoter.steps import WaitFor


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_parser(
        "validate",
        help="check release files",
        description="Check release files and print one line each; problems go to standard error as "
        "file:line: key: what is wrong and what to write instead.",
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        type=_existing,
        help=f"release files or folders of them (default: that of {ENVIRONMENT}, else of the checkout)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check the files; 0 when all can be used."""
    paths: list[Path] = options.paths or [releases_folder()]
    code = 0
    for path in paths:
        loaded = load_releases(path) if path.is_dir() or not path.exists() else [_load(path)]
        if not loaded:
            print(f"{path}: no release file in this folder; add <release>.yaml", file=sys.stderr)
            code = 1
        for release in loaded:
            if isinstance(release, BrokenRelease):
                print(release.error, file=sys.stderr)
                code = 1
            else:
                print(summary(release))
    return code


def summary(release: Release) -> str:
    """Return the line about a release that can be used."""
    waits = [step for stage in release.stages for step in stage.steps if isinstance(step, WaitFor)]
    counts = (
        _count(len(release.stages), "stage"),
        _count(sum(len(step.jobs) for step in waits), "job"),
        _count(len(release.container_names), "container"),
    )
    return f"ok {release.dag_id} ({release.file}): {', '.join(counts)}"


def _load(path: Path) -> Release | BrokenRelease:
    try:
        return load_release(path)
    except ConfigError as error:
        return BrokenRelease(path.name, error)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path
