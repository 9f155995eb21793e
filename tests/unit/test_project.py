"""What the project says of itself is so."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

from rdo_promoter.release import load_release

PROJECT = Path(__file__).resolve().parents[2]


def test_the_readmes_release_can_be_used(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    shutil.copytree(PROJECT / "include" / "releases", tmp_path / "releases")
    (tmp_path / "releases" / "master.yaml").write_text(text)
    release = load_release(tmp_path / "releases" / "master.yaml")
    assert release.dag_id == "centos7-master"
    assert len(release.container_names) == 96


def test_requirements_are_the_packages_dependencies() -> None:
    listed = (PROJECT / "requirements.txt").read_text().splitlines()
    wanted = [line.partition("#")[0].strip() for line in listed]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert [line for line in wanted if line] == project["dependencies"]


def test_every_decision_is_in_the_list() -> None:
    folder = PROJECT / "docs" / "adr"
    pages = {page.name for page in folder.glob("0*.md")}
    assert set(re.findall(r"\((0[^)]*\.md)\)", (folder / "README.md").read_text())) == pages


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_is_described_and_exists() -> None:
    text = (PROJECT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    described = re.findall(r"^# .+\n([a-z-]+):", text, re.MULTILINE)
    assert sorted(phony.split()) == sorted(described)
