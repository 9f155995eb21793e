"""Reading releases: what a good file becomes, defaults, and folders of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rdo_promoter.model.ci import Pipeline
from rdo_promoter.release import (
    ENVIRONMENT,
    BrokenRelease,
    Release,
    load_release,
    load_releases,
    releases_folder,
)
from rdo_promoter.steps import Candidate, Promote, PushContainers, TagContainers, WaitFor
from tests.unit.releases import GOOD, changed, write

PROJECT = Path(__file__).resolve().parents[2] / "include" / "releases"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def test_a_pipeline_is_that_of_stages_with_a_candidate_unless_they_name_theirs(tmp_path: Path) -> None:
    zuul = "zuul: {connection: zuul_rdo, pipeline: integration}\nstages:\n"
    for text, first, second in (
        (GOOD, None, None),
        (changed("stages:\n", zuul), Pipeline("integration"), None),
        (
            changed("stages:\n", zuul.replace("}", ", promote_job: promote}"))
            .replace("source: consistent\n", "source: consistent\n    pipeline: own\n")
            .replace("source: current-good\n", "source: current-good\n    pipeline: phase1\n"),
            Pipeline("own", "promote"),
            Pipeline("phase1", "promote"),
        ),
    ):
        release = load_release(write(tmp_path, text))
        assert [release.pipeline(stage) for stage in release.stages] == [first, second]


def test_a_good_file_becomes_a_release(tmp_path: Path) -> None:
    release = load_release(write(tmp_path))
    assert release.dag_id == "centos9-good"
    assert release.schedule == "*/30 * * * *"
    assert release.poll == 60
    assert release.file == "releases/good.yaml"
    assert release.container_names == ("openstack-nova-api", "openstack-keystone")
    assert release.repositories("quay") == (
        "tripleogood/openstack-nova-api",
        "tripleogood/openstack-keystone",
    )
    assert release.image_root("images") == "/images/centos9/good/rdo_trunk"
    assert release.asset_uri("current-good") == "dlrn://dlrn.example.org/centos9-good/current-good"
    upstream, phase1 = release.stages
    assert upstream.named_steps == (
        ("candidate", Candidate(label="ci-testing", max_in_ci=1, min_gap="1h")),
        ("wait_for", WaitFor(jobs=("build-containers", "build-images"), within="4h")),
        ("tag_containers", TagContainers.model_validate({"in": "rdo", "tag": "ci-testing"})),
        ("push_containers", PushContainers(to="quay", tag="ci-testing", gates="nothing")),
        (
            "wait_for_2",
            WaitFor(
                jobs=("standalone", "scenario001"),
                within="12h",
                alternatives={"scenario001": ("scenario001-internal",)},
                retry_delay="20m",
            ),
        ),
        ("promote", Promote(label="current-good", tag_in=("rdo",), push_to=("quay",), link_on=("images",))),
    )
    assert [name for name, _ in phase1.named_steps] == ["phase1_tests", "promote"]
    assert phase1.source == "current-good"


def test_a_release_cannot_be_changed(tmp_path: Path) -> None:
    release = load_release(write(tmp_path))
    wait = release.stages[0].steps[4]
    assert isinstance(wait, WaitFor)
    with pytest.raises(ValidationError, match="frozen"):
        release.poll = 5  # type: ignore[misc]  # that is the point
    with pytest.raises(ValidationError, match="frozen"):
        wait.jobs = ()  # type: ignore[misc]  # that is the point
    # The old promoter's substitution changed the criteria that all candidates shared.
    with pytest.raises(TypeError):
        wait.alternatives["standalone"] = ("x",)  # type: ignore[index]  # that is the point
    with pytest.raises(TypeError):
        release.registries["x"] = release.registries["rdo"]  # type: ignore[index]  # that is the point


def test_two_loads_are_equal(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert load_release(path) == load_release(path)


@pytest.mark.parametrize("name", ["good.yaml", "defaults.yaml", "containers/good.yaml"])
def test_the_digest_covers_every_file_that_was_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    path.with_name("defaults.yaml").write_text("poll: 60s\n")
    before = load_release(path).digest
    assert load_release(path).digest == before
    assert len(before) == 64
    touched = path.parent / name
    touched.write_text(touched.read_text() + "# a comment\n")
    assert load_release(path).digest != before


def test_defaults_lie_under_a_release(tmp_path: Path) -> None:
    path = write(tmp_path, changed("distro: {name: centos, version: 9}", "distro: {version: 9}"))
    path.with_name("defaults.yaml").write_text(
        "poll: 30s\nschedule: '5 * * * *'\ndistro: {name: rhel, version: 8}\nimages: [a, b, c]\n"
    )
    release = load_release(path)
    assert (release.poll, release.schedule) == (30, "5 * * * *")
    assert release.dag_id == "rhel9-good", "mappings are merged, the release's own values win"
    assert release.images == ("overcloud-full.tar", "ironic-python-agent.tar"), "lists are replaced"


def test_a_release_can_take_a_default_back(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "schedule: null\n")
    path.with_name("defaults.yaml").write_text("schedule: '5 * * * *'\n")
    assert load_release(path).schedule is None


#: Another release, in a repository tree of its own.
OTHER = GOOD.replace("release: good", "release: other").replace("centos9-good", "centos9-other")


def test_empty_defaults_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.with_name("defaults.yaml").write_text("# nothing yet\n")
    assert load_release(path).poll == 60


def test_a_broken_file_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path).parent
    write(tmp_path, "release: [\n", name="a b.yaml")
    write(tmp_path, OTHER, name="z.yml")
    for name in (".hidden.yaml", "_draft.yaml", "defaults.yaml", "notes.txt"):
        write(tmp_path, "", name=name)
    broken, good, other = load_releases(folder)
    assert isinstance(broken, BrokenRelease)
    assert (broken.file, broken.dag_id) == ("releases/a b.yaml", "broken-a-20-b")
    assert "releases/a b.yaml:2: this is no YAML" in str(broken.error)
    assert (good.dag_id, other.dag_id) == ("centos9-good", "centos9-other")


def test_broken_files_have_different_ids(tmp_path: Path) -> None:
    for name in ("a.yaml", "a.yml", "a b.yaml", "a-b.yaml", "a_b.yaml", "ä.yaml"):
        folder = write(tmp_path, "", name=name).parent
    assert len({broken.dag_id for broken in load_releases(folder)}) == 6


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert releases_folder() == PROJECT
    monkeypatch.setenv(ENVIRONMENT, str(write(tmp_path).parent))
    assert releases_folder() == tmp_path / "releases"
    assert [release.dag_id for release in load_releases()] == ["centos9-good"]


def test_the_projects_releases_can_be_used() -> None:
    (master,) = load_releases(PROJECT)
    assert isinstance(master, Release), getattr(master, "error", "")
    assert master.dag_id == "centos7-master"
    assert master.asset_uri("current-tripleo") == "dlrn://trunk.rdoproject.org/centos7-master/current-tripleo"
    assert master.image_root("images") == "/var/www/html/images/master/rdo_trunk"
    assert len(master.container_names) == 96
    assert "tripleomaster/centos-binary-heat-api" in master.repositories("dockerhub")
    (upstream,) = master.stages
    assert [name for name, _ in upstream.named_steps] == [
        "candidate",
        "builds",
        "tag_containers",
        "push_containers",
        "tests",
        "promote",
    ]
    builds, promote = upstream.steps[1], upstream.steps[-1]
    assert isinstance(builds, WaitFor)
    assert builds.jobs == (
        "periodic-tripleo-centos-7-master-containers-build-push",
        "periodic-tripleo-ci-centos-7-ovb-3ctlr_1comp-featureset002-master-upload",
    )
    assert promote == Promote(
        label="current-tripleo",
        tag_in=("rdo",),
        push_to=("dockerhub",),
        link_on=("images",),
        mirror_to=("rh1",),
    )
