"""CI that votes: what becomes of jobs, pure; and the process on a real lab."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from lab import overlay
from lab.ci import Ci
from lab.cli import main
from lab.lab import Lab
from lab.scenario import SCENARIOS, Attempt, Job, Kind, Outcome, Pipeline, Scenario, jobs_of, kind_of, load
from lab.service import LabError, wait_for
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.votes import Vote, counting_votes

BUILD = Job("build", Kind.CONTAINERS, builds=True)
UPLOAD = Job("images-upload", Kind.IMAGES, builds=True)
TEST = Job("test")
JOBS = (BUILD, UPLOAD, TEST)
#: Builds take 4 to 6 s, tests 5 to 10 s.
LONG = 20


def pipeline(scenario: Scenario, *votes: Vote, speed: float = 1.0, entered: int = 1000) -> Pipeline:
    return Pipeline(scenario, JOBS, entered, votes, speed)


def passed(job: Job, when: int) -> Vote:
    return Vote(job.name, success=True, timestamp=when)


def failed(job: Job, when: int) -> Vote:
    return Vote(job.name, success=False, timestamp=when)


def test_builds_come_first_and_tests_wait_for_all_of_them() -> None:
    everything = SCENARIOS["all-pass"]
    assert pipeline(everything).due(1000) == []
    assert pipeline(everything).due(1000 + LONG) == [Attempt(BUILD, 1, True), Attempt(UPLOAD, 1, True)]
    one = pipeline(everything, passed(BUILD, 1005))
    assert one.due(1000 + LONG) == [Attempt(UPLOAD, 1, True)]
    both = pipeline(everything, passed(BUILD, 1005), passed(UPLOAD, 1006))
    assert both.due(1006) == []
    assert both.due(1006 + LONG) == [Attempt(TEST, 1, True)]


def test_a_job_that_voted_is_not_run_again() -> None:
    done = pipeline(SCENARIOS["all-pass"], *(passed(job, 1010 + n) for n, job in enumerate(JOBS)))
    assert done.due(9999) == []
    assert done.finished


def test_votes_before_the_entry_do_not_count() -> None:
    """A build that is promoted to the candidate label again is tested again."""
    again = pipeline(SCENARIOS["all-pass"], *(passed(job, 900) for job in JOBS))
    assert not again.finished
    assert [attempt.job for attempt in again.due(1000 + LONG)] == [BUILD, UPLOAD]


def test_after_a_failed_build_nothing_is_tested() -> None:
    scenario = Scenario(jobs={"build": Outcome.FAIL})
    assert pipeline(scenario).due(1000 + LONG)[0] == Attempt(BUILD, 1, False)
    broken = pipeline(scenario, failed(BUILD, 1005), passed(UPLOAD, 1005))
    assert broken.due(9999) == []
    assert broken.finished
    waiting = pipeline(SCENARIOS["all-pass"], passed(UPLOAD, 1005))
    assert not waiting.finished


def test_a_rerun_fails_first_and_never_votes_twice_in_a_second() -> None:
    scenario = Scenario(jobs={"test": Outcome.RERUN})
    before = [passed(BUILD, 1005), passed(UPLOAD, 1005)]
    assert pipeline(scenario, *before).due(1005 + LONG) == [Attempt(TEST, 1, False)]
    once = pipeline(scenario, *before, failed(TEST, 1020), speed=1000)
    assert not once.finished
    assert once.due(1020) == []
    assert once.due(1021) == [Attempt(TEST, 2, True)]
    twice = pipeline(scenario, *before, failed(TEST, 1020), passed(TEST, 1021))
    assert twice.finished
    assert counting_votes(twice.votes)["test"].success


def test_never_and_late() -> None:
    before = [passed(BUILD, 1005), passed(UPLOAD, 1005)]
    never = pipeline(Scenario(jobs={"test": Outcome.NEVER}), *before)
    assert never.finished
    assert never.due(9999) == []
    late, soon = Scenario(jobs={"test": Outcome.LATE}), SCENARIOS["all-pass"]
    assert late.duration(TEST) == soon.duration(TEST) + late.late
    just_in_time = 1005 + soon.duration(TEST)
    assert pipeline(soon, *before).due(just_in_time)
    assert not pipeline(late, *before).due(just_in_time)


def test_speed_shortens_everything() -> None:
    everything = SCENARIOS["all-pass"]
    assert not pipeline(everything).due(1001)
    assert pipeline(everything, speed=10).due(1001)


def test_kinds_by_name() -> None:
    assert kind_of("periodic-tripleo-centos-7-master-containers-build-push") is Kind.CONTAINERS
    assert kind_of("periodic-tripleo-ci-build-containers-ubi-8-quay-push-train") is Kind.CONTAINERS
    assert kind_of("periodic-tripleo-ci-centos-7-ovb-3ctlr_1comp-featureset002-master-upload") is Kind.IMAGES
    assert kind_of("periodic-tripleo-ci-centos-7-standalone-master") is Kind.TEST


def test_the_releases_jobs() -> None:
    release = overlay.read()
    kinds = [job.kind for job in release.jobs if job.builds]
    assert kinds == [Kind.CONTAINERS, Kind.IMAGES]
    assert {job.kind for job in release.jobs if not job.builds} == {Kind.TEST}
    with pytest.raises(LabError, match="no stage with the candidate label 'other'"):
        jobs_of({"release": "x", "stages": []}, "other")


def test_the_default_scenario_has_a_rerun_and_a_late_job() -> None:
    outcomes = [SCENARIOS["default"].outcome(job.name) for job in overlay.read().jobs]
    assert sorted(set(outcomes)) == ["late", "pass", "rerun"]
    assert outcomes.count(Outcome.RERUN) == outcomes.count(Outcome.LATE) == 1


def test_a_scenario_file(tmp_path: Path) -> None:
    file = tmp_path / "night.yaml"
    file.write_text("default: never\njobs: {build: pass, build-images: fail}\nbuild: 2\n")
    scenario = load(str(file))
    assert scenario.name == "night"
    assert scenario.build == 2.0
    words = ("build-containers", "build-images-upload", "x")
    assert [scenario.outcome(job) for job in words] == ["pass", "fail", "never"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: perhaps\n", "'perhaps' is not a valid Outcome"),
        ("jobs: {build: [pass]}\n", "is no scenario"),
        ("jobs: [build]\n", "is no scenario"),
        ("speed: 2\n", "unknown key 'speed'"),
        ("build: soon\n", "is no scenario"),
        ("- pass\n", "is no scenario"),
        ("a: b: c\n", "is no scenario"),
    ],
)
def test_a_bad_scenario_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(LabError, match=message):
        load(str(file))


class Corner:
    """CI of one test: its own candidate label, namespace, image folder and builds."""

    def __init__(self, lab: Lab, namespace: str, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.release = dataclasses.replace(
            lab.release,
            name=namespace,
            candidate=f"{namespace}-testing",
            namespaces={"rdo": namespace},
            containers=lab.release.containers[:6],
        )
        self.port = 0
        self.said: list[str] = []

    def candidate(self) -> DlrnHash:
        build = self.lab.add_build()
        with self.lab.dlrn_client() as client:
            client.promote(build, self.release.candidate)
        return build

    def votes(self, build: DlrnHash) -> dict[str, list[bool]]:
        found: dict[str, list[bool]] = {}
        with self.lab.dlrn_client() as client:
            for vote in sorted(client.votes(build), key=lambda vote: vote.timestamp):
                if vote.user == "ci":
                    found.setdefault(vote.job, []).append(vote.success)
        return found

    @contextmanager
    def ci(self, scenario: Scenario) -> Iterator[Ci]:
        with self.lab.dlrn_client(ci=True) as client:
            yield Ci(
                self.folder,
                self.release,
                client,
                self.lab.registries.rdo,
                self.port,
                scenario,
                speed=1000,
                report=self.said.append,
            )

    def run_once(self, scenario: Scenario) -> None:
        with self.ci(scenario) as ci:
            ci.run(once=True, every=0.1)


@pytest.fixture
def corner(lab: Lab, namespace: str, tmp_path: Path) -> Corner:
    # The image folder is the shared lab's; locks and logs are the test's own.
    (tmp_path / "images").symlink_to(lab.root / "images")
    (tmp_path / "run").symlink_to(lab.root / "run")
    return Corner(lab, namespace, tmp_path)


@pytest.mark.lab
def test_jobs_vote_and_leave_what_they_built(corner: Corner) -> None:
    build = corner.candidate()
    corner.run_once(SCENARIOS["default"])

    votes = corner.votes(build)
    assert set(votes) == {job.name for job in corner.release.jobs}
    assert [job for job, results in votes.items() if results == [False, True]] == [
        "periodic-tripleo-ci-centos-7-multinode-1ctlr-featureset010-master"
    ]
    assert all(results[-1] for results in votes.values())
    with corner.lab.registries.rdo.client() as client:
        for container in corner.release.containers:
            repository = f"{corner.release.namespaces['rdo']}/{container}"
            assert client.head(repository, build.full_hash) is not None
    folder = Path(corner.lab.images.path(corner.release.name)) / build.full_hash
    assert {file.name for file in folder.iterdir()} == {
        name for image in corner.release.images for name in (image, f"{image}.md5")
    }


@pytest.mark.lab
def test_a_second_ci_goes_on_where_the_first_was(corner: Corner) -> None:
    build = corner.candidate()
    job = corner.release.jobs[0]
    with corner.lab.dlrn_client(ci=True) as client:
        client.report_vote(build, job.name, True, "https://logs.example.org/abc1234")
    corner.run_once(SCENARIOS["all-pass"])
    first = corner.votes(build)
    assert first == {job.name: [True] for job in corner.release.jobs}

    corner.run_once(SCENARIOS["all-pass"])

    assert corner.votes(build) == first


@pytest.mark.lab
def test_each_build_of_the_candidate_label_gets_its_votes(corner: Corner) -> None:
    builds = [corner.candidate(), corner.candidate()]
    corner.run_once(Scenario(jobs={"scenario001": Outcome.FAIL, "scenario002": Outcome.NEVER}))
    for build in builds:
        votes = corner.votes(build)
        assert len(votes) == len(corner.release.jobs) - 1
        assert [job for job, results in votes.items() if results == [False]] == [
            "periodic-tripleo-ci-centos-7-scenario001-standalone-master"
        ]


@pytest.mark.lab
def test_a_failed_container_build_leaves_half_of_it(corner: Corner) -> None:
    build = corner.candidate()
    corner.run_once(SCENARIOS["build-fails"])
    assert list(corner.votes(build).values()) == [[True], [False]] or list(corner.votes(build).values()) == [
        [False],
        [True],
    ]
    with corner.lab.registries.rdo.client() as client:
        there = [
            client.head(f"{corner.release.namespaces['rdo']}/{container}", build.full_hash) is not None
            for container in corner.release.containers
        ]
    assert there.count(True) == 2


@pytest.mark.lab
def test_logs_can_be_read_where_the_vote_says(corner: Corner) -> None:
    build = corner.candidate()
    stop = threading.Event()
    corner.port = corner.lab.ci.port
    with corner.ci(SCENARIOS["all-pass"]) as ci:
        thread = threading.Thread(target=ci.run, kwargs={"every": 0.1, "stop": stop})
        thread.start()
        try:
            wait_for(
                lambda: len(corner.votes(build)) == len(corner.release.jobs), "all have voted", deadline=60
            )
            with corner.lab.dlrn_client() as client:
                vote = next(vote for vote in client.votes(build) if vote.job == corner.release.jobs[0].name)
            assert len(vote.url.rpartition("/")[2]) == 7
            log = requests.get(f"{vote.url}/job-output.txt", timeout=10)
            assert log.status_code == 200
            assert build.full_hash in log.text
            assert log.text.endswith("SUCCESS\n")
            # A second CI of the same lab would vote twice.
            with pytest.raises(LabError, match="runs already"):
                corner.run_once(SCENARIOS["all-pass"])
        finally:
            stop.set()
            thread.join()


@pytest.mark.lab
def test_as_a_service_it_survives_a_kill(spare_lab: Lab) -> None:
    spare_lab.up()
    release = spare_lab.release
    try:
        assert spare_lab.start_ci("all-pass", 20) is True
        assert spare_lab.start_ci("all-pass", 20) is False
        process = spare_lab.ci.process()
        assert process is not None
        build = spare_lab.add_build()
        with spare_lab.dlrn_client() as client:
            client.promote(build, release.candidate)
            wait_for(lambda: len(client.votes(build)) > 2, "a job has voted", deadline=60)
            os.killpg(process.pid, signal.SIGKILL)
            wait_for(lambda: spare_lab.ci.process() is None, "CI is gone")

            assert [state.name for state in spare_lab.status() if not state.up] == ["ci"]

            assert main(["--root", str(spare_lab.root), "up"]) == 0

            assert all(state.up for state in spare_lab.status())
            # One vote each and the builder's: no job ran twice.
            expected = sorted([*(job.name for job in release.jobs), "consistent"])
            wait_for(
                lambda: sorted(vote.job for vote in client.votes(build)) == expected, "all voted", deadline=90
            )
    finally:
        spare_lab.stop_ci()
    assert "ci" not in [state.name for state in spare_lab.status()]
