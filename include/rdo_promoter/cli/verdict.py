"""``rdo-promoter verdict``: why is a build not promoted? Changes nothing."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from rdo_promoter.cli.process import tell
from rdo_promoter.cli.target import add_arguments, read_stages
from rdo_promoter.errors import PermanentError, PromoterError
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.holding import sentence
from rdo_promoter.model.text import one_line
from rdo_promoter.model.why import Why

if TYPE_CHECKING:  # loads a library for HTTP
    from rdo_promoter.clients.dlrn import DlrnClient


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_parser(
        "verdict",
        help="tell why a build is not promoted: job by job, and what would help",
        description="Read votes, decisions, earlier results and what CI knows, print one table a stage, and "
        "change nothing. Exit code 0: nothing is in the way; 1: something is.",
    )
    add_arguments(parser, required=False, newest="the one that CI tests", every="every stage that waits")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run, refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Print how a build stands; 0 when nothing is in its way."""
    release, stages = read_stages(options, options.refuse)
    # Airflow and the clients take seconds to load: who misspells a name should not wait for them.
    from rdo_promoter.cli import outlook
    from rdo_promoter.engine import why
    from rdo_promoter.hooks.decisions import DecisionsReader
    from rdo_promoter.hooks.ledger import ENVIRONMENT, ledger_connection
    from rdo_promoter.hooks.outside import bring_connections, load_airflow
    from rdo_promoter.release.promotions import services_of, subject_of

    load_airflow()
    in_file = "the release file"
    bring_connections({release.dlrn.connection: in_file, **dict.fromkeys(ledger_connection(), ENVIRONMENT)})
    if release.zuul:
        with contextlib.suppress(PromoterError):  # who asks Zuul says that it cannot be asked
            bring_connections({release.zuul.connection: in_file})
    services = services_of(release).only(zuul=True)
    decisions = DecisionsReader(release.dag_id, release.waivers, outlook.book()).read()
    found: list[Why] = []
    refused: dict[str, str] = {}
    for stage in stages:
        subject = subject_of(release, stage)
        try:
            build = (
                why.newest_candidate(services.dlrn, subject)
                if options.hash is None
                else services.dlrn.named(options.hash)
            )
            found.append(why.why(subject, build, services.dlrn, services.zuul, decisions))
        except PermanentError as error:
            # The other stages can be looked at all the same.
            refused[stage.name] = str(error)
    newest = options.hash is None and any(stage.source == CONSISTENT for stage in stages)
    note = _held_back(services.dlrn) if newest else ""
    if options.json:
        content = {
            "dag_id": release.dag_id,
            "file": release.file,
            "sha256": release.digest,
            "met": not refused and all(each.met for each in found),
            "stages": [each.to_json() for each in found],
            "refused": refused,
            "note": note,
        }
        tell([json.dumps(content, indent=2)])
    else:
        tell([f"{release.dag_id} by {release.file} (sha256 {release.digest})"])
        if note:
            tell([f"note: {note}"])
        for each in found:
            tell(["", *each.lines()])
        for name, said in refused.items():
            tell(["", f"stage {name}: refused: {one_line(said)}"])
    return 0 if not refused and all(each.met for each in found) else 1


def _held_back(dlrn: DlrnClient) -> str:
    """Say why no newer build may be coming; nothing in the verdict rests on it."""
    try:
        return sentence(dlrn.holding())
    except PromoterError as error:
        return f"what holds {CONSISTENT} back cannot be told: {one_line(str(error))}"
