"""What the lab's CI makes of each job, and when: pure decisions on what DLRN knows already."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from lab.service import LabError
from rdo_promoter.model.votes import Vote, counting_votes


class Outcome(StrEnum):
    """What becomes of a job."""

    PASS = "pass"
    FAIL = "fail"
    LATE = "late"
    RERUN = "rerun"
    NEVER = "never"


class Kind(StrEnum):
    """What a job does besides voting."""

    CONTAINERS = "containers"
    IMAGES = "images"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Job:
    """A CI job of a stage.

    :param name: the name under which it votes.
    :param kind: what it makes.
    :param builds: whether it is one of the stage's build jobs, for which all others wait.
    """

    name: str
    kind: Kind = Kind.TEST
    builds: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run of a job that ends now.

    :param job: the job.
    :param number: from 1; a rerun counts on.
    :param success: the vote.
    """

    job: Job
    number: int
    success: bool


def kind_of(name: str) -> Kind:
    """Tell what a job makes, by the words that RDO's job names use."""
    if "containers-build" in name or "build-containers" in name:
        return Kind.CONTAINERS
    return Kind.IMAGES if name.endswith("-upload") else Kind.TEST


def jobs_of(release: Mapping[str, Any], candidate_label: str) -> tuple[Job, ...]:
    """Return the jobs of the stage that has the candidate label, in the file's order.

    The first wait_for of that stage names the build jobs: the tests need what they make.

    :param release: a release file, parsed.
    """
    for stage in release.get("stages", ()):
        steps = [(kind, body) for step in stage.get("steps", ()) for kind, body in step.items()]
        if not any(kind == "candidate" and body.get("label") == candidate_label for kind, body in steps):
            continue
        waits = [body.get("jobs", ()) for kind, body in steps if kind == "wait_for"]
        return tuple(
            Job(name, kind_of(name), builds=index == 0 and len(waits) > 1)
            for index, names in enumerate(waits)
            for name in names
        )
    raise LabError(
        f"release {release.get('release')!r} has no stage with the candidate label {candidate_label!r}"
    )


@dataclass(frozen=True)
class Scenario:
    """How CI behaves. Times are seconds at speed 1: what takes hours in RDO takes seconds here.

    :param name: what people call it.
    :param default: what becomes of jobs that are not named.
    :param jobs: what becomes of a job whose name contains the key; the longest key wins.
    :param build: how long a build job takes.
    :param test: how long the shortest test takes; others take up to twice as long.
    :param late: how much longer a late job takes.
    :param rerun: how long after a failure the rerun ends.
    """

    name: str = "all-pass"
    default: Outcome = Outcome.PASS
    jobs: Mapping[str, Outcome] = field(default_factory=dict)
    build: float = 4.0
    test: float = 5.0
    late: float = 8.0
    rerun: float = 6.0

    def outcome(self, job: str) -> Outcome:
        """Return what becomes of the job."""
        keys = [key for key in self.jobs if key in job]
        return self.jobs[max(keys, key=len)] if keys else self.default

    def duration(self, job: Job) -> float:
        """Return how long the job takes, seconds at speed 1; the same job always takes the same time."""
        share = zlib.crc32(job.name.encode()) % 1000 / 1000
        base = self.build * (1 + share / 2) if job.builds else self.test * (1 + share)
        return base + (self.late if self.outcome(job.name) is Outcome.LATE else 0.0)

    def attempts(self, job: Job) -> int:
        """Return how often the job votes on a build."""
        return {Outcome.NEVER: 0, Outcome.RERUN: 2}.get(self.outcome(job.name), 1)

    def passes(self, job: Job, number: int) -> bool:
        """Tell whether the job's attempt of this number passes."""
        outcome = self.outcome(job.name)
        return outcome is not Outcome.FAIL and not (outcome is Outcome.RERUN and number == 1)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """CI's work on one build, seen from what DLRN has of it: nothing else is remembered.

    :param scenario: how CI behaves.
    :param jobs: all jobs.
    :param entered: when the build became the candidate, seconds since the epoch.
    :param votes: the build's votes; only those since its entry count, so that a build that is given to CI
        again is tested again.
    :param speed: how much faster than the scenario's times.
    """

    scenario: Scenario
    jobs: tuple[Job, ...]
    entered: int
    votes: tuple[Vote, ...]
    speed: float = 1.0

    def due(self, now: float) -> list[Attempt]:
        """Return the attempts that have ended by now and not voted yet.

        :param now: DLRN's time, seconds since the epoch.
        """
        return [attempt for job in self.jobs if (attempt := self._due(job, now)) is not None]

    @property
    def finished(self) -> bool:
        """Whether no job will vote any more."""
        return not any(self._left(job) and self._start(job, eventually=True) is not None for job in self.jobs)

    def _of(self, job: Job) -> list[Vote]:
        return [vote for vote in self.votes if vote.job == job.name and vote.timestamp >= self.entered]

    def _left(self, job: Job) -> int:
        return max(0, self.scenario.attempts(job) - len(self._of(job)))

    def _start(self, job: Job, *, eventually: bool = False) -> int | None:
        """Return when the job could start: tests need what all build jobs have made.

        :param eventually: take a build job that is still at work for one that has passed.
        """
        start = self.entered
        for other in self.jobs:
            if job.builds or not other.builds:
                continue
            newest = counting_votes(self._of(other)).get(other.name)
            if newest is not None and newest.success:
                start = max(start, newest.timestamp)
            elif not (eventually and self._left(other)):
                return None
        return start

    def _due(self, job: Job, now: float) -> Attempt | None:
        start = self._start(job)
        if start is None or not self._left(job):
            return None
        times = [vote.timestamp for vote in self._of(job)]
        takes = self.scenario.rerun if times else self.scenario.duration(job)
        # DLRN's resolution is a second: two votes of a job in the same one could not be told apart.
        if now < max([start, *times]) + takes / self.speed or now <= max(times, default=0):
            return None
        return Attempt(job, len(times) + 1, self.scenario.passes(job, len(times) + 1))


