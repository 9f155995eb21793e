"""Why is a build not promoted: gathered from a real DLRN, beside it a fake Zuul with recorded answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from lab.faults import FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.zuul import ZuulClient
from rdo_promoter.engine.why import Subject, Waiting, newest_candidate, why
from rdo_promoter.errors import ConfigError, NotFoundError, ServiceError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.model.decisions import Decisions, Held, MarkedBad
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.model.votes import VotePolicy
from rdo_promoter.model.waivers import Waiver
from rdo_promoter.model.why import Row, Why
from tests.engine.rdo import Rdo
from tests.recorded.zuul import PIPELINE, TENANT, RecordedZuul
from tests.recorded.zuul import build as zuul_build

pytestmark = pytest.mark.lab

CRITERIA = Criteria(("standalone", "scenario001"), {"scenario001": ("scenario001-internal",)})


@pytest.fixture
def zuul() -> Iterator[RecordedZuul]:
    with RecordedZuul() as server:
        yield server


@pytest.fixture
def ask(rdo: Rdo, zuul: RecordedZuul) -> Callable[..., Why]:
    def ask(build: DlrnHash, decisions: Decisions = Decisions.NONE, **changes: Any) -> Why:
        return why(dataclasses.replace(subject(rdo), **changes), build, rdo.dlrn, client(zuul), decisions)

    return ask


def client(zuul: RecordedZuul) -> Callable[[], ZuulClient]:
    return lambda: ZuulClient(zuul.url, TENANT, retries=0)


def subject(rdo: Rdo) -> Subject:
    return Subject("upstream", rdo.candidate_label, rdo.label, {"tests": Waiting(CRITERIA)})


def vote(rdo: Rdo, build: DlrnHash, jobs: Sequence[str], *, success: bool = True, **more: Any) -> None:
    with rdo.lab.dlrn_client(ci=True) as ci:
        for job in jobs:
            ci.report_vote(build, job, success, **({"url": f"https://ci/{job}"} | more))


def entered(rdo: Rdo, build: DlrnHash) -> int:
    return rdo.dlrn.entries(rdo.candidate_label, build)[0].timestamp


def rows(found: Why) -> dict[str, Row]:
    return {row.job: row for step in found.steps.values() for row in step}


def states(found: Why) -> dict[str, str]:
    return {job: row.state for job, row in rows(found).items()}


def test_earlier_results_are_those_of_the_candidates_before(rdo: Rdo, ask: Callable[..., Why]) -> None:
    *earlier, build, later = rdo.candidates(5)
    for number, candidate in enumerate((*earlier, build, later)):
        vote(rdo, candidate, ["standalone"], success=number != 1)
    found = rows(ask(build))
    assert found["standalone"].results == (True, False, True)
    assert found["scenario001"].results == ()
    assert rows(ask(earlier[2]))["standalone"].results == (False, True)
    assert newest_candidate(rdo.dlrn, subject(rdo)) == later


def test_the_stages_policy_says_which_vote_counts(rdo: Rdo, ask: Callable[..., Why]) -> None:
    old, build = rdo.candidates(2)
    now = rdo.dlrn.now()
    for candidate in (old, build):
        vote(rdo, candidate, ["standalone"], timestamp=now - 60)
        vote(rdo, candidate, ["standalone"], success=False, timestamp=now)
    newest = rows(ask(build))["standalone"]
    assert (newest.state, newest.results) == ("failed", (False,))
    waiting = Waiting(dataclasses.replace(CRITERIA, policy=VotePolicy.ANY_SUCCESS))
    ever = rows(ask(build, waits={"tests": waiting}))["standalone"]
    assert (ever.state, ever.results) == ("passed", (True,))


def test_dlrn_is_asked_a_bounded_number_of_times(rdo: Rdo) -> None:
    build = rdo.candidates(14)[-1]
    with FaultProxy(rdo.lab.dlrn.api_url) as proxy, DlrnClient(proxy.url, rdo.lab.dlrn.repo_url) as dlrn:
        why(subject(rdo), build, dlrn, lambda: pytest.fail("nobody asked for Zuul"), Decisions.NONE)
        assert 8 < len(proxy.seen()) <= 20


def test_what_people_decided_is_in_the_way_or_helps(rdo: Rdo, ask: Callable[..., Why]) -> None:
    other, build = rdo.candidates(2)
    vote(rdo, build, ["scenario001-internal"])
    now = rdo.dlrn.now()
    waiver = Waiver(
        job="standalone", full_hash=other.full_hash, reason="bug", by="rover", expires=now + 600, origin="x"
    )
    found = ask(build, Decisions(waivers=(waiver,)), release_jobs=frozenset(CRITERIA.jobs))
    assert states(found) == {"standalone": "missing", "scenario001": "replaced"}
    assert found.notes == (
        f"waiver of standalone by rover (x) is ignored: it is for another build, {other.full_hash}",
    )
    ours = dataclasses.replace(waiver, full_hash=build.full_hash)
    found = ask(build, Decisions(waivers=(ours,)))
    assert (states(found)["standalone"], found.met) == ("waived", True)

    common: dict[str, Any] = {"dag_id": "d", "at": now, "by": "rover", "via": "airflow", "reason": "bug"}
    hold = Held(**common, label=rdo.label, full_hash=None, expires=None)
    mark = MarkedBad(**common, full_hash=build.full_hash)
    found = ask(build, Decisions((ours,), (hold,), (mark,)))
    assert not found.met
    assert [line.partition(" since ")[0] for line in found.obstacles] == [
        f"{build.full_hash} is marked bad by rover",
        f"{rdo.label} is held by rover",
    ]


def test_a_build_that_was_overtaken_never_tested_or_has_to_soak(rdo: Rdo, ask: Callable[..., Why]) -> None:
    old, new = rdo.candidates(2)
    for build in (old, new):
        vote(rdo, build, CRITERIA.jobs)
    soaking = Waiting(dataclasses.replace(CRITERIA, soak=30 * 86_400))
    assert "it has to be a candidate until" in ask(new, waits={"tests": soaking}).obstacles[0]
    rdo.dlrn.promote(new, rdo.label)
    (line,) = ask(old).obstacles
    assert line.startswith(f"superseded by {new.full_hash}")
    assert ask(new).met
    never = ask(rdo.build())
    assert never.since is None
    assert never.obstacles == (f"it never held {rdo.candidate_label}, so CI has not tested it",)
    with pytest.raises(NotFoundError, match="nothing holds nowhere yet"):
        newest_candidate(rdo.dlrn, dataclasses.replace(subject(rdo), candidate_label="nowhere"))


def test_zuul_tells_what_becomes_of_jobs_without_a_vote(
    rdo: Rdo, zuul: RecordedZuul, ask: Callable[..., Why]
) -> None:
    (build,) = rdo.candidates(1)
    start = entered(rdo, build)
    zuul.builds = [
        zuul_build(1, "promote", start_time=start - 20, end_time=start + 20),
        zuul_build(2, "standalone", start_time=start + 60, result=None, end_time=None),
        zuul_build(3, "other", start_time=start + 60, end_time=start + 90),
    ]
    jobs: list[dict[str, Any]] = [
        {"name": "promote", "uuid": zuul.builds[0]["uuid"]},
        {"name": "scenario001"},
    ]
    item = {"enqueue_time": start * 1000, "jobs": jobs}
    zuul.status = {"pipelines": [{"name": PIPELINE, "change_queues": [{"heads": [[item]]}]}]}
    found = ask(build, pipeline=Pipeline(PIPELINE))
    assert states(found) == {"standalone": "running", "scenario001": "queued"}
    assert all(row.inferred for row in rows(found).values())
    assert (found.unblock, found.rerun) == (("standalone", "scenario001"), ())
    vote(rdo, build, ["other"], url=f"https://logs/x/{zuul.builds[2]['uuid'][:7]}/")
    assert not any(row.inferred for row in rows(ask(build, pipeline=Pipeline(PIPELINE))).values())


def test_zuul_never_satisfies_a_vote(rdo: Rdo, zuul: RecordedZuul, ask: Callable[..., Why]) -> None:
    (build,) = rdo.candidates(1)
    start = entered(rdo, build)
    zuul.builds = [
        zuul_build(1, "promote", start_time=start - 20, end_time=start + 20),
        *(
            zuul_build(n, job, start_time=start + 60, end_time=start + 90)
            for n, job in enumerate(CRITERIA.jobs, 2)
        ),
    ]
    zuul.results[zuul.builds[0]["buildset"]["uuid"]] = "SUCCESS"
    found = ask(build, pipeline=Pipeline(PIPELINE))
    assert states(found) == {"standalone": "lost", "scenario001": "lost"}
    assert not found.met


def test_without_zuul_votes_alone_are_told(rdo: Rdo, zuul: RecordedZuul, ask: Callable[..., Why]) -> None:
    (build,) = rdo.candidates(1)
    vote(rdo, build, CRITERIA.jobs)
    zuul.down()
    found = ask(build, pipeline=Pipeline(PIPELINE))
    assert found.met
    (note,) = found.notes
    assert note.startswith("votes alone are known, CI does not answer: Zuul GET ")

    def nobody() -> ZuulClient:
        raise ConfigError("Connection 'zuul_rdo' does not exist")

    found = why(
        dataclasses.replace(subject(rdo), pipeline=Pipeline(PIPELINE)),
        build,
        rdo.dlrn,
        nobody,
        Decisions.NONE,
    )
    assert found.notes == ("votes alone are known, CI does not answer: Connection 'zuul_rdo' does not exist",)


def test_a_buildset_decides_where_jobs_do_not_vote(
    rdo: Rdo, zuul: RecordedZuul, ask: Callable[..., Why]
) -> None:
    (build,) = rdo.candidates(1)
    start, pipeline = entered(rdo, build), Pipeline(PIPELINE)
    vote(rdo, build, CRITERIA.jobs)
    zuul.builds = [
        zuul_build(1, "promote", start_time=start - 20, end_time=start + 20),
        zuul_build(2, "standalone", start_time=start + 60, end_time=start + 90),
        zuul_build(3, "scenario001", start_time=start + 60, end_time=start + 95),
        zuul_build(4, "more\nof it", start_time=start + 60, end_time=start + 99, result="FAILURE"),
    ]
    uuid, end = zuul.builds[0]["buildset"]["uuid"], f"{PIPELINE}-buildset"
    changes: dict[str, Any] = {"waits": {"tests": Waiting(CRITERIA, pipeline)}, "pipeline": pipeline}

    found = ask(build, **changes)
    assert states(found) == {
        "standalone": "passed",
        "scenario001": "passed",
        r"more\nof it": "failed",
        end: "missing",  # it has not come to its end
    }
    assert (found.met, found.rerun) == (False, ())
    zuul.results[uuid] = "FAILURE"
    assert states(ask(build, **changes))[end] == "failed"
    zuul.results[uuid], zuul.builds[3]["result"] = "SUCCESS", "SUCCESS"
    assert ask(build, **changes).met
    # Votes are no evidence here, and without Zuul nothing is known.
    zuul.builds = zuul.builds[:1]
    assert states(ask(build, **changes))["standalone"] == "missing"
    zuul.down()
    with pytest.raises(ServiceError, match="answered 503"):
        ask(build, **changes)
