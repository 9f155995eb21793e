"""What people hold or mark bad: which tasks wait, and which end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    DownstreamTasksSkipped,
)

from rdo_promoter.engine import promote
from rdo_promoter.engine.candidate import CandidateRules
from rdo_promoter.errors import ServiceError, SupersededError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.decisions import Held, Lifted, MarkedBad, Waived
from rdo_promoter.model.ledger import Planned
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.order import Wait
from rdo_promoter.model.plan import MoveLabel, Plan
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.operators import kept, promotion
from rdo_promoter.operators.candidate import CandidateOperator
from rdo_promoter.operators.hold import HOLDERS, Claim, HoldOperator
from rdo_promoter.operators.promotion import PlanOperator
from rdo_promoter.operators.source import PinBuildOperator
from tests.unit.tasks import GROUP, KEY, NEW, OLD, OURS, Dlrn, context, made

pytestmark = pytest.mark.usefixtures("_world")

DAG = "centos7-master"
LABELS = {"label": "passed", "candidate_label": "testing"}


@pytest.fixture
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    for kind in (kept.PatientOperator, PinBuildOperator):
        monkeypatch.setattr(kind, "dag_id", DAG)
    monkeypatch.setattr(PinBuildOperator, "get_flat_relatives", lambda _: [])


def held(label: str | None = None, full_hash: str | None = None, expires: int | None = None) -> Held:
    entry = Held(
        dag_id=DAG,
        at=900_000,
        by="jane",
        via="airflow",
        reason="bug 7",
        label=label,
        full_hash=full_hash,
        expires=expires,
    )
    ledger().append(entry)
    return entry


def bad() -> None:
    ledger().append(
        MarkedBad(dag_id=DAG, at=900_000, by="jane", via="airflow", reason="bug 8", full_hash=NEW.full_hash)
    )


def lift(entry: Held) -> None:
    ledger().append(
        Lifted(dag_id=DAG, at=950_000, by="joe", via="airflow", reason="mended", lifts=entry.name)
    )


def candidate() -> Any:
    return made(CandidateOperator, Dlrn(), rules=CandidateRules("testing", ()), source="consistent", poll=5)


def pin() -> Any:
    return made(PinBuildOperator, Dlrn(), source="consistent", candidate_label="testing")


def hold() -> Any:
    return made(HoldOperator, coordinates=LABELS, group=GROUP)


# --- CI ---


@pytest.mark.parametrize("what", [{"label": "testing"}, {"full_hash": NEW.full_hash}])
def test_a_run_that_a_person_started_waits_and_goes_on_when_the_hold_is_lifted(what: dict[str, Any]) -> None:
    entry, task, here = held(**what), candidate(), context(run_type="manual")
    # Not deferred: of these tasks one may be active at a time, and Airflow counts a deferred one.
    with pytest.raises(AirflowRescheduleException):
        task.execute(here)
    named = (
        f"{next(iter(what.values()))} is held by jane since 1970-01-11 10:00:00Z until it is lifted: bug 7"
    )
    assert here["ti"].pushed["reason"] == f"waiting: {named}"
    assert task.services.dlrn.rows == []
    lift(entry)
    assert task.execute(here)["moved"]


@pytest.mark.parametrize(("since", "pause"), [(1_000_000, 60), (998_800, 60), (994_000, 300), (900_000, 600)])
def test_what_is_held_for_long_is_looked_at_less_often(since: int, pause: float) -> None:
    entry = dataclasses.replace(held("passed"), at=since)
    assert kept.Kept(None, (entry,)).pause(60, now=1_000_000) == pause


def test_other_labels_other_builds_and_expired_holds_keep_nobody() -> None:
    held("passed")
    held(full_hash=OLD.full_hash)
    held("testing", expires=999_999)
    assert candidate().execute(context(run_type="manual"))["moved"]
    assert pin().execute(context())["full_hash"] == NEW.full_hash


def test_a_scheduled_run_does_not_wait_the_next_one_looks_again() -> None:
    entry = held("testing")
    for task in (pin(), candidate()):
        here = context()
        with pytest.raises((DownstreamTasksSkipped, AirflowSkipException)):
            task.execute(here)
        assert str(here["ti"].pushed["reason"]).endswith("bug 7; the next scheduled run looks again")
    lift(entry)
    here = context()
    assert pin().execute(here)["full_hash"] == NEW.full_hash
    assert candidate().execute(here)["moved"]


def test_a_bad_build_is_not_taken_by_the_clock_and_gets_no_label_from_anybody() -> None:
    bad()
    here = context()
    with pytest.raises(DownstreamTasksSkipped):
        pin().execute(here)
    assert f"{NEW.full_hash} is marked bad by jane" in str(here["ti"].pushed["reason"])
    assert pin().execute(context(run_type="manual"))["full_hash"] == NEW.full_hash
    for run_type in ("manual", "scheduled"):
        with pytest.raises(AirflowSkipException, match="is marked bad by jane since"):
            candidate().execute(context(run_type=run_type))
    with pytest.raises(AirflowSkipException, match="is marked bad"):
        hold().execute(context(run_type="manual"))


def test_a_build_that_is_in_ci_already_is_not_kept_back() -> None:
    held("testing")
    task = candidate()
    task.services.dlrn.rows.append(PromotionRow("testing", NEW, 5))
    assert task.execute(context(run_type="manual"))["moved"] is False


def test_a_dry_run_says_what_would_keep_it_and_goes_on() -> None:
    held("testing")
    here = context(run_type="manual", dry_run=True)
    assert candidate().execute(here)["moved"] is False
    assert hold().execute(context(run_type="manual", dry_run=True)) == {"dry_run": True}


@pytest.mark.parametrize("make", [pin, candidate, hold])
def test_without_the_ledger_nobody_goes_on(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", "/nowhere/ledger")
    with pytest.raises(ServiceError, match="create that folder once"):
        make().execute(context())


RULES = CandidateRules("testing", (Wait(Criteria(("build-push",)), 3600),))


def admitted(**changes: Any) -> Any:
    """Return a candidate step's operator while CI works on another build."""
    dlrn = Dlrn(NEW, [PromotionRow("testing", OLD, 1_000_000)])
    return made(CandidateOperator, dlrn, rules=RULES, source="consistent", **changes)


