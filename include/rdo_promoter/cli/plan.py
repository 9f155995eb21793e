"""``rdo-promoter plan``: what would be promoted, and what is in the way. Changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rdo_promoter.cli.process import tell
from rdo_promoter.cli.target import add_arguments, read_targets
from rdo_promoter.errors import PermanentError, TransientError


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_parser(
        "plan",
        help="show what a promotion would change, and what is in its way",
        description="Read everything that decides about a promotion, print it, and change nothing. "
        "Exit code 0: each build could be promoted now or is already; 1: one could not.",
    )
    add_arguments(parser, required=False)
    parser.set_defaults(run=run, refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Print how the promotions stand; 0 when all could be made, or are already."""
    targets = read_targets(options, options.refuse)
    # Airflow and the clients take seconds to load: who misspells a name should not wait for them.
    from rdo_promoter.cli import outlook

    every = outlook.open_services(targets)
    tell([outlook.heading(targets[0])])
    code = 0
    for target, services in zip(targets, every, strict=True):
        try:
            build = outlook.find_build(target, services.dlrn, options.hash)
            seen = outlook.look(target, services, build, reads_only=True)
            others = [] if seen.done else outlook.others(outlook.unfinished(target))
        except PermanentError as error:
            # The other stages may be promoted all the same.
            tell(["", f"stage {target.stage.name}: refused: {error}"])
            code = 1
            continue
        except TransientError as error:
            # What does not answer here may not be needed there: a Zuul that decides, for one.
            tell(["", f"stage {target.stage.name}: not known now, look again later: {error}"])
            code = 1
            continue
        tell(["", *outlook.lines(target, seen)])
        tell(f"  {line}" for line in outlook.in_the_way(target, others))
        if others or not (seen.ready or seen.done):
            code = 1
    return code
