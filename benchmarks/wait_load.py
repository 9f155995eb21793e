"""How much waiting costs: many builds of many jobs at once on one triggerer, and one real DLRN.

Prints what it does, and last ``S sensors, Q requests, B builds, P polls, decided in D s``. Q are the requests
for votes from the moment when everything waits until everything is decided; P are the polls in that time,
rounded up; D is the time from the last vote to the last task's end. When tasks are still undecided after a
quarter of an hour, the line before says how many, and D is when they were given up. Exit code 1 unless
Q <= 1.1 x B x P and all were decided.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab import dlrn
from lab.airflow import Airflow, down
from lab.airflow_api import AirflowApi
from lab.faults import FaultProxy
from lab.service import LabError, wait_for
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import DlrnHash

#: Requests a build and poll at most, for an exit code of 0.
MOST = 1.1

#: Seconds for everything to begin to wait, and to be decided; 1,160 tasks on two cores.
PATIENCE = 900.0

DAG_ID = "wait-load"
DAGS = Path(__file__).with_name("dags")


@dataclass(frozen=True)
class Figures:
    """What was measured.

    :param tasks: the sensors, and the gates, one a build.
    :param decided: how many of them have ended well.
    :param requests: requests for votes while they waited.
    :param builds: builds that waited at once.
    :param polls: polls in that time.
    :param seconds: from the last vote until all were decided, or given up.
    """

    tasks: int
    decided: int
    requests: int
    builds: int
    polls: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 when everything was decided, by no more requests than it may take."""
        return 0 if self.decided == self.tasks and self.requests <= MOST * self.builds * self.polls else 1

    def lines(self) -> list[str]:
        """Return what is printed at the end; the last line is always of the same form."""
        missing = self.tasks - self.decided
        given_up = f"{missing} of {self.tasks} tasks not decided, given up after {self.seconds:.0f} s"
        last = (
            f"{self.tasks - self.builds} sensors, {self.requests} requests, {self.builds} builds, "
            f"{self.polls} polls, decided in {self.seconds:.0f} s"
        )
        return [given_up, last] if missing else [last]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code."""
    parser = argparse.ArgumentParser(prog="wait-load", description=__doc__)
    parser.add_argument("--builds", type=int, default=40, help="builds that wait at once (default: 40)")
    parser.add_argument("--jobs", type=int, default=28, help="jobs of each (default: 28)")
    parser.add_argument("--poll", type=int, default=15, help="seconds between two polls (default: 15)")
    parser.add_argument("--quiet", type=int, default=6, help="polls before votes arrive (default: 6)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="wait-load-") as folder:
        return measure(Path(folder), options.builds, options.jobs, poll=options.poll, quiet=options.quiet)


def measure(root: Path, builds: int, jobs: int, *, poll: int, quiet: int) -> int:
    """Let builds wait for jobs, then vote.

    :param root: an empty folder.
    :param builds: builds that wait at once.
    :param jobs: jobs of each.
    :param poll: seconds between two polls.
    :param quiet: polls before votes arrive.
    """
    os.environ |= {"WAIT_LOAD_JOBS": str(jobs), "WAIT_LOAD_POLL": str(poll)}
    dlrn.ensure_environment(root)
    dlrn.stage(root)
    services = dlrn.services(root)
    for service in services:
        service.start()
    try:
        for service in services:
            service.wait_ready()
        facts = dlrn.facts(root)
        now = int(time.time())
        made = dlrn.add_builds(root, [dlrn.NewBuild(when=now + number) for number in range(builds)])
        with FaultProxy(facts.api_url) as proxy:
            flow = _airflow(root, proxy.url, builds * (jobs + 1))
            try:
                flow.up(print)
                return _run(flow, facts, proxy, made, jobs, poll=poll, quiet=quiet)
            finally:
                down(root)
    finally:
        for service in services:
            service.stop()


def _airflow(root: Path, dlrn_url: str, waiting: int) -> Airflow:
    for name in ("plugins", "releases"):
        (root / name).mkdir()
    return Airflow(
        root,
        dags_folder=DAGS,
        plugins_folder=root / "plugins",
        releases=root / "releases",
        connections={"dlrn_load": json.dumps({"conn_type": "dlrn", "host": dlrn_url})},
        triggers=2 * waiting,
    )


def _run(
    flow: Airflow,
    facts: dlrn.DlrnFacts,
    proxy: FaultProxy,
    builds: list[DlrnHash],
    jobs: int,
    *,
    poll: int,
    quiet: int,
) -> int:
    api, total = AirflowApi(flow.url, *flow.login), len(builds) * (jobs + 1)
    api.wait_for_dag(DAG_ID)
    began = time.monotonic()
    since = int(time.time())
    runs = [api.trigger(DAG_ID, {"build": json.dumps(build.to_json()), "since": since}) for build in builds]
    wait_for(lambda: _count(api, runs, "deferred") == total, "everything waits", deadline=PATIENCE, every=2)
    print(f"{total} tasks wait after {time.monotonic() - began:.0f} s")
    before, waiting = _questions(proxy), time.monotonic()
    wait_for(lambda: time.monotonic() - waiting > quiet * poll, "time passes", deadline=PATIENCE)
    names = [f"periodic-load-job{number:02}" for number in range(jobs)]
    with (
        DlrnClient(
            facts.api_url, facts.repo_url, username=facts.ci_username, password=facts.ci_password
        ) as ci,
        ThreadPoolExecutor(4) as pool,
    ):
        votes = [(build, name) for build in builds for name in names]
        list(pool.map(lambda vote: ci.report_vote(vote[0], vote[1], True, "https://logs.example.org"), votes))
    voted = time.monotonic()
    print(f"{len(votes)} votes reported")
    try:
        wait_for(
            lambda: _count(api, runs, "success") == total, "everything is decided", deadline=PATIENCE, every=2
        )
    except LabError as error:
        print(error)  # the figures are wanted all the same
    ended, asked = time.monotonic(), _questions(proxy) - before
    found = Figures(
        tasks=total,
        decided=_count(api, runs, "success"),
        requests=asked,
        builds=len(builds),
        polls=math.ceil((ended - waiting) / poll),
        seconds=ended - voted,
    )
    print("\n".join(found.lines()))
    return found.exit_code


def _questions(proxy: FaultProxy) -> int:
    return len(proxy.seen("GET", "repo_status"))


def _count(api: AirflowApi, runs: list[str], state: str) -> int:
    """Return how many sensors and gates of the runs are in a state."""
    return sum(
        task.state == state
        for run in runs
        for name, task in api.tasks(DAG_ID, run).items()
        if name.startswith("load.") and not name.endswith("votes_in")
    )


if __name__ == "__main__":
    sys.exit(main())
