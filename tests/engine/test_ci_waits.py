"""Triggers and the gate's table with a real DLRN, beside it a fake Zuul with recorded answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from rdo_promoter.engine.outlook import Stage, look_ahead
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.hooks.zuul import ZuulHook
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.operators.why import log_why
from rdo_promoter.triggers.gate import GateTrigger
from rdo_promoter.triggers.job import JobTrigger
from rdo_promoter.triggers.terms import Ci, Terms, Where
from tests.engine.rdo import Rdo
from tests.recorded.zuul import PIPELINE, TENANT, RecordedZuul
from tests.recorded.zuul import build as zuul_build

pytestmark = pytest.mark.lab

END = f"{PIPELINE}-buildset"
#: Terms of one test; `decides` says whether the buildset does.
Make = Callable[..., Terms]


@pytest.fixture
def zuul(rdo: Rdo, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[RecordedZuul]:
    with RecordedZuul() as server:
        monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path))
        fields = {"conn_type": "zuul", "host": server.url, "extra": {"tenant": TENANT}}
        monkeypatch.setenv("AIRFLOW_CONN_ZUUL_RDO", json.dumps(fields))
        for conn_id, content in rdo.lab.connections().items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", content)
        yield server


@pytest.fixture
def make(rdo: Rdo) -> Make:
    def make(*, decides: bool, **changes: Any) -> Terms:
        fields: dict[str, Any] = {
            "where": Where("dlrn_centos7_master", rdo.lab.dlrn.repo_url, rdo.candidate_label, rdo.label),
            "dag_id": "centos7-test",
            "gate": "upstream.tests.gate",
            "criteria": Criteria(("standalone",)),
            "stage_jobs": frozenset({"standalone"}),
            "within": 30 * 86_400,
            "poll": 0.1,
            "ci": Ci("zuul_rdo", Pipeline(PIPELINE), decides),
        }
        return Terms(**{**fields, **changes})

    return make


def entered(rdo: Rdo, build: DlrnHash) -> int:
    return rdo.dlrn.entries(rdo.candidate_label, build)[0].timestamp


def ran(zuul: RecordedZuul, start: int, *, result: str | None = "SUCCESS") -> str:
    """Let Zuul have moved the label and test the build; return the buildset's uuid."""
    ended: dict[str, Any] = {} if result else {"end_time": None}
    zuul.builds = [
        zuul_build(1, "promote", start_time=start - 20, end_time=start + 20),
        zuul_build(2, "standalone", start_time=start + 60, result=result, **ended),
    ]
    return str(zuul.builds[0]["buildset"]["uuid"])


async def first(trigger: GateTrigger | JobTrigger) -> TriggerEvent:
    async for event in trigger.run():
        return event
    raise AssertionError("the trigger has ended without an event")


def test_terms_survive_being_stored(make: Make) -> None:
    for terms in (make(decides=True), make(decides=False), make(decides=False, ci=None)):
        assert Terms.from_json(json.loads(json.dumps(terms.to_json()))) == terms
    stored = make(decides=False).to_json()
    del stored["ci"]  # of a version that knew no CI
    assert Terms.from_json(stored) == make(decides=False, ci=None)


def test_a_gate_is_woken_by_a_buildset_where_one_decides(rdo: Rdo, zuul: RecordedZuul, make: Make) -> None:
    (build,) = rdo.candidates(1)
    with rdo.lab.dlrn_client(ci=True) as ci:
        ci.report_vote(build, "standalone", True, "https://ci/1")
    start = entered(rdo, build)
    uuid = ran(zuul, start)

    async def wait() -> None:
        terms = make(decides=True).to_json()
        trigger = GateTrigger(terms=terms, build=build.to_json(), since=start, doomed_said=True)
        woken = asyncio.create_task(first(trigger))
        while len(zuul.asked("/buildset/")) < 2:
            await asyncio.sleep(0.02)
        assert not woken.done()  # the vote is no evidence, and the buildset has not ended
        zuul.down()
        down = len(zuul.seen)
        while len(zuul.seen) < down + 3:
            await asyncio.sleep(0.02)
        assert not woken.done()  # nothing can be decided without Zuul
        zuul.results[uuid], zuul.instead = "SUCCESS", {}
        assert (await woken).payload == {"call": "met"}

    asyncio.run(asyncio.wait_for(wait(), 60))


