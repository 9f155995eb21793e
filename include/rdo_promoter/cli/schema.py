"""``rdo-promoter schema``: the JSON schema of a release file, for editors."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from rdo_promoter.release import json_schema


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    text = "print the JSON schema of a release file"
    add_parser("schema", help=text, description=text.capitalize() + ".").set_defaults(run=run)


def run(options: argparse.Namespace) -> int:  # noqa: ARG001  # every verb is called alike
    """Print the schema."""
    print(json.dumps(json_schema(), indent=2))
    return 0
