"""A label's ``delorean.repo`` at a real DLRN: the carried build, another one, or neither."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import requests

from lab import dlrn
from lab.faults import Fault, FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.engine.repo_check import check_repo
from rdo_promoter.errors import AnswerError, SupersededError
from rdo_promoter.model.build import DlrnHash
from tests.clients.dlrn_lab import LabDlrn

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab


def folder(lab: LabDlrn, build: DlrnHash) -> Path:
    return dlrn.tree_folder(lab.root) / build.path


def test_a_label_names_the_build_that_was_promoted_to_it(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build, newer = lab_dlrn.build(extended=True), lab_dlrn.build()
    client.promote(build, label)
    found = check_repo(client, label, build)
    assert found.address == f"{client.repo_url}/{label}/delorean.repo"
    fetched = requests.get(found.address, timeout=10).content
    assert found.sha256 == hashlib.sha256(fetched).hexdigest()
    client.promote(newer, label)
    with pytest.raises(SupersededError, match=f"^{label} names {newer.full_hash} by now$") as ended:
        check_repo(client, label, build)
    assert ended.value.by == newer.full_hash


def test_addresses_need_not_be_the_trees_own(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    build = lab_dlrn.build()
    client.promote(build, label)
    file = folder(lab_dlrn, build) / "delorean.repo"
    file.write_text(file.read_text().replace(lab_dlrn.facts.repo_url, "https://mirror.example.org/centos7"))
    assert check_repo(client, label, build).builds == (build.full_hash,)


def test_an_md5_that_stands_beside_the_file_has_to_be_its(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    client.promote(build, label)
    file = folder(lab_dlrn, build) / "delorean.repo"
    md5 = file.with_name("delorean.repo.md5")
    md5.write_text(hashlib.md5(file.read_bytes()).hexdigest())
    assert check_repo(client, label, build).declared == md5.read_text()
    md5.write_text("0" * 32)
    with pytest.raises(AnswerError, match=f"has md5 [0-9a-f]{{32}}, and the one beside it is {'0' * 32}"):
        check_repo(client, label, build)


def test_a_label_that_answers_404_for_a_moment(
    lab_dlrn: LabDlrn, shaky: DlrnClient, repo_proxy: FaultProxy, label: str
) -> None:
    build = lab_dlrn.build()
    shaky.promote(build, label)
    repo_proxy.add(Fault(f"/{label}/delorean.repo", answer=404, times=7))  # half of them for the md5
    assert check_repo(shaky, label, build).builds == (build.full_hash,)


def test_a_link_that_dlrns_rows_do_not_know_of_is_no_reason_to_skip(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build, other = lab_dlrn.build(), lab_dlrn.build()
    with pytest.raises(AnswerError, match=f"{label}/delorean.repo does not exist, .* names nothing"):
        check_repo(client, label, build)
    client.promote(build, label)
    link = dlrn.tree_folder(lab_dlrn.root) / label
    link.unlink()
    link.symlink_to(other.path)
    with pytest.raises(AnswerError, match=f"names {other}, DLRN's newest .* names {build}, and this run"):
        check_repo(client, label, build)
