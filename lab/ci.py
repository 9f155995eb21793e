"""CI that votes: watches the candidate label and runs a release's jobs on each new build there.

Nothing is remembered between two looks but what is at work at the moment: which jobs have run on a build
is what DLRN has of their votes. So this process can be killed and started again at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab import images
from lab.overlay import LabRelease
from lab.registries import LabRegistry
from lab.scenario import Attempt, Kind, Pipeline, Scenario
from lab.seed import put_images
from lab.service import HOST, LabError
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import PromoterError
from rdo_promoter.model.build import Build
from rdo_promoter.model.promotions import PromotionRow

log = logging.getLogger("ci")

#: Builds that entered the candidate label longer ago are history, seconds.
HORIZON = 3600

#: Entries of the candidate label that are looked at.
ENTRIES = 10

Report = Callable[[str], None]
_Key = tuple[int, Build, str, int]


@dataclass
class Ci:
    """The lab's CI.

    :param root: the lab's folder.
    :param release: the release whose jobs it runs.
    :param dlrn: a client with the CI's login.
    :param registry: where the container build job pushes to.
    :param port: of the job logs.
    :param scenario: what becomes of the jobs.
    :param speed: how much faster than the scenario's times.
    :param report: called with a line about each vote.
    """

    root: Path
    release: LabRelease
    dlrn: DlrnClient
    registry: LabRegistry
    port: int
    scenario: Scenario
    speed: float = 1.0
    report: Report = log.info
    _at_work: dict[_Key, Future[None]] = field(default_factory=dict)
    _done: set[tuple[int, Build]] = field(default_factory=set)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def run(self, *, once: bool = False, every: float = 1.0, stop: threading.Event | None = None) -> None:
        """Watch until told to stop.

        :param once: end when no job has anything left to do on the builds of now.
        :param every: seconds between two looks.
        :raises LabError: when another CI of this lab runs.
        """
        stop = stop or threading.Event()
        with self._alone(), self._logs():
            try:
                while not stop.is_set():
                    try:
                        idle = self.look()
                    except PromoterError as error:
                        # A DLRN that restarts is no reason for CI to end.
                        self.report(f"cannot look: {error}")
                        idle = False
                    if once and idle:
                        return
                    stop.wait(every)
            finally:
                self._pool.shutdown(cancel_futures=True)

    def look(self) -> bool:
        """Start what is due now; return whether there is nothing left to do on any build."""
        for key in [key for key, future in self._at_work.items() if future.done()]:
            self._collect(key)
        idle = not self._at_work
        for row in self._entries():
            pipeline = Pipeline(
                self.scenario, self.release.jobs, row.timestamp, tuple(self.dlrn.votes(row.build)), self.speed
            )
            if pipeline.finished:
                self._done.add((row.timestamp, row.build))
                continue
            idle = False
            for attempt in pipeline.due(self.dlrn.now()):
                key = (row.timestamp, row.build, attempt.job.name, attempt.number)
                if key not in self._at_work:
                    self._at_work[key] = self._pool.submit(self._run_job, row, attempt)
        return idle

    def _entries(self) -> list[PromotionRow]:
        """Return each build's newest entry into the candidate label, as far as CI still works on it."""
        newest: dict[Build, PromotionRow] = {}
        for row in self.dlrn.promotions(self.release.candidate, limit=ENTRIES):
            newest.setdefault(row.build, row)
        now = self.dlrn.now()
        return [
            row
            for row in newest.values()
            if now - row.timestamp < HORIZON and (row.timestamp, row.build) not in self._done
        ]

    def _collect(self, key: _Key) -> None:
        error = self._at_work.pop(key).exception()
        if isinstance(error, PromoterError | LabError | OSError):
            # The job did not vote, so the next look runs it again.
            self.report(f"{key[1].short} {key[2]}: {error}")
        elif error is not None:
            raise error

    def _run_job(self, row: PromotionRow, attempt: Attempt) -> None:
        job, full_hash = attempt.job, row.build.full_hash
        lines = [f"{job.name}, attempt {attempt.number}, on {full_hash}"]
        if job.kind is Kind.CONTAINERS:
            names = self.release.short_names
            # A build that fails has pushed some containers before it did.
            names = names if attempt.success else names[: len(names) // 3]
            with self.registry.client() as client:
                namespace = self.release.namespaces[self.registry.name]
                images.push_build(client, namespace, names, full_hash, prefix=self.release.prefix)
            lines.append(f"pushed {len(names)} containers to {self.registry.host}/{namespace}")
        elif job.kind is Kind.IMAGES and attempt.success:
            lines.append(f"uploaded images to {put_images(self.root, self.release, full_hash)}")
        lines.append("SUCCESS" if attempt.success else "FAILURE")
        url = self._write_log(row, attempt, lines)
        self.dlrn.report_vote(row.build, job.name, attempt.success, url)
        self.report(f"{row.build.short} {job.name}: {'passed' if attempt.success else 'failed'}")

    def _write_log(self, row: PromotionRow, attempt: Attempt, lines: list[str]) -> str:
        name = f"{row.timestamp}/{row.build}/{attempt.job.name}/{attempt.number}"
        # As Zuul does: the last part of a log's address is the beginning of the build's uuid.
        uuid = hashlib.sha256(name.encode()).hexdigest()[:7]
        folder = self._log_folder / attempt.job.name / uuid
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        (folder / "job-output.txt").write_text("".join(f"{stamp} | {line}\n" for line in lines))
        return f"http://{HOST}:{self.port}/{attempt.job.name}/{uuid}"

    @property
    def _log_folder(self) -> Path:
        return self.root / "ci" / "logs"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        with (self.root / "ci" / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(
                    "CI of this lab runs already (`up --ci` started it, or another terminal has it)"
                ) from None
            yield

    @contextmanager
    def _logs(self) -> Iterator[None]:
        handler = partial(_Quiet, directory=str(self._log_folder))
        with ThreadingHTTPServer((HOST, self.port), handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the terminal is for votes."""