def test_a_row_tells_in_its_log_what_ci_is_doing(
    rdo: Rdo,
    zuul: RecordedZuul,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (build,) = rdo.candidates(1)
    start = entered(rdo, build)
    ran(zuul, start, result=None)
    said = ""

    def heard() -> str:
        nonlocal said
        said += capsys.readouterr().out
        return said

    trigger = JobTrigger(
        terms=make(decides=False).to_json(), job="standalone", build=json.dumps(build.to_json()), since=start
    )

    async def wait() -> None:
        ended = asyncio.create_task(first(trigger))
        while "running in CI (inferred)" not in heard():
            await asyncio.sleep(0.02)
        zuul.down()
        seen = len(zuul.seen)
        while len(zuul.seen) < seen + 4 or "CI does not answer, so votes alone are read" not in heard():
            await asyncio.sleep(0.02)
        assert not ended.done()
        zuul.builds[1] |= zuul_build(2, "standalone", start_time=start + 60, end_time=start + 70)
        zuul.instead = {}
        while "its vote was lost (inferred)" not in heard():
            await asyncio.sleep(0.02)
        assert not ended.done()  # Zuul never satisfies a vote
        with rdo.lab.dlrn_client(ci=True) as ci:
            ci.report_vote(build, "standalone", True, "https://ci/1")
        event = await ended
        assert type(event).__name__ == "TaskSuccessEvent"

    with caplog.at_level(logging.INFO):
        asyncio.run(asyncio.wait_for(wait(), 60))
    assert heard().count("running in CI (inferred)") == 1
    assert heard().count("so votes alone are read: Zuul GET ") == heard().count("CI answers again") == 1
    assert caplog.text.count("going on with votes alone") == 1


def test_the_gates_log_has_the_verbs_table(
    rdo: Rdo, zuul: RecordedZuul, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    (build,) = rdo.candidates(1)
    ran(zuul, entered(rdo, build), result=None)
    services = ConnectionServices("dlrn_centos7_master", rdo.lab.dlrn.repo_url, zuul_conn_id="zuul_rdo")
    log = logging.getLogger("gate")
    with caplog.at_level(logging.INFO, logger="gate"):
        log_why(log, services, make(decides=False), build, decisions=Decisions.NONE, release_jobs=())
        zuul.down()
        log_why(log, services, make(decides=True), build, decisions=Decisions.NONE, release_jobs=())
    table, failed = caplog.messages
    lines = table.splitlines()
    assert lines[:3] == [
        build.short,
        lines[1],
        "  tests: not met, 0 of 1 jobs",
    ]
    assert lines[1].startswith(f"stage upstream: {build.full_hash} ({rdo.candidate_label} since ")
    assert lines[3].split()[:3] == ["!", "running", "standalone"]
    assert failed.startswith(f"{build.short} no table of the jobs: Zuul GET ")


def test_by_hand_a_buildset_decides_as_well(rdo: Rdo, zuul: RecordedZuul) -> None:
    (build,) = rdo.candidates(1)
    uuid = ran(zuul, entered(rdo, build))
    stage = Stage(
        "consistent", {"tests": Criteria(("standalone",))}, buildset_of={"tests": Pipeline(PIPELINE)}
    )
    for result in ("FAILURE", "SUCCESS"):
        zuul.results[uuid] = result
        seen = look_ahead(
            rdo.promotion(build),
            stage,
            rdo,
            Decisions.NONE,
            reads_only=True,
            open_zuul=ZuulHook("zuul_rdo").get_conn,
        )
        assert [each.job for each in seen.verdicts["tests"].results] == ["standalone", END]
        assert seen.verdicts["tests"].met == (result == "SUCCESS")
