"""``rdo-promoter validate``: read and check release files as the Dag file would."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rdo_promoter.release import (
    DEFAULTS,
    ENVIRONMENT,
    BrokenRelease,
    Release,
    load_files,
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
    files = [path for path in paths if path.is_file()]
    loaded = load_files(path for path in files if path.name != DEFAULTS)
    code = 0
    for folder in (path for path in paths if path not in files):
        found = load_releases(folder)
        if not found:
            print(f"{folder}: no release file in this folder; add <release>.yaml", file=sys.stderr)
            code = 1
        loaded += found
    for release in loaded:
        if isinstance(release, BrokenRelease):
            print(release.error, file=sys.stderr)
            code = 1
        else:
            print(summary(release))
    if DEFAULTS in [path.name for path in files]:
        print(f"skipped {DEFAULTS}: it is no release, it is checked with each of its folder")
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


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path