#: Scenarios that the command line knows by name.
SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "all-pass": Scenario(),
        # One job of each kind that people see: a failure that a rerun mends, and one that takes long.
        "default": Scenario("default", jobs={"featureset010": Outcome.RERUN, "scenario003": Outcome.LATE}),
        "one-fails": Scenario("one-fails", jobs={"scenario001": Outcome.FAIL}),
        "build-fails": Scenario("build-fails", jobs={"containers-build": Outcome.FAIL}),
        "silent": Scenario("silent", default=Outcome.NEVER),
    }
)

_TIMES = ("build", "test", "late", "rerun")


def load(name_or_file: str) -> Scenario:
    """Return a scenario by its name, or from a YAML file.

    A file looks like ``default: pass``, ``jobs: {scenario001: fail, featureset010: rerun}`` and, each
    optional, ``build: 4``, ``test: 5``, ``late: 8``, ``rerun: 6`` (seconds at speed 1).

    :raises LabError: when there is neither, or the file says something unknown.
    """
    if name_or_file in SCENARIOS:
        return SCENARIOS[name_or_file]
    file = Path(name_or_file)
    if not file.is_file():
        raise LabError(f"no scenario {name_or_file!r}: give a YAML file or one of {', '.join(SCENARIOS)}")
    try:
        data = yaml.safe_load(file.read_text()) or {}
        if not isinstance(data, dict):
            raise TypeError(f"a {type(data).__name__} where a mapping is needed")  # noqa: TRY301 - told below
        unknown = sorted(set(data) - {"default", "jobs", *_TIMES})
        if unknown:
            raise LabError(f"{file}: unknown key {unknown[0]!r}; known: default, jobs, {', '.join(_TIMES)}")
        return Scenario(
            name=file.stem,
            default=Outcome(data.get("default", "pass")),
            jobs={str(job): Outcome(outcome) for job, outcome in (data.get("jobs") or {}).items()},
            **{key: float(data[key]) for key in _TIMES if key in data},
        )
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        known = ", ".join(Outcome)
        raise LabError(
            f"{file} is no scenario: {error}; a job is one of {known}, times are seconds"
        ) from error
