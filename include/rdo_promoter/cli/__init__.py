"""The command line ``rdo-promoter``. What promotes loads Airflow for its Connections; the rest never does."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import rdo_promoter
from rdo_promoter.cli import decide, plan, promote, schema, validate, verdict, verify_handoff
from rdo_promoter.errors import PromoterError

#: Exit codes: public names, see the reference.
DONE, REFUSED, USAGE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; each verb is one module."""
    top = argparse.ArgumentParser(
        prog="rdo-promoter",
        description="Promote RDO builds: check release files, show and carry out promotions without Airflow. "
        "Exit codes: 0 done, 1 refused or not met, 2 usage.",
    )
    top.add_argument("--version", action="version", version=f"rdo-promoter {rdo_promoter.__version__}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in (validate, schema, verdict, plan, promote, decide, verify_handoff):
        verb.add(verbs.add_parser)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: what is behind the program's name; the process's own arguments without it.
    :return: the exit code; a wrong usage leaves through argparse with 2.
    """
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except PromoterError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        # A promotion says itself what has moved.
        print("stopped", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python's own flush at the end must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return code