def test_what_is_waived_makes_room_in_ci() -> None:
    with pytest.raises(AirflowSkipException, match=f"CI busy with {OLD.full_hash}"):
        admitted().execute(context())
    waiver: dict[str, Any] = {"job": "build-push", "full_hash": None, "expires": 1_000_100}
    ledger().append(Waived(dag_id=DAG, at=900_000, by="jane", via="airflow", reason="bug 9", **waiver))
    assert admitted().execute(context())["moved"]


def test_without_the_reviewed_waivers_nobody_knows_whether_ci_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDO_PROMOTER_RELEASES", str(tmp_path))
    here, task = context(), admitted(waivers_file="waivers/gone.yaml")
    with pytest.raises(ServiceError, match="the reviewed waivers cannot be used"):
        task.execute(here)
    assert len(task.services.dlrn.rows) == 1
    assert here["task_state_store"] == {}


# --- promotions ---


def test_a_promotion_waits_before_it_takes_the_label() -> None:
    held("passed")
    here = context()
    with pytest.raises(AirflowRescheduleException):
        hold().execute(here)
    assert here["asset_state_store"][HOLDERS] == {}


def plan(monkeypatch: pytest.MonkeyPatch, moved: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """Return a plan's operator and a context in which its run is the holder.

    :param moved: what is seen on registries and servers; a fake stands for them.
    """
    monkeypatch.setattr(kept, "observe", lambda *_, **__: None)
    monkeypatch.setattr(kept, "moved_so_far", lambda *_: moved)
    found = promote.Preflight(Plan(labels=(MoveLabel("passed", NEW, None),)), None)
    monkeypatch.setattr(promote, "preflight", lambda *_: found)
    monkeypatch.setattr(promotion, "write_recipe", lambda *_: "{}")
    here = context()
    here["asset_state_store"][HOLDERS][KEY] = Claim(OURS).to_json()
    return plan_alone(), here


def plan_alone() -> Any:
    return made(PlanOperator, coordinates=LABELS, group=GROUP, made_from=MadeFrom("x.yaml", "0" * 64))


def planned() -> Planned:
    return Planned(
        dag_id=DAG,
        label="passed",
        build=NEW,
        at=900_001,
        by="ours",
        via="airflow",
        file="x.yaml",
        digest="0" * 64,
        was=None,
        summary="4 tags to move",
    )


def test_a_hold_that_comes_later_is_seen_before_the_first_change(monkeypatch: pytest.MonkeyPatch) -> None:
    task, here = plan(monkeypatch)
    assert task.execute(here)["summary"] == "1 DLRN labels to move"
    held(full_hash=NEW.full_hash)
    with pytest.raises(AirflowRescheduleException):
        task.execute(here)
    bad()
    with pytest.raises(AirflowSkipException, match="is marked bad"):
        task.execute(here)


@pytest.mark.parametrize("moved", [(), ("registry rdo: 3 of 4 tags",)])
def test_what_has_begun_to_move_is_completed(monkeypatch: pytest.MonkeyPatch, moved: tuple[str, ...]) -> None:
    """The ledger alone is not believed."""
    task, here = plan(monkeypatch, moved)
    held("passed")
    with pytest.raises(AirflowRescheduleException):
        task.execute(here)  # nobody has planned
    ledger().append(planned())
    if moved:
        assert task.execute(here)["summary"] == "1 DLRN labels to move"
    else:
        with pytest.raises(AirflowRescheduleException):
            task.execute(here)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("make", [hold, plan_alone])
def test_superseded_with_labels_that_have_moved_calls_a_person(
    monkeypatch: pytest.MonkeyPatch, make: Any, begun: bool
) -> None:
    """Skipped, nobody would look, and readers would find two builds under one label."""

    def superseded(*_: object) -> None:
        raise SupersededError(f"superseded by {OLD.full_hash}", by=OLD.full_hash)

    monkeypatch.setattr(promote, "check_order", superseded)
    monkeypatch.setattr(kept, "observe", lambda *_, **__: None)
    monkeypatch.setattr(kept, "moved_so_far", lambda *_: ("registry rdo: 3 of 4 tags",))
    here = context()
    if not begun:
        with pytest.raises(AirflowSkipException, match="superseded by"):
            make().execute(here)
        return
    ledger().append(planned())
    with pytest.raises(AirflowFailException, match="registry rdo: 3 of 4 tags"):
        make().execute(here)
    said = str(here["ti"].pushed["reason"])
    assert said.endswith(f"Promote {OLD.full_hash} in this Dag, which takes these along")
