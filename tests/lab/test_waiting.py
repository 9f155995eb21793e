"""The job trigger in an event loop of its own, on a real DLRN."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

import pytest
from airflow.triggers.base import (
    BaseTaskEndEvent,
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from lab.faults import Fault, FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.triggers.gate import GateTrigger
from rdo_promoter.triggers.job import JobTrigger
from rdo_promoter.triggers.terms import Where
from tests.clients.dlrn_lab import LabDlrn
from tests.unit.terms import terms

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab

DEADLINE = 60.0
JOBS = tuple(f"job-{number}" for number in range(20))


@pytest.fixture
def votes(api_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    """Stands before the DLRN that the Connection names."""
    connection = {"conn_type": "dlrn", "host": api_proxy.url}
    monkeypatch.setenv("AIRFLOW_CONN_DLRN_TEST", json.dumps(connection))
    return api_proxy


def trigger(
    job: str,
    build: DlrnHash,
    label: str,
    since: int,
    *,
    conn_id: str = "dlrn_test",
    within: int = 3600,
    is_dry_run: str = "False",
) -> JobTrigger:
    where = Where(conn_id, "http://not-asked.example", label, f"promoted-{label}")
    return JobTrigger(
        terms=terms(where=where, jobs=JOBS, within=within, poll=0.2).to_json(),
        job=job,
        build=json.dumps(build.to_json()),
        since=str(since),
        is_dry_run=is_dry_run,
    )


def gate(
    build: DlrnHash, label: str, since: int, *, doomed_said: bool = False, **changes: Any
) -> GateTrigger:
    where = Where("dlrn_test", "http://not-asked.example", label, f"promoted-{label}")
    made = terms(where=where, jobs=JOBS, poll=0.2, **changes)
    return GateTrigger(
        terms=made.to_json(), build=build.to_json(), since=since, doomed_said=doomed_said, again=30
    )


async def only(trigger: BaseTrigger) -> TriggerEvent:
    """Return the one event of a trigger."""
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0]


def run(*triggers: BaseTrigger, meanwhile: Callable[[], Awaitable[None]] | None = None) -> list[TriggerEvent]:
    async def all_of_them() -> list[TriggerEvent]:
        waiting = asyncio.gather(*map(only, triggers))
        if meanwhile is not None:
            await meanwhile()
        return await waiting

    return asyncio.run(asyncio.wait_for(all_of_them(), DEADLINE))


def result(event: BaseTaskEndEvent) -> dict[str, str]:
    """Return what the task leaves in XCom."""
    assert event.xcoms is not None
    content = event.xcoms["return_value"]
    assert isinstance(content, dict)
    return {key: str(value) for key, value in content.items()}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def test_twenty_that_wait_for_one_build_ask_once_a_poll(
    votes: FaultProxy, lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    since = client.promote(build, label).timestamp

    async def vote() -> None:
        await until(lambda: len(votes.seen("GET", "repo_status")) >= 5)
        for job in JOBS:
            await asyncio.to_thread(client.report_vote, build, job, True, f"http://logs/{job}")

    events = run(
        *(trigger(job, build, label, since) for job in JOBS), gate(build, label, since), meanwhile=vote
    )
    assert [type(event) for event in events[:-1]] == [TaskSuccessEvent] * len(JOBS)
    assert events[-1].payload == {"call": "met"}
    assert votes.seen("GET", "promotions")
    before = [one for one in votes.seen() if build.commit_hash in one.path and "promotions" in one.path]
    assert len(before) <= 2  # the build's place in the order is asked for once


def test_a_gate_is_woken_for_what_it_can_decide(
    votes: FaultProxy, lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    first, second = lab_dlrn.build(), lab_dlrn.build()
    since = client.promote(first, label).timestamp
    [late] = run(gate(first, label, since - 10, within=5))
    assert late.payload == {"call": "late"}
    client.report_vote(first, "job-0", False, "http://logs/1")
    [doomed] = run(gate(first, label, since))
    assert doomed.payload == {"call": "doomed"}
    client.promote(second, f"promoted-{label}")
    # Labels are asked about less often: what is said already wakes nobody again.
    [lost] = run(gate(first, label, since, doomed_said=True))
    assert lost.payload == {"call": "lost"}


def test_a_gate_that_nothing_wakes_looks_again(
    votes: FaultProxy, lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    waiting = gate(build, label, client.promote(build, label).timestamp)
    waiting.again = 1
    [again] = run(waiting)
    assert again.payload == {"call": "again"}
    assert votes.seen("GET", "repo_status")


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failure_ends_the_try_and_the_next_one_finds_the_rerun(
    failing: int, votes: FaultProxy, lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    since = client.promote(build, label).timestamp
    for number in range(failing):
        client.report_vote(build, "job-0", False, "http://logs/1", timestamp=since + number)
    [event] = run(trigger("job-0", build, label, since))
    assert type(event) is TaskFailedEvent
    client.report_vote(build, "job-0", True, "http://logs/2", timestamp=since + failing)
    [event] = run(trigger("job-0", build, label, since))
    assert isinstance(event, TaskSuccessEvent)
    assert result(event)["url"] == "http://logs/2"


def test_a_deadline_that_has_passed_resumes_the_task_to_fail_it(
    votes: FaultProxy, lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    since = client.promote(build, label).timestamp
    [event] = run(trigger("job-0", build, label, since, within=1))
    assert type(event) is TriggerEvent
    assert event.payload["state"] == "expired"
    assert f"did not vote on {build.full_hash} within 1 s" in event.payload["reason"]


def test_waiting_for_a_deadline_that_dlrns_clock_will_not_reach_ends(
    votes: FaultProxy, lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    """As after DLRN's clock was a year ahead and has been set right; here it is set a year back."""
    build = lab_dlrn.build()
    since = client.promote(build, label).timestamp
    votes.headers["Date"] = formatdate(since - 365 * 86_400, usegmt=True)
    [event] = run(trigger("job-0", build, label, since))
    assert type(event) is TriggerEvent
    assert event.payload["state"] == "expired"
    assert "in the future of DLRN's clock" in event.payload["reason"]


