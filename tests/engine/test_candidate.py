"""The way into CI on a real DLRN and real registries."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest

from lab import dlrn as lab_dlrn
from lab.service import wait_for
from rdo_promoter.engine import promote
from rdo_promoter.engine.candidate import (
    CandidateRules,
    admit,
    look_at_candidate,
    newest_build,
    tag_candidate,
)
from rdo_promoter.errors import PreflightError, SupersededError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.decisions import MarkedBad, Waived, in_force
from rdo_promoter.model.order import Wait
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.model.verdict import Criteria
from tests.engine.rdo import CONTAINERS, Rdo

pytestmark = pytest.mark.lab

DAY = 86_400


def rules(rdo: Rdo, **changes: Any) -> CandidateRules:
    within = changes.pop("within", DAY)
    jobs = (f"{rdo.namespace_}-build", f"{rdo.namespace_}-test")
    return CandidateRules(rdo.candidate_label, (Wait(Criteria(jobs), within),), **changes)


def vote(rdo: Rdo, build: DlrnHash, success: bool = True) -> None:
    for job in rules(rdo).waits[0].criteria.jobs:
        rdo.dlrn.report_vote(build, job, success, "https://logs.example.org/1")


def candidate_promotion(rdo: Rdo, build: DlrnHash) -> Promotion:
    return Promotion(build, rdo.candidate_label, rdo.candidate_label, "rdo", CONTAINERS)


def test_an_idle_ci_takes_a_build(rdo: Rdo) -> None:
    build = rdo.build(extended=True)
    admission = admit(build, rules(rdo), rdo.dlrn)
    assert admission.moved
    assert admission.entry == rdo.dlrn.current(rdo.candidate_label)
    assert rdo.dlrn.label_hash(rdo.candidate_label) == build


def test_a_dry_run_decides_and_changes_nothing(rdo: Rdo) -> None:
    assert admit(rdo.build(), rules(rdo), rdo.dlrn, dry_run=True).moved
    assert rdo.dlrn.current(rdo.candidate_label) is None


def test_a_busy_ci_refuses_and_says_with_what(rdo: Rdo) -> None:
    first, second = rdo.build(), rdo.build()
    admit(first, rules(rdo), rdo.dlrn)
    assert admit(second, rules(rdo), rdo.dlrn).refused == f"CI busy with {first.full_hash}"
    rdo.dlrn.report_vote(first, rules(rdo).waits[0].criteria.jobs[0], True, "https://logs.example.org/1")
    assert admit(second, rules(rdo), rdo.dlrn).refused == f"CI busy with {first.full_hash}"
    assert admit(second, rules(rdo, max_in_ci=2), rdo.dlrn).moved


@pytest.mark.parametrize("success", [True, False])
def test_ci_has_room_again_when_every_job_has_voted(rdo: Rdo, success: bool) -> None:
    first, second = rdo.build(), rdo.build()
    admit(first, rules(rdo), rdo.dlrn)
    vote(rdo, first, success)
    assert admit(second, rules(rdo), rdo.dlrn).moved


def test_ci_has_room_again_when_the_deadline_has_passed(rdo: Rdo) -> None:
    rdo.candidates(1)  # two hours ago
    assert admit(rdo.build(), rules(rdo, within=3600), rdo.dlrn).moved
    refused = admit(rdo.build(), rules(rdo), rdo.dlrn).refused
    assert refused is not None
    assert refused.startswith("CI busy with ")


def test_ci_has_room_again_when_nobody_wants_the_result_any_more(rdo: Rdo) -> None:
    first, second = rdo.build(), rdo.build()
    admit(first, rules(rdo), rdo.dlrn)
    begun, gone = rules(rdo).waits[0].criteria.jobs
    rdo.dlrn.report_vote(first, begun, True, "https://logs.example.org/1")
    common: dict[str, Any] = {
        "dag_id": "d",
        "at": rdo.dlrn.now(),
        "by": "rover",
        "via": "airflow",
        "reason": "bug 7",
    }
    ended = rdo.dlrn.now() + 600
    for waived, room in (
        (Waived(**common, job=gone, full_hash=None, expires=ended), True),
        (Waived(**common, job=gone, full_hash=first.full_hash, expires=ended), True),
        (Waived(**common, job=gone, full_hash=second.full_hash, expires=ended), False),
        (Waived(**common, job=begun, full_hash=None, expires=ended), False),
        (MarkedBad(**common, full_hash=first.full_hash), True),
        (MarkedBad(**common, full_hash=second.full_hash), False),
    ):
        assert admit(second, rules(rdo), rdo.dlrn, in_force([waived]), dry_run=True).moved is room


def test_the_holder_keeps_the_label_and_its_entry(rdo: Rdo) -> None:
    build = rdo.build()
    first = admit(build, rules(rdo), rdo.dlrn)
    assert admit(build, rules(rdo), rdo.dlrn) == dataclasses.replace(first, moved=False)
    assert len(rdo.dlrn.promotions(rdo.candidate_label)) == 1


def test_a_build_of_the_past_keeps_its_entry_unless_it_is_to_be_tested_again(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    admission = admit(old, rules(rdo), rdo.dlrn)
    assert (admission.moved, admission.entry) == (False, rdo.dlrn.entries(rdo.candidate_label, old)[0])
    vote(rdo, new)
    again = admit(old, rules(rdo), rdo.dlrn, again=True)
    assert again.moved
    assert rdo.dlrn.label_hash(rdo.candidate_label) == old


def test_the_holder_itself_can_be_tested_again(rdo: Rdo) -> None:
    """What is wished most often: CI was broken, have it look once more."""
    (build,) = rdo.candidates(1)
    again = admit(build, rules(rdo), rdo.dlrn, again=True)
    assert again.moved
    entries = rdo.dlrn.entries(rdo.candidate_label, build)
    assert (len(entries), entries[0]) == (2, again.entry)
    assert entries[0].timestamp > entries[1].timestamp


def test_being_tested_again_makes_a_build_no_younger(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    vote(rdo, new)
    rdo.ci_builds(new)
    rdo.promote(new)
    admit(old, rules(rdo), rdo.dlrn, again=True)
    with pytest.raises(SupersededError):
        promote.check_order(rdo.promotion(old), rdo)


def test_the_newest_build_is_that_of_the_source_label(rdo: Rdo) -> None:
    old, new = rdo.candidates(label=f"{rdo.namespace_}-source")
    found = newest_build(rdo.dlrn, f"{rdo.namespace_}-source", rdo.candidate_label)
    assert (found.build, found.nothing_new) == (new, None)
    admit(new, rules(rdo), rdo.dlrn)
    again = newest_build(rdo.dlrn, f"{rdo.namespace_}-source", rdo.candidate_label)
    assert again.nothing_new is not None
    assert again.nothing_new.startswith(f"nothing new: {rdo.namespace_}-source is {new.full_hash}, in ")
    assert old != new


def test_a_tick_with_nothing_new_asks_dlrn_at_most_three_times(rdo: Rdo) -> None:
    """`source.build` and `source.holding` together."""
    (build,) = rdo.candidates(1, label=f"{rdo.namespace_}-source")
    admit(build, rules(rdo), rdo.dlrn)
    before = rdo.dlrn.requests_made
    assert newest_build(rdo.dlrn, f"{rdo.namespace_}-source", rdo.candidate_label).nothing_new
    rdo.dlrn.holding()
    assert rdo.dlrn.requests_made - before <= 3


def test_a_source_that_nothing_holds_is_named(rdo: Rdo) -> None:
    with pytest.raises(PreflightError, match=f"nothing holds {rdo.namespace_}-nowhere yet"):
        newest_build(rdo.dlrn, f"{rdo.namespace_}-nowhere", rdo.candidate_label)


@pytest.mark.parametrize(("registry", "push"), [("rdo", False), ("dockerhub", True)])
def test_the_candidates_containers_are_tagged(rdo: Rdo, registry: str, push: bool) -> None:
    build = rdo.build()
    admit(build, rules(rdo), rdo.dlrn)
    rdo.ci_builds(build, images=False)
    done = tag_candidate(candidate_promotion(rdo, build), rdo, registry, push=push)
    assert (done.copied, done.tagged) == (len(CONTAINERS) if push else 0, len(CONTAINERS))
    assert rdo.tags(rdo.candidate_label)[registry] == rdo.tags(build.full_hash)["rdo"]
    assert tag_candidate(candidate_promotion(rdo, build), rdo, registry, push=push).tagged == 0


def test_no_container_is_tagged_when_one_is_missing(rdo: Rdo) -> None:
    build = rdo.build()
    admit(build, rules(rdo), rdo.dlrn)
    rdo.ci_builds(build, images=False)
    wanted = dataclasses.replace(candidate_promotion(rdo, build), containers=(*CONTAINERS, "never-built"))
    with pytest.raises(PreflightError, match="never-built") as refused:
        tag_candidate(wanted, rdo, "rdo", push=False)
    subject = f"{build.full_hash} to {rdo.candidate_label}"
    assert f"{subject} is refused, no tag was moved by this try; 1 problem" in str(refused.value)
    assert rdo.tags(rdo.candidate_label)["rdo"] == dict.fromkeys(CONTAINERS)


def test_tags_stay_when_ci_has_gone_on_to_another_build(rdo: Rdo) -> None:
    first, second = rdo.build(), rdo.build()
    rdo.ci_builds(first, images=False)
    admit(first, rules(rdo), rdo.dlrn)
    admit(second, rules(rdo, max_in_ci=2), rdo.dlrn)
    done = tag_candidate(candidate_promotion(rdo, first), rdo, "dockerhub", push=True)
    assert done.note == f"tags not moved: {rdo.candidate_label} names {second.full_hash} now"
    assert (done.copied, done.tagged) == (len(CONTAINERS), 0)
    assert rdo.tags(rdo.candidate_label)["dockerhub"] == dict.fromkeys(CONTAINERS)


def test_a_dry_run_says_what_would_be_tagged_and_what_is_missing(rdo: Rdo) -> None:
    build = rdo.build()
    promotion = candidate_promotion(rdo, build)
    assert look_at_candidate(promotion, rdo, "rdo").note == f"{len(CONTAINERS)} containers are not in rdo yet"
    rdo.ci_builds(build, images=False)
    would = look_at_candidate(promotion, rdo, "dockerhub")
    assert (would.copied, would.tagged, would.note) == (len(CONTAINERS), len(CONTAINERS), None)
    assert rdo.tags(build.full_hash)["dockerhub"] == dict.fromkeys(CONTAINERS)


def promoted_next_year(rdo: Rdo, label: str, build: DlrnHash) -> None:
    """Leave the row of a DLRN whose clock was a year ahead and has been set back."""
    when = rdo.dlrn.now() + 365 * DAY
    lab_dlrn.add_promotions(rdo.lab.root, [lab_dlrn.PastPromotion(build, label, when)])


def test_a_candidate_of_next_year_keeps_nobody_waiting(rdo: Rdo, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = rdo.build(), rdo.build(), rdo.build()
    promoted_next_year(rdo, rdo.candidate_label, first)
    assert admit(second, rules(rdo, min_gap=3600), rdo.dlrn).moved
    assert f"{first.full_hash} entered {rdo.candidate_label} at " in caplog.text
    assert "it was set back" in caplog.text
    refused = admit(third, rules(rdo), rdo.dlrn).refused
    assert refused == f"CI busy with {second.full_hash}", "the label stands still again for whom it shall"


def test_a_holder_of_next_year_is_a_problem_that_is_told_and_not_the_end_of_all_promotions(rdo: Rdo) -> None:
    holder, ours = rdo.build(), rdo.build()
    promoted_next_year(rdo, rdo.candidate_label, holder)
    rdo.dlrn.promote(holder, rdo.label)
    rdo.dlrn.promote(ours, rdo.candidate_label)
    rdo.ci_builds(ours)
    before = rdo.state()
    with pytest.raises(PreflightError, match="clock was set back and nobody can tell which") as refused:
        promote.preflight(rdo.promotion(ours), rdo)
    (problem,) = refused.value.problems
    assert f"DLRN: {holder.full_hash} has an entry of " in problem
    assert "correct the time of that row in its database" in problem
    assert rdo.state() == before


def test_a_build_of_next_year_does_not_win_by_it_until_it_is_tested_again(rdo: Rdo) -> None:
    ours, holder = rdo.build(), rdo.build()
    promoted_next_year(rdo, rdo.candidate_label, ours)
    rdo.dlrn.promote(holder, rdo.candidate_label)
    rdo.dlrn.promote(holder, rdo.label)
    rdo.ci_builds(ours)
    with pytest.raises(PreflightError, match="'Test again' ticked"):
        promote.preflight(rdo.promotion(ours), rdo)
    wait_for(lambda: rdo.dlrn.now() > rdo.dlrn.entries(rdo.candidate_label, holder)[0].timestamp, "a second")
    assert admit(ours, rules(rdo, max_in_ci=2), rdo.dlrn, again=True).moved
    assert promote.preflight(rdo.promotion(ours), rdo).was == holder


def test_dlrns_clock_is_near_this_machines(rdo: Rdo) -> None:
    """The lab runs here; ages elsewhere compare DLRN's times with DLRN's clock, not with ours."""
    assert abs(rdo.dlrn.now() - time.time()) < 60
