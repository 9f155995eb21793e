"""The demonstration: a whole RDO and an Airflow come up, and a build is promoted before your eyes."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import airflow, demo_report
from lab.airflow import Airflow
from lab.airflow_api import FINISHED, AirflowApi, DagRun, TaskInstance
from lab.lab import PROJECT, Lab
from lab.service import LabError

#: Seconds that a run may take before the demo gives up on it.
PATIENCE = 240

#: Seconds to wait for the run that unpausing brings.
FIRST_RUN = 20

#: What is shown of a task; other states pass too quickly to be read.
_WORDS = {
    "deferred": "waits",
    "up_for_retry": "failed, will be looked at again",
    "success": "done",
    "failed": "FAILED",
    "skipped": "skipped",
    "upstream_failed": "not reached",
}


@dataclass
class Progress:
    """Prints a line whenever tasks have changed their state."""

    began: float = field(default_factory=time.monotonic)
    _shown: dict[str, tuple[str, int]] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Print a line with the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def tasks(self, tasks: Mapping[str, TaskInstance]) -> None:
        """Print what is new: one line a state."""
        news: dict[str, list[str]] = {}
        for name, task in tasks.items():
            state = (task.state, task.try_number)
            if task.state in _WORDS and self._shown.get(name) != state:
                self._shown[name] = state
                news.setdefault(_WORDS[task.state], []).append(_short(name))
        for word, names in news.items():
            self.say(f"{word}: {', '.join(names)}")


def run_demo(root: Path, *, exit_after: bool = False) -> int:
    """Run the demonstration and return its exit code: 0 when the promotion was verified.

    :param root: the demo's own lab; what is there from an earlier one is removed first.
    :param exit_after: end when the build is promoted, also on a terminal.
    """
    stay = sys.stdout.isatty() and not exit_after and os.environ.get("DEMO_EXIT", "0") in ("", "0")
    # `kill` has to stop everything as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _alone(root):
        lab, progress = Lab(root), Progress()
        verified = False
        try:
            _clear(lab)
            verified = _demo(lab, progress, stay=stay)
            if stay:
                threading.Event().wait()
        except KeyboardInterrupt:
            print("\nstopping", flush=True)
        except (LabError, OSError) as error:
            print(
                f"demo: {error}\nlogs: {lab.root / 'run'} and {lab.root / 'airflow' / 'logs'}",
                file=sys.stderr,
            )
        finally:
            # A second Ctrl-C must not leave half of it running.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            lab.down()
    return 0 if verified else 1


def _clear(lab: Lab) -> None:
    """End and remove what an earlier demonstration has left.

    Thousands of small files take a while to go, so they go aside first and then while everything starts.
    """
    lab.down()
    root = lab.root
    if root.exists():
        root.rename(root.with_name(f"{root.name}.old-{os.getpid()}"))
    for old in root.parent.glob(f"{root.name}.old-*"):
        threading.Thread(target=shutil.rmtree, args=(old,), kwargs={"ignore_errors": True}).start()


def _demo(lab: Lab, progress: Progress, *, stay: bool) -> bool:
    flow, api = _start(lab, progress)
    promoted = lab.release.promoted
    expected, before = (demo_report.labelled(lab, label) for label in ("consistent", promoted))
    progress.say(f"consistent is      {expected}\n          {promoted} is {before}")
    api.wait_for_dag(lab.release.dag_id, deadline=90)
    run = _run(api, lab.release.dag_id, progress)
    seconds = (run.end - run.start).total_seconds() if run.end and run.start else 0.0
    progress.say(f"the run ended as {run.state}; what moved, as read from outside:")
    report = demo_report.inspect(lab, expected, before)
    for check in report.checks:
        print(check)
    user, password = flow.login
    print(f"Airflow: {flow.url}/dags/{run.dag_id}/runs/{run.run_id}  user {user}  password {password}")
    if not report.verified:
        print(f"not verified; logs: {lab.root / 'run'} and {lab.root / 'airflow' / 'logs'}")
    if stay:
        print("all of it stays up until Ctrl-C")
    print(report.last_line(seconds), flush=True)
    return report.verified


def _start(lab: Lab, progress: Progress) -> tuple[Airflow, AirflowApi]:
    """Start the lab, CI and Airflow; Airflow, which takes longest, as soon as it knows the addresses."""
    with ThreadPoolExecutor(1) as pool:
        coming: list[Future[Airflow]] = []
        try:
            lab.up(
                lambda text: progress.say(f"lab: {text}"),
                prepared=lambda: coming.append(pool.submit(_start_airflow, lab, progress)),
            )
            lab.start_ci(speed=float(os.environ.get("DEMO_SPEED", "2")))
            progress.say("lab: DLRN, the registries, two image servers and CI are up")
            flow = coming[0].result()
        except BaseException:
            # It would start the rest before it hears of this; ending what is there makes it give up.
            while coming and not coming[0].done():
                airflow.down(lab.root)
                wait(coming, timeout=0.5)
            raise
    user, password = flow.login
    progress.say(f"airflow is up: {flow.url}  user {user}  password {password}")
    return flow, AirflowApi(flow.url, user, password)


def _start_airflow(lab: Lab, progress: Progress) -> Airflow:
    flow = Airflow(
        root=lab.root,
        dags_folder=PROJECT / "dags",
        plugins_folder=PROJECT / "plugins",
        releases=lab.releases,
        connections=lab.connections(),
    )
    flow.up(lambda text: progress.say(f"airflow: {text}"))
    return flow


def _run(api: AirflowApi, dag_id: str, progress: Progress) -> DagRun:
    """Unpause the Dag and follow its first run to the end."""
    api.pause(dag_id, paused=False)
    # Unpausing brings the run of the last half hour at once.
    end = time.monotonic() + FIRST_RUN
    while not (runs := api.runs(dag_id)) and time.monotonic() < end:
        time.sleep(0.3)
    run_id = runs[-1].run_id if runs else api.trigger(dag_id)
    progress.say(f"{dag_id} runs: {run_id}")
    api.wait_for_tasks(
        dag_id,
        run_id,
        lambda tasks: all(task.state in FINISHED for task in tasks.values()),
        "all tasks have ended",
        deadline=PATIENCE,
        progress=progress.tasks,
        # Each look costs the API server as much as a page of the UI; the tasks need the processors more.
        every=1.0,
    )
    return api.wait_for_run(dag_id, run_id, deadline=30)


def _short(task_id: str) -> str:
    """Leave out what all names begin with."""
    name = task_id.removeprefix("upstream.")
    for prefix in ("periodic-tripleo-ci-centos-7-", "periodic-tripleo-centos-7-"):
        name = name.replace(prefix, "")
    return name


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f"{root.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"a demo runs in {root} already: end it first, or give another --root") from None
        yield
