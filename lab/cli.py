"""The lab's command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import prerequisites
from lab.breaking import SECONDS
from lab.ci import Ci
from lab.lab import Lab
from lab.outage import MODES
from lab.proxy import bypass_proxy
from lab.report import find_build, status_lines
from lab.scenario import SCENARIOS, load
from lab.service import LabError
from rdo_promoter.errors import PromoterError

DESCRIPTION = """\
A small RDO on one machine: DLRN, three container registries, two image servers, and CI that votes.
Everything is kept in one folder (--root) and listens on 127.0.0.1 alone, on ports that are free when the lab
is made and stay its own. Several labs live side by side in folders of their own."""

EPILOG = """\
Exit codes: 0 done; 1 not done, or `status` found something that does not run or is broken; 2 wrong usage."""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command and return the exit code: 0 done, 1 not done, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    bypass_proxy()
    run: Callable[[Lab, argparse.Namespace], int] = arguments.run
    try:
        return run(Lab(Path(arguments.root)), arguments)
    except (LabError, PromoterError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader, `head` for one, has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m lab", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--root", default=".lab", help="the lab's folder (default: %(default)s)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[Lab, argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, epilog=EPILOG)
        # Also after the command, where people write it; suppressed so that it does not undo the one before.
        sub.add_argument("--root", default=argparse.SUPPRESS, help="the lab's folder (default: .lab)")
        sub.set_defaults(run=run)
        return sub

    up = command(
        "up",
        _up,
        "Start what does not run, and mend what is broken; a new lab is filled with a week of builds. "
        "Repeatable.",
    )
    up.add_argument("--ci", action="store_true", help="start CI as well")
    _add_ci_options(up)
    down = command("down", _down, "End every process of the lab. Its data stay for the next `up`.")
    down.add_argument("--purge", action="store_true", help="remove the lab's folder as well")
    command("status", _status, "Show services, addresses, labels, and the votes on the candidate.")
    build = command("build", _build, "Let DLRN make a new `consistent` build and print its hash.")
    build.add_argument("--extended", action="store_true", help="with an extended hash")
    build.add_argument("--failed", action="store_true", help="that fails to build: `consistent` stands still")
    vote = command("vote", _vote, "Report a CI job's result on a build to DLRN.")
    vote.add_argument("build", metavar="BUILD", help="a hash, the beginning of one, or a label")
    vote.add_argument("job", metavar="JOB", help="the job, or a part of its name that no other has")
    vote.add_argument("result", choices=("pass", "fail"))
    ci = command("ci", _ci, "Watch the candidate label and run the release's jobs on each new build there.")
    _add_ci_options(ci)
    ci.add_argument("--once", action="store_true", help="end when the builds of now have all their votes")
    _add_breaking(command)
    needed = command("prerequisites", _prerequisites, "Install what the lab needs, or say what to install.")
    needed.add_argument("--tests", action="store_true", help="what the tests need as well: skopeo, Chromium")
    # Without a help it is not listed: the lab runs this for itself.
    outage = commands.add_parser("outage")
    outage.add_argument("name")
    outage.set_defaults(run=_outage)
    demo = command(
        "demo",
        _demo,
        "Bring up a lab of its own in <root>-demo with CI and Airflow, and promote a build from beginning to "
        "end. What an earlier demo has left there is removed.",
    )
    demo.add_argument(
        "--exit", action="store_true", help="end when the build is promoted, also on a terminal (DEMO_EXIT=1)"
    )
    return parser


def _add_ci_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenario",
        default="default",
        metavar="NAME|FILE",
        help=f"what becomes of the jobs: {', '.join(SCENARIOS)}, or a YAML file with `default:` and `jobs:` "
        "(job or part of its name: pass, fail, late, rerun, never); default: %(default)s",
    )
    parser.add_argument(
        "--speed", type=_speed, default=1.0, help="how much faster than the scenario's times (default: 1)"
    )


def _add_breaking(command: Callable[..., argparse.ArgumentParser]) -> None:
    broken = command(
        "break",
        _break,
        "Break a service that runs, at its address: clients keep their settings. It lasts until `mend`, `up` "
        "or `down`.",
    )
    broken.add_argument("name", metavar="NAME", help="the service, as `status` names it")
    broken.add_argument(
        "--how",
        choices=MODES,
        default="down",
        help=f"{'; '.join(f'{how}: {text}' for how, text in MODES.items())}; not every service knows all of "
        "them; default: %(default)s",
    )
    broken.add_argument(
        "--seconds", type=_speed, help=f"by how much answers come late when it is slow (default: {SECONDS:g})"
    )
    mend = command("mend", _mend, "Mend a service that was broken, or all.")
    mend.add_argument("name", metavar="NAME", nargs="?", help="the service, as `status` names it")


def _speed(text: str) -> float:
    speed = float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError("a speed is more than 0")
    return speed


def _up(lab: Lab, arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    load(arguments.scenario)
    started = lab.up(print)
    if arguments.ci:
        started = lab.start_ci(arguments.scenario, arguments.speed) or started
    took = f"up after {time.monotonic() - began:.1f} s" if started else "was up already"
    print(f"lab in {lab.root}: {took}; see `python -m lab --root {arguments.root} status`")
    return 0


def _prerequisites(_: Lab, arguments: argparse.Namespace) -> int:
    for package in prerequisites.ensure((*prerequisites.PROGRAMS, *prerequisites.TESTS * arguments.tests)):
        print(f"installed {package}")
    return 0


def _down(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.down(purge=arguments.purge)
    print(f"lab in {lab.root}: {'removed' if arguments.purge else 'down'}")
    return 0


def _status(lab: Lab, _: argparse.Namespace) -> int:
    lines, up = status_lines(lab)
    print("\n".join(lines))
    return 0 if up else 1


def _build(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.check_up()
    print(lab.add_build(extended=arguments.extended, failed=arguments.failed))
    return 0


def _vote(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.check_up()
    job = lab.release.job(arguments.job)
    with lab.dlrn_client(ci=True) as client:
        build = find_build(client, lab, arguments.build)
        url = f"https://logs.rdoproject.org/by-hand/{job.name}"
        client.report_vote(build, job.name, arguments.result == "pass", url, notes="by hand")
    print(f"{build} {job.name}: {arguments.result}")
    return 0


def _ci(lab: Lab, arguments: argparse.Namespace) -> int:
    scenario = load(arguments.scenario)
    lab.check_up()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    with lab.dlrn_client(ci=True) as client:
        ci = Ci(
            lab.root,
            lab.release,
            client,
            lab.registries.rdo,
            lab.ci.port,
            scenario,
            arguments.speed,
            report=lambda line: print(line, flush=True),
        )
        ci.run(once=arguments.once, stop=stop)
    return 0


def _break(lab: Lab, arguments: argparse.Namespace) -> int:
    if arguments.seconds is not None and arguments.how != "slow":
        raise LabError("--seconds says by how much answers come late: it goes with --how slow")
    breakage = lab.break_(arguments.name, arguments.how, arguments.seconds or SECONDS)
    print(f"{arguments.name}: {breakage}: {MODES[arguments.how]}")
    return 0


def _mend(lab: Lab, arguments: argparse.Namespace) -> int:
    if mended := lab.mend(arguments.name):
        print("\n".join(f"{name}: mended" for name in mended))
    else:
        print(f"{arguments.name} was not broken" if arguments.name else "nothing was broken")
    return 0


def _outage(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.breakages.serve(arguments.name)
    return 0


def _demo(lab: Lab, arguments: argparse.Namespace) -> int:
    from lab.demo import run_demo

    # Beside the lab, not in it: the one is removed and ended without the other.
    return run_demo(lab.root.with_name(f"{lab.root.name}-demo"), exit_after=arguments.exit)
