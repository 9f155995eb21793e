"""What the project says of itself is so."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

from rdo_promoter.dag_factory import release_dag
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.operators.gate import GateOperator
from rdo_promoter.release import load_release
from rdo_promoter.triggers.terms import Ci

PROJECT = Path(__file__).resolve().parents[2]


def test_the_readmes_release_can_be_used(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    shutil.copytree(PROJECT / "include" / "releases", tmp_path / "releases")
    (tmp_path / "releases" / "master.yaml").write_text(text)
    release = load_release(tmp_path / "releases" / "master.yaml")
    assert release.dag_id == "centos7-master"
    assert len(release.container_names) == 96


def test_the_how_tos_flow_without_votes_waits_for_a_buildset(tmp_path: Path) -> None:
    text = (PROJECT / "docs" / "how-to" / "see-what-ci-is-doing.md").read_text()
    (flow,) = [part for part in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "stages:" in part]
    file = tmp_path / "caracal.yaml"
    file.write_text(
        "release: caracal\ndistro: {name: centos, version: 9}\n"
        f"dlrn: {{connection: dlrn_caracal, repo_url: https://trunk.rdoproject.org/centos9-caracal}}\n{flow}"
    )
    gate = release_dag(load_release(file)).get_task("puppet.wait_for.gate")
    assert isinstance(gate, GateOperator)
    pipeline = Pipeline("openstack-periodic-integration-stable1", "promote-puppet-ci-testing")
    assert gate.terms.ci == Ci("zuul_rdo", pipeline, decides=True)
    assert gate.services.zuul_conn_id == "zuul_rdo"
    # Votes decide again, and CI is looked at all the same.
    file.write_text(file.read_text().replace("evidence: zuul_buildset", "evidence: votes"))
    gate = release_dag(load_release(file)).get_task("puppet.wait_for.gate")
    assert isinstance(gate, GateOperator)
    assert gate.terms.ci == Ci("zuul_rdo", pipeline, decides=False)


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
