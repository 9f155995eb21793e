"""What is wrong with a folder of release files: names, links, defaults, two files that want the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rdo_promoter.errors import ConfigError
from rdo_promoter.release import ENVIRONMENT, BrokenRelease, Release, load_files, load_release, load_releases
from tests.unit.releases import GOOD, changed, problems, write


def only(folder: Path) -> str:
    """Return what is said about the folder's one broken release, beside which the good one is used."""
    broken, good = load_releases(folder)
    assert good.dag_id == "centos9-good"
    assert isinstance(broken, BrokenRelease)
    return str(broken.error)


def test_a_folder_with_the_name_of_a_release(tmp_path: Path) -> None:
    folder = write(tmp_path).parent
    (folder / "a.yaml").mkdir()
    remedy = "put the file itself there, or give it another name"
    assert only(folder) == f"releases/a.yaml: it is a folder: {remedy}"


def test_a_pipe_with_the_name_of_a_release_is_not_waited_for(tmp_path: Path) -> None:
    folder = write(tmp_path).parent
    os.mkfifo(folder / "a.yaml")
    assert only(folder).startswith("releases/a.yaml: it is no regular file: ")


@pytest.mark.parametrize(
    ("target", "why"),
    [("a.yaml", "Too many levels of symbolic links"), ("gone", "No such file or directory")],
)
def test_a_link_that_leads_nowhere(tmp_path: Path, target: str, why: str) -> None:
    folder = write(tmp_path).parent
    (folder / "a.yaml").symlink_to(target)
    assert only(folder) == f"releases/a.yaml: cannot be read: {why}; check the path and its mode"


@pytest.mark.parametrize("target", ["defaults.yaml", "gone"])
def test_defaults_behind_a_link_that_leads_nowhere_are_not_left_out(tmp_path: Path, target: str) -> None:
    """Without its defaults a release would be another one, and nobody would notice."""
    path = write(tmp_path)
    path.with_name("defaults.yaml").symlink_to(target)
    (found,) = problems(path)
    assert found.startswith("releases/defaults.yaml: cannot be read: ")


@pytest.mark.parametrize("name", ["a\nb.yaml", "a\x1b[31m.yaml", "a\u202eb.yaml", "a\udcff.yaml"])
def test_a_file_name_cannot_break_the_line_either(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path).parent
    (folder / name).write_text("release: [\n")
    broken = next(each for each in load_releases(folder) if isinstance(each, BrokenRelease))
    assert f"{broken.file}{broken.error}{broken.dag_id}".isprintable()
    assert broken.file == f"releases/{ascii(name)[1:-1]}"


def test_a_releases_folder_that_links_to_itself(tmp_path: Path) -> None:
    (tmp_path / "releases").symlink_to("releases")
    (broken,) = load_releases(tmp_path / "releases")
    assert isinstance(broken, BrokenRelease)
    assert "cannot be read: Too many levels of symbolic links; name it in RDO_PROMOTER_RELEASES" in str(
        broken.error
    )
    with pytest.raises(ConfigError, match=r"releases/good\.yaml: cannot be read: Too many levels"):
        load_release(tmp_path / "releases" / "good.yaml")


def test_two_files_with_one_dag_id_are_both_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path, name=name) for name in ("a.yaml", "b.yaml")]
    other = GOOD.replace("release: good", "release: other").replace("centos9-good", "centos9-other")
    paths.append(write(tmp_path, other, name="c.yaml"))
    first, second, third = load_files(paths)
    assert isinstance(first, BrokenRelease)
    assert isinstance(second, BrokenRelease)
    assert isinstance(third, Release)
    assert "releases/a.yaml:1: Dag id 'centos9-good' is also that of releases/b.yaml" in str(first.error)
    assert "releases/b.yaml:1: Dag id 'centos9-good' is also that of releases/a.yaml" in str(second.error)


def test_two_releases_that_move_one_label_are_both_refused(tmp_path: Path) -> None:
    """A copy of a file in which only the name was changed: its runs would take turns with the first one's."""
    again = GOOD.replace("release: good", "release: again")
    first, second = load_files([write(tmp_path), write(tmp_path, again, name="again.yaml")])
    assert isinstance(first, BrokenRelease)
    assert isinstance(second, BrokenRelease)
    lines = str(second.error).splitlines()
    assert lines[0] == (
        "releases/again.yaml:1: label 'ci-testing' in https://dlrn.example.org/centos9-good is also that of "
        "releases/good.yaml: they would move it in turns; change the label or dlrn.repo_url in one of them"
    )
    assert len(lines) == 3


def test_a_mistake_in_the_defaults_names_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, changed("version: 9}", "versoin: 9}"))
    path.with_name("defaults.yaml").write_text("# shared\npoll: often\ndistro:\n  nam: x\n")
    assert [line.partition(" ")[0] + line.split(": ")[1] for line in problems(path)] == [
        "releases/defaults.yaml:2:poll",
        "releases/defaults.yaml:4:distro.nam",
        "releases/good.yaml:2:distro.versoin",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "releases/defaults.yaml:1: no mapping"),
        ("poll: 1m\npoll: 2m\n", "releases/defaults.yaml:1: poll: written twice, in lines 1 and 2"),
        ("poll: [\n", "releases/defaults.yaml:2: this is no YAML"),
    ],
)
def test_defaults_that_cannot_be_read_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path)
    path.with_name("defaults.yaml").write_text(text)
    assert [line.startswith(message) for line in problems(path)] == [True]


def test_a_folder_that_is_missing_is_shown_and_does_not_raise(tmp_path: Path) -> None:
    (broken,) = load_releases(tmp_path / "nowhere")
    assert isinstance(broken, BrokenRelease)
    assert broken.dag_id == "broken-nowhere"
    assert f"No such file or directory; name it in {ENVIRONMENT}" in str(broken.error)
