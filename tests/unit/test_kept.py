"""What people hold or mark bad: which tasks wait, which end, and what wakes them."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowSkipException,
    DownstreamTasksSkipped,
    TaskDeferred,
)

from rdo_promoter.engine import promote
from rdo_promoter.engine.candidate import CandidateRules
from rdo_promoter.errors import ServiceError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.decisions import Decisions, Held, Lifted, MarkedBad
from rdo_promoter.model.ledger import Planned
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.order import Standing
from rdo_promoter.model.plan import MoveLabel, Plan
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.operators import kept, promotion
from rdo_promoter.operators.candidate import CandidateOperator
from rdo_promoter.operators.hold import HOLDERS, Claim, HoldOperator
from rdo_promoter.operators.promotion import PlanOperator
from rdo_promoter.operators.source import PinBuildOperator
from rdo_promoter.triggers.hold import HoldTrigger
from rdo_promoter.triggers.outcome import Labels
from tests.unit.test_operators import GROUP, KEY, NEW, OLD, OURS, Dlrn, context, made

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
    with pytest.raises(TaskDeferred) as waits:
        task.execute(here)
    named = (
        f"{next(iter(what.values()))} is held by jane since 1970-01-11 10:00:00Z until it is lifted: bug 7"
    )
    assert here["ti"].pushed["reason"] == f"waiting: {named}"
    assert task.services.dlrn.rows == []

    # Woken by mistake it waits again: what the event says decides nothing.
    with pytest.raises(TaskDeferred):
        task.resume(here, {"woken": "nothing is held any more"}, **(waits.value.kwargs or {}))
    lift(entry)
    assert task.resume(here, {}, **(waits.value.kwargs or {}))["moved"]
    assert here["ti"].pushed["reason"] == f"went on, no longer held ({named})"


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


# --- promotions ---


def test_a_promotion_waits_before_it_takes_the_label() -> None:
    held("passed")
    here = context()
    with pytest.raises(TaskDeferred) as waits:
        hold().execute(here)
    assert here["asset_state_store"][HOLDERS] == {}
    trigger = waits.value.trigger
    assert isinstance(trigger, HoldTrigger)
    assert trigger.where == ["dlrn", "https://trunk.example.org/centos7-master", "testing", "passed"]


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
    return made(PlanOperator, coordinates=LABELS, group=GROUP, made_from=MadeFrom("x.yaml", "0" * 64)), here


def test_a_hold_that_comes_later_is_seen_before_the_first_change(monkeypatch: pytest.MonkeyPatch) -> None:
    task, here = plan(monkeypatch)
    assert task.execute(here)["summary"] == "1 DLRN labels to move"
    held(full_hash=NEW.full_hash)
    with pytest.raises(TaskDeferred):
        task.execute(here)
    bad()
    with pytest.raises(AirflowSkipException, match="is marked bad"):
        task.execute(here)


@pytest.mark.parametrize("moved", [(), ("registry rdo: 3 of 4 tags",)])
def test_what_has_begun_to_move_is_completed(monkeypatch: pytest.MonkeyPatch, moved: tuple[str, ...]) -> None:
    """The ledger alone is not believed."""
    task, here = plan(monkeypatch, moved)
    held("passed")
    with pytest.raises(TaskDeferred):
        task.execute(here)  # nobody has planned
    ledger().append(
        Planned(
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
    )
    if moved:
        assert task.execute(here)["summary"] == "1 DLRN labels to move"
    else:
        with pytest.raises(TaskDeferred):
            task.execute(here)


# --- the trigger ---


def trigger(**changes: Any) -> HoldTrigger:
    made = HoldTrigger(
        **{"dag_id": DAG, "label": "passed", "full_hash": NEW.full_hash, "poll": 0.01, **changes}
    )
    path, fields = made.serialize()
    assert path == "rdo_promoter.triggers.hold.HoldTrigger"
    return HoldTrigger(**json.loads(json.dumps(fields)))


async def woken(waits: HoldTrigger) -> Any:
    return await anext(waits.run())


async def still_waits(task: asyncio.Task[Any]) -> None:
    """Give the trigger some polls."""
    await asyncio.wait([task], timeout=0.1)
    assert not task.done()


@pytest.mark.parametrize("then", ["lifted", "marked bad"])
def test_the_trigger_wakes_when_the_hold_is_lifted_or_waiting_is_in_vain(then: str) -> None:
    async def story() -> None:
        entry = held("passed")
        task = asyncio.create_task(woken(trigger()))
        await still_waits(task)
        lift(entry) if then == "lifted" else bad()
        event = await asyncio.wait_for(task, 10)
        assert event.payload["woken"] in ("nothing is held any more", "the build is marked bad")

    asyncio.run(story())


def test_the_trigger_wakes_when_the_hold_expires() -> None:
    async def story() -> None:
        held("passed", expires=int(time.time()) + 2)
        task = asyncio.create_task(woken(trigger()))
        await still_waits(task)
        await asyncio.wait_for(task, 10)

    asyncio.run(story())


def test_a_ledger_that_does_not_answer_frees_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        task = asyncio.create_task(woken(trigger()))
        away = (tmp_path / "ledger").rename(tmp_path / "away")
        await still_waits(task)
        away.rename(tmp_path / "ledger")
        await asyncio.wait_for(task, 10)

    asyncio.run(story())


def test_the_trigger_wakes_when_somebody_else_moves_the_label() -> None:
    waits = trigger(where=["dlrn", "repo", "testing", "passed"], holder=OLD.full_hash)
    nobody = Decisions(holds=(held("passed"),))
    for holder, why in ((None, None), (OLD, None), (NEW, "passed moved")):
        labels = Labels(holder=Standing(holder, 5) if holder else None)
        assert waits.why(nobody, labels) == why
