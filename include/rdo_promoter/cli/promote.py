"""``rdo-promoter promote``: promote a build without Airflow."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rdo_promoter.cli.target import add_arguments, read_targets


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_parser(
        "promote",
        help="promote a build, when Airflow cannot",
        description="Do what the stage's promotion group would do: only when the votes in DLRN meet the "
        "criteria, and DLRN's label last. A dry run unless --no-dry-run is given. Run again after whatever "
        "happened, it does what is left. Exit code 0: the build is promoted, or in a dry run could be; 1: it "
        "is not.",
    )
    add_arguments(parser, required=True)
    parser.add_argument(
        "--dry-run",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show what would be changed, or make the changes",
    )
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="go on although somebody else began a promotion to the label: make sure that it works no more",
    )
    parser.set_defaults(run=run, refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Promote; 0 when that is done, or could be in a dry run."""
    (target,) = read_targets(options, options.refuse)
    # Airflow and the clients take seconds to load: who misspells a name should not wait for them.
    from rdo_promoter.cli.by_hand import ByHand

    return ByHand(target, full_hash=options.hash, take_over=options.take_over).run(dry_run=options.dry_run)
