"""``rdo-promoter waive``, ``hold``, ``lift``, ``mark-bad`` and ``decisions``: what people decide."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

from rdo_promoter.cli.process import tell
from rdo_promoter.cli.target import add_release
from rdo_promoter.control.wish import Act, Wish, check
from rdo_promoter.errors import ConfigError
from rdo_promoter.release import BrokenRelease, Release

_UNTIL = "until when, with a time zone: 2019-03-14T15:00Z"
_BUILD = "full hash of the build"


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs to the command line."""
    waive = _verb(add_parser, Act.WAIVE, "let builds pass without required jobs")
    waive.add_argument(
        "--job", dest="jobs", action="append", required=True, help="a required job; repeatable"
    )
    _build(waive, required=True).add_argument("--every-build", action="store_true", help="for every build")
    waive.add_argument("--reason", required=True, help="the link of a bug")
    waive.add_argument("--until", required=True, help=_UNTIL)

    hold = _verb(add_parser, Act.HOLD, "let runs wait before a label moves, or a build is promoted")
    _build(hold, required=True).add_argument("--label", help="the label")
    hold.add_argument("--reason", required=True, help="why")
    hold.add_argument("--until", default="", help=f"{_UNTIL} (default: until it is lifted)")

    lift = _verb(add_parser, Act.LIFT, "end a waiver, a hold or a bad mark")
    lift.add_argument(
        "lifts",
        metavar="WHAT",
        nargs="+",
        help="a job, label or full hash, or a name that `decisions` prints",
    )
    lift.add_argument("--reason", required=True, help="why")

    bad = _verb(add_parser, Act.MARK_BAD, "keep a build from every label, whatever CI says")
    bad.add_argument("--hash", dest="full_hash", required=True, help=_BUILD)
    bad.add_argument("--reason", required=True, help="why")

    show = _verb(add_parser, Act.SHOW, "list what is decided: in force, expired, ignored", name="decisions")
    show.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Write a decision down, or list what is decided; 0 when that is done."""
    release = options.release
    if isinstance(release, BrokenRelease):
        raise release.error
    wish = wish_of(options)
    try:
        # By this machine's clock at first: who misspells a name should not wait for Airflow to be loaded.
        check(wish, release, now=int(time.time()))
    except ConfigError as error:
        options.refuse(str(error))
    return _carry_out(wish, release, as_json=wish.act is Act.SHOW and options.json)


def wish_of(options: argparse.Namespace) -> Wish:
    """Return what the arguments want.

    :param options: the arguments.
    """
    given = {name: getattr(options, name, None) for name in ("full_hash", "label", "reason", "until")}
    return Wish(
        act=options.act,
        jobs=tuple(getattr(options, "jobs", ())),
        every_build=getattr(options, "every_build", False),
        lifts=tuple(getattr(options, "lifts", ())),
        **{name: value or "" for name, value in given.items()},
    )


def _carry_out(wish: Wish, release: Release, *, as_json: bool) -> int:
    from rdo_promoter.cli.outlook import book, open_dlrn, person
    from rdo_promoter.control.decide import decide

    dlrn, ledger = open_dlrn(release), book()
    done = decide(wish, release, dlrn, ledger, by=person(), via="command line")
    if as_json:
        tell([json.dumps(done.report.to_json(), indent=2)])
        return 0
    if wish.act is not Act.SHOW:
        written = [f"written to {ledger.where}/{name}" for name in done.written]
        tell(written or ["in force already: nothing was written"])
    tell(done.report.lines())
    return 0


def _verb(
    add_parser: Callable[..., argparse.ArgumentParser], act: Act, what: str, name: str = ""
) -> argparse.ArgumentParser:
    kept = "" if act is Act.SHOW else " The ledger keeps it with your name, as user@host."
    codes = "Exit code 0: done; 1: refused, or DLRN or the ledger cannot be reached; 2: unusable arguments."
    parser = add_parser(
        name or str(act), help=what, description=f"{what[0].upper()}{what[1:]}.{kept} {codes}"
    )
    add_release(parser)
    parser.set_defaults(run=run, act=act, refuse=parser.error)
    return parser


def _build(parser: argparse.ArgumentParser, *, required: bool) -> argparse._MutuallyExclusiveGroup:
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--hash", dest="full_hash", help=_BUILD)
    return group
