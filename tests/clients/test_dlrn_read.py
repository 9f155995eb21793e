"""Questions to a real DLRN: promotions, history, the repository tree."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from lab import dlrn
from lab.faults import Fault, FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AnswerError, ConfigError, NotFoundError
from rdo_promoter.model.build import AggregateHash, DlrnHash
from tests.clients.dlrn_lab import LabDlrn

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab


def test_label_that_nobody_promoted_to(client: DlrnClient, lab_dlrn: LabDlrn, label: str) -> None:
    assert client.current(label) is None
    assert client.promotions(label) == []
    assert client.entries(label, lab_dlrn.build()) == []
    assert client.label_hash(label) is None


def test_newest_row_first_and_filters(client: DlrnClient, lab_dlrn: LabDlrn, label: str) -> None:
    one, two = lab_dlrn.build(), lab_dlrn.build(extended=True)
    now = int(time.time())
    dlrn.add_promotions(
        lab_dlrn.root,
        # DLRN's order is that of the rows, not of their times.
        [
            dlrn.PastPromotion(one, label, now),
            dlrn.PastPromotion(two, label, now - 500),
            dlrn.PastPromotion(two, f"{label}-other", now),
        ],
    )
    rows = client.promotions(label)
    assert [(row.build, row.timestamp) for row in rows] == [(two, now - 500), (one, now)]
    assert client.current(label) == rows[0]
    assert client.promotions(label, limit=1, offset=1) == rows[1:]
    assert client.entries(label, one) == rows[1:]
    assert [row.label for row in client.promotions(build=two)] == [f"{label}-other", label]


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (101, 0), (1, -1)])
def test_pages_that_dlrn_would_cut_silently_are_refused(client: DlrnClient, limit: int, offset: int) -> None:
    with pytest.raises(ConfigError, match="limit"):
        client.promotions(limit=limit, offset=offset)


def test_entries_of_an_unknown_build(client: DlrnClient, label: str) -> None:
    with pytest.raises(NotFoundError, match=f"^{'0' * 40}_11111111: DLRN GET .* no successful build"):
        client.entries(label, DlrnHash("0" * 40, "1" * 40))
    assert client.entries(label, AggregateHash("0" * 32)) == []


def test_entries_never_name_another_build(client: DlrnClient, lab_dlrn: LabDlrn, label: str) -> None:
    plain = lab_dlrn.add(name=label)
    extended = lab_dlrn.add(name=label, extended="20180115")
    client.promote(extended, label)
    assert len(client.entries(label, extended)) == 1
    with pytest.raises(AnswerError, match="asked for build"):
        client.entries(label, plain)


def test_history_while_rows_are_added(client: DlrnClient, lab_dlrn: LabDlrn, label: str) -> None:
    builds = [lab_dlrn.build(), lab_dlrn.build(extended=True)]
    past = [dlrn.PastPromotion(builds[number % 2], label, 1_700_000_000 + number) for number in range(230)]
    dlrn.add_promotions(lab_dlrn.root, past)
    scan = client.history(label)
    rows = [next(scan) for _ in range(100)]
    with lab_dlrn.client() as other:
        for build in [*builds, builds[0]]:
            other.promote(build, label)
    rows += scan
    assert [row.timestamp for row in rows] == [step.when for step in reversed(past)], "each once, none lost"
    again = list(client.history(label))
    assert again[-230:] == rows
    assert again[0] == client.current(label)


def test_consistent_and_its_vote(client: DlrnClient, lab_dlrn: LabDlrn) -> None:
    for extended in (False, True, "20180115"):
        build = lab_dlrn.add(extended=extended)
        assert client.consistent() == build
        [vote] = client.votes(build)
        assert (vote.job, vote.success, vote.in_progress, vote.user) == ("consistent", True, False, "")


def test_tree_without_consistent(lab_dlrn: LabDlrn, label: str) -> None:
    with (
        lab_dlrn.client(repo_url=f"{lab_dlrn.facts.repo_url}/nowhere") as client,
        pytest.raises(NotFoundError, match="repo_url"),
    ):
        client.consistent()


def test_find_by_full_hash(client: DlrnClient, lab_dlrn: LabDlrn) -> None:
    for build in (lab_dlrn.build(), lab_dlrn.build(extended=True)):
        assert client.find(build.full_hash) == build
    assert client.find(DlrnHash("0" * 40, "1" * 40).full_hash) is None
    for text in (
        "current-tripleo",
        "../consistent",
        "a" * 40,
        "b" * 32,
        f"{'a' * 40}_{'b' * 8}/../../current",
    ):
        with pytest.raises(ConfigError, match="no full hash"):
            client.find(text)


def test_a_build_that_is_named_and_not_there(client: DlrnClient, lab_dlrn: LabDlrn) -> None:
    build, purged, lost = lab_dlrn.build(), lab_dlrn.build(), lab_dlrn.build()
    dlrn.purge(lab_dlrn.root, purged, flagged=True)
    dlrn.purge(lab_dlrn.root, lost, flagged=False)
    assert client.named(build.full_hash) == build
    for gone in (purged, lost, DlrnHash("0" * 40, "1" * 40)):
        with pytest.raises(NotFoundError) as missing:
            client.named(gone.full_hash)
        assert str(missing.value) == (
            f"build {gone.full_hash}: DLRN has no directory for it below {lab_dlrn.facts.repo_url}. It is of "
            "another release, or it was purged, or never built; look for it there, and copy the last part of "
            "its directory's address"
        )
    with pytest.raises(ConfigError, match="'current-tripleo' is no full hash; take the last part of"):
        client.named("current-tripleo")


def test_label_that_answers_404_for_a_moment(
    lab_dlrn: LabDlrn, shaky: DlrnClient, repo_proxy: FaultProxy, label: str
) -> None:
    build = lab_dlrn.build()
    shaky.promote(build, label)
    repo_proxy.add(Fault(f"/{label}/commit.yaml", answer=404, times=3))
    assert shaky.label_hash(label) == build


def test_label_is_never_missing_while_it_is_moved(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    one, two = lab_dlrn.build(), lab_dlrn.build()
    client.promote(one, label)

    def move() -> None:
        with lab_dlrn.client() as other:
            for build in [two, one] * 8:
                other.promote(build, label)

    seen = set()
    with ThreadPoolExecutor() as pool:
        moving = pool.submit(move)
        while not moving.done():
            seen.add(client.label_hash(label))
        moving.result()
    assert seen <= {one, two}
    assert client.label_hash(label) == one


def test_label_that_names_something_else(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    folder = dlrn.tree_folder(lab_dlrn.root) / label
    folder.mkdir()
    (folder / "commit.yaml").write_text("<html>maintenance</html>")
    with pytest.raises(AnswerError, match=r"commit\.yaml"):
        client.label_hash(label)


def test_now_is_the_servers_time(lab_dlrn: LabDlrn) -> None:
    with lab_dlrn.client() as client:
        assert abs(client.now() - time.time()) <= 2
        asked = client.requests_made
        assert abs(client.now() - time.time()) <= 2
        assert client.requests_made == asked == 1, "the last answer's Date is enough"


def test_requests_made_counts_every_request(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, repo_proxy: FaultProxy, label: str
) -> None:
    api_proxy.add(Fault("/api/promotions", answer=503))
    shaky.consistent()
    shaky.current(label)
    shaky.label_hash(label)
    shaky.check_credentials()
    assert shaky.requests_made == len(api_proxy.seen()) + len(repo_proxy.seen()) >= 9


def test_a_failed_build_holds_consistent_also_while_both_links_are_equal(
    client: DlrnClient, lab_dlrn: LabDlrn, label: str
) -> None:
    good = lab_dlrn.add()
    when = int(time.time())
    [failed] = dlrn.add_builds(
        lab_dlrn.root, [dlrn.NewBuild(when, extended=True, project=label, failed=True)]
    )
    assert client.consistent() == client.label_hash("current") == good
    [held] = [each for each in client.holding() if each.package == label]
    assert (held.status, held.log) == ("FAILED", f"{client.repo_url}/{failed.path}/rpmbuild.log")
    log = requests.get(held.log, timeout=10)
    assert (log.status_code, log.text) == (200, f"Building {label}: FAILED\n")
    lab_dlrn.add(project=label)
    assert label not in {each.package for each in client.holding()}


def test_without_a_report_what_current_is_made_of_tells(
    lab_dlrn: LabDlrn, shaky: DlrnClient, repo_proxy: FaultProxy, label: str
) -> None:
    lab_dlrn.add(project=label)
    lab_dlrn.add(project=label, failed=True)
    repo_proxy.add(Fault("/status_report.csv", answer=404, times=2))
    assert label not in {each.package for each in shaky.holding()}, "current is older than the failure"
    lab_dlrn.add()
    [held] = [each for each in shaky.holding() if each.package == label]
    assert (held.status, held.log) == ("FAILED", "")
    lab_dlrn.add(project=label)


def test_a_tree_that_tells_nothing_of_packages(lab_dlrn: LabDlrn) -> None:
    with (
        lab_dlrn.client(repo_url=f"{lab_dlrn.facts.repo_url}/nowhere") as client,
        pytest.raises(NotFoundError, match=r"nowhere has neither status_report\.csv nor .* check repo_url"),
    ):
        client.holding()


def test_packages_of_a_build(client: DlrnClient, lab_dlrn: LabDlrn) -> None:
    build = lab_dlrn.build()
    nova = next(each for each in client.packages(build) if each.project == "openstack-nova")
    assert (nova.commit_hash, nova.distro_hash, nova.status) == (
        build.commit_hash,
        build.distro_hash,
        "SUCCESS",
    )
    dlrn.purge(lab_dlrn.root, build)
    with pytest.raises(NotFoundError, match=f"{build} has no versions.csv below http://.*: it was purged"):
        client.packages(build)
