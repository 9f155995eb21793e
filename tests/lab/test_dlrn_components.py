"""The lab's DLRN in component mode: what its builder and its API leave behind."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from lab import dlrn_components
from lab.dlrn_orders import PastAggregate
from lab.lab import Lab
from lab.service import LabError
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import DlrnHash
from tests.clients.component_lab import COMPONENTS, ComponentDlrn

pytest_plugins = ["tests.clients.component_fixtures"]
pytestmark = pytest.mark.lab


def repo_of(lab: ComponentDlrn, label: str) -> dict[str, bytes]:
    """Return each component's file under a label."""
    files = {
        name: lab.tree / "component" / name / label / "delorean.repo"
        for name in dlrn_components.listed(lab.root)
    }
    return {name: file.read_bytes() for name, file in files.items() if file.exists()}


def test_a_build_leaves_what_the_builder_leaves(component_dlrn: ComponentDlrn) -> None:
    (build,) = component_dlrn.add("compute", extended=True)
    assert build.component == "compute"
    folder = component_dlrn.tree / build.path
    assert (component_dlrn.tree / "component" / "compute" / "consistent").resolve() == folder.resolve()
    assert (component_dlrn.tree / "component" / "compute" / "current").resolve() == folder.resolve()
    assert not (component_dlrn.tree / "component" / "common" / "consistent").resolve().samefile(folder)
    assert (folder / "delorean.repo").read_text().startswith("[delorean-component-compute]\n")
    _, *lines = (folder / "versions.csv").read_text().splitlines()
    assert {line.split(",")[7] for line in lines} == {"compute"}


def test_aggregates_are_those_that_dlrn_makes(component_dlrn: ComponentDlrn) -> None:
    component_dlrn.add("network", "common")
    for label in ("consistent", "current"):
        repos = repo_of(component_dlrn, label)
        assert set(repos) >= set(COMPONENTS)
        whole = b"".join(repos[component] + b"\n" for component in sorted(repos))
        md5 = hashlib.md5(whole).hexdigest()
        assert (component_dlrn.tree / label / "delorean.repo").read_bytes() == whole
        assert (component_dlrn.tree / label / "delorean.repo.md5").read_text() == md5
        folder = component_dlrn.tree / label / md5[:2] / md5[2:4] / md5
        assert (folder / "delorean.repo").read_bytes() == whole


def test_a_failed_package_holds_its_own_component_back(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    before = repo_of(component_dlrn, "consistent")
    component_dlrn.add("compute", project=label, failed=True)
    held, free = component_dlrn.add("compute", "common")
    after = repo_of(component_dlrn, "consistent")
    assert after["compute"] == before["compute"], "a package of it still fails"
    assert free.full_hash.encode() in after["common"]
    assert components.votes(held) == []
    assert [vote.job for vote in components.votes(free)] == ["consistent"]
    component_dlrn.add("compute", project=label)


def test_promotions_of_the_past(component_dlrn: ComponentDlrn, components: DlrnClient, label: str) -> None:
    builds = component_dlrn.add("common", "compute")
    when = int(time.time()) - 3600
    (made,) = dlrn_components.add_promotions(component_dlrn.root, [PastAggregate(builds, label, when)])
    assert (component_dlrn.tree / label / "delorean.repo.md5").read_text() == made.aggregate_hash
    rows = components.promotions(label)
    assert [(row.build, row.aggregate_hash, row.timestamp) for row in rows] == [
        (builds[1], made.aggregate_hash, when),
        (builds[0], None, when),
    ]


def test_the_lab_starts_it_for_whoever_asks_and_ends_it(spare_lab: Lab) -> None:
    spare_lab.up()
    # What nobody asked for has not even a folder.
    assert not (spare_lab.root / dlrn_components.NAME).exists()
    spare_lab.start_components()
    services = dlrn_components.services(spare_lab.root)
    pids = [service.process() for service in services]
    assert None not in pids
    spare_lab.start_components()
    assert [service.process() for service in services] == pids
    with spare_lab.dlrn_client(components=True) as components:
        components.check_credentials()
        assert components.api_url != spare_lab.dlrn.api_url
    assert spare_lab.up() is False, "it is no part of what `up` looks after"
    spare_lab.down()
    assert [service.process() for service in services] == [None, None]


def test_one_that_was_never_started(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="dlrn-components"):
        dlrn_components.facts(tmp_path)


def test_purged(component_dlrn: ComponentDlrn) -> None:
    old: DlrnHash
    old, _ = component_dlrn.add("common", "common")
    dlrn_components.purge(component_dlrn.root, old)
    assert not (component_dlrn.tree / old.path).exists()