def test_an_outage_fails_nobody_and_is_said_once(
    *,
    votes: FaultProxy,
    lab_dlrn: LabDlrn,
    client: DlrnClient,
    label: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    build = lab_dlrn.build()
    since = client.promote(build, label).timestamp

    async def outage() -> None:
        await until(lambda: len(votes.seen("GET", "repo_status")) >= 2)
        # More than the client's own retries, which are not seen here.
        votes.add(
            Fault("/api/repo_status", answer=503, times=6), Fault("/api/promotions", answer=503, times=1)
        )
        await until(lambda: votes.pending == 0)
        await asyncio.to_thread(client.report_vote, build, "job-0", True, "http://logs/1")

    with caplog.at_level(logging.INFO):
        [event] = run(trigger("job-0", build, label, since), meanwhile=outage)
    assert isinstance(event, TaskSuccessEvent)
    feed = [message for message in caplog.messages if message.startswith(f"{build.short} votes in")]
    assert [message.endswith("; asking goes on") for message in feed] == [True, False]
    assert feed[1].endswith("answered again after 1 failed questions")
    said = capsys.readouterr().out  # what Airflow's logging puts into the task's log
    for line in (
        "; waiting goes on",
        f"{build.short} everybody answers again",
        f"{build.short} job-0: passed",
    ):
        assert said.count(line) == 1


def test_a_connection_that_a_person_has_to_mend_ends_the_try_with_its_name(
    votes: FaultProxy, lab_dlrn: LabDlrn, label: str
) -> None:
    [event] = run(trigger("job-0", lab_dlrn.build(), label, 1, conn_id="dlrn_absent"))
    assert isinstance(event, TaskFailedEvent)
    assert "Connection 'dlrn_absent' does not exist" in result(event)["reason"]


def test_a_dry_run_asks_and_goes(votes: FaultProxy, lab_dlrn: LabDlrn, label: str) -> None:
    [event] = run(trigger("job-0", lab_dlrn.build(), label, 1, is_dry_run="True"))
    assert isinstance(event, TaskSkippedEvent)
    assert result(event)["reason"] == "dry run: would wait for job-0: it has not voted yet"


def test_a_trigger_that_is_cancelled_leaves_its_feeds(
    votes: FaultProxy, lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    build = lab_dlrn.build()
    since = client.promote(build, label).timestamp

    async def test() -> None:
        waiting = asyncio.create_task(only(trigger("job-0", build, label, since)))
        await until(lambda: len(votes.seen("GET", "repo_status")) >= 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # What is left are the feeds, which end by themselves.
        feeds = [task for task in asyncio.all_tasks() if task.get_name().startswith("feed ")]
        assert {task.get_name() for task in feeds} == {
            f"feed {build.short} votes in dlrn_test",
            f"feed {label} and promoted-{label} in dlrn_test",
            "feed decisions about centos7-test",
        }
        await asyncio.gather(*feeds)

    asyncio.run(asyncio.wait_for(test(), DEADLINE))
