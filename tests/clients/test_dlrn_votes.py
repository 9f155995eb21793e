"""CI results in a real DLRN."""

from __future__ import annotations

import pytest

from lab.faults import Fault, FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AnswerError, AuthError, NotFoundError, ServiceError
from rdo_promoter.model.build import AggregateHash, DlrnHash
from rdo_promoter.model.votes import counting_votes
from tests.clients.dlrn_lab import LabDlrn

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab

LOG = "https://logs.example.org/a1b2c3d"


@pytest.mark.parametrize("extended", [False, True])
def test_votes_accumulate_and_the_newest_counts(
    lab_dlrn: LabDlrn, client: DlrnClient, extended: bool
) -> None:
    build = lab_dlrn.build(extended=extended)
    now = client.now()
    first = client.report_vote(build, "job-a", False, LOG, timestamp=now - 60, notes="flaky")
    second = client.report_vote(build, "job-a", True, LOG, timestamp=now - 30)
    third = client.report_vote(build, "job-b", True, "")
    assert abs(third.timestamp - now) <= 2
    assert (first.notes, first.user) == ("flaky", "promoter")
    assert [vote for vote in client.votes(build) if vote.job != "consistent"] == [first, second, third]
    rows = client.votes(build)
    assert "consistent" in {row.job for row in rows}, "the builder's own mark, which never counts"
    newest = counting_votes(rows)
    assert {job: vote.success for job, vote in newest.items()} == {"job-a": True, "job-b": True}


def test_ci_has_a_user_of_its_own(lab_dlrn: LabDlrn) -> None:
    facts = lab_dlrn.facts
    with lab_dlrn.client(username=facts.ci_username, password=facts.ci_password) as ci:
        assert ci.report_vote(lab_dlrn.build(), "job-a", True, LOG).user == "ci"


def test_row_in_progress_is_no_result(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    build = lab_dlrn.build()
    client.report_vote(build, label, True, LOG)
    # How a job takes the repository that another job has passed: the only source of such rows.
    client._api.post(
        "last_tested_repo", {"max_age": "0", "job_id": label, "reporting_job_id": f"{label}-running"}
    )
    running = [vote for vote in client.votes(build) if vote.in_progress]
    assert [(vote.job, vote.success) for vote in running] == [(f"{label}-running", False)]
    assert f"{label}-running" not in counting_votes(client.votes(build))
    client.report_vote(build, f"{label}-running", True, LOG, timestamp=client.now() - 3600)
    assert counting_votes(client.votes(build))[f"{label}-running"].success, "never cleared, never counted"


def test_unknown_build(client: DlrnClient) -> None:
    unknown = DlrnHash("0" * 40, "1" * 40)
    with pytest.raises(NotFoundError, match="no successful build"):
        client.votes(unknown)
    with pytest.raises(NotFoundError, match="no successful build"):
        client.report_vote(unknown, "job-a", True, LOG)
    assert client.votes(AggregateHash("0" * 32)) == []
    with pytest.raises(NotFoundError, match="aggregate_hash not found"):
        client.report_vote(AggregateHash("0" * 32), "job-a", True, LOG)


def test_votes_on_another_extended_hash_are_no_votes_on_this_build(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    plain = lab_dlrn.add(name=label)
    extended = lab_dlrn.add(name=label, extended=True)
    client.report_vote(extended, "job-a", True, LOG)
    with pytest.raises(AnswerError, match="extended hash"):
        client.votes(plain)
    assert [vote.job for vote in client.votes(extended)] == ["consistent", "job-a"]


def test_votes_need_a_login(lab_dlrn: LabDlrn, client: DlrnClient) -> None:
    build = lab_dlrn.build()
    with lab_dlrn.client(password="wrong-secret") as stranger, pytest.raises(AuthError) as caught:
        stranger.report_vote(build, "job-a", True, LOG)
    assert "wrong-secret" not in str(caught.value)
    assert [vote.job for vote in client.votes(build)] == ["consistent"]


@pytest.mark.parametrize("answer", [None, 500])
def test_lost_answer_to_a_vote(
    lab_dlrn: LabDlrn, shaky: DlrnClient, api_proxy: FaultProxy, answer: int | None
) -> None:
    build = lab_dlrn.build()
    api_proxy.add(Fault("/api/report_result", "POST", forward=True, answer=answer))
    vote = shaky.report_vote(build, "job-a", True, LOG)
    assert [one for one in shaky.votes(build) if one.job == "job-a"] == [vote]
    api_proxy.add(Fault("/api/report_result", "POST", answer=answer))
    with pytest.raises(ServiceError):
        shaky.report_vote(build, "job-b", True, LOG)
    assert "job-b" not in [one.job for one in shaky.votes(build)]
