"""Who may change a label: one run at a time, and what survives a clear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
)

from rdo_promoter.engine import promote
from rdo_promoter.errors import (
    ServiceError,
)
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.ledger import BY_HAND, Planned, give_up
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.plan import MoveLabel, Plan
from rdo_promoter.operators.hold import (
    HOLDERS,
    Claim,
    Group,
    HoldOperator,
    still_works,
)
from rdo_promoter.operators.promotion import PlanOperator, TagOperator
from tests.unit.tasks import (
    GROUP,
    KEY,
    NEW,
    OLD,
    OURS,
    THEIRS,
    Dlrn,
    Store,
    Ti,
    context,
    made,
)

pytest_plugins = ["tests.unit.task_fixtures"]
pytestmark = pytest.mark.usefixtures("a_ledger", "in_a_dag")


@pytest.fixture
def hold() -> Any:
    coordinates = {"label": "passed", "candidate_label": "testing"}
    return made(HoldOperator, coordinates=coordinates, group=GROUP)


def holder(here: Any) -> object:
    stored = here["asset_state_store"][HOLDERS].get(KEY)
    return stored["holder"]["run_id"] if stored and stored["holder"] else None


def test_a_label_that_nobody_holds_is_taken(hold: Any) -> None:
    here = context()
    hold.execute(here)
    assert holder(here) == "ours"


@pytest.mark.parametrize(
    "state", ["running", "queued", "scheduled", "up_for_retry", "deferred", "restarting"]
)
def test_a_run_whose_group_works_is_waited_for(hold: Any, state: str) -> None:
    here = context(Ti(groups={"theirs": {f"{GROUP}.hold": "success", f"{GROUP}.dlrn": state}}))
    here["asset_state_store"][HOLDERS][KEY] = Claim(THEIRS).to_json()
    with pytest.raises(AirflowRescheduleException):
        hold.execute(here)
    assert holder(here) == "theirs"


def test_a_run_whose_group_has_ended_or_was_deleted_is_not_waited_for(hold: Any) -> None:
    ended: dict[str, str | None] = {f"{GROUP}.hold": "success", f"{GROUP}.dlrn": "failed"}
    for groups in ({"theirs": ended}, {}):
        here = context(Ti(groups=groups))
        here["asset_state_store"][HOLDERS][KEY] = Claim(THEIRS).to_json()
        hold.execute(here)
        assert holder(here) == "ours"


def test_a_task_cleared_between_the_two_looks_wins(hold: Any) -> None:
    theirs: dict[str, str | None] = {f"{GROUP}.hold": "success", f"{GROUP}.dlrn": "failed"}
    here = context(Ti(groups={"theirs": theirs}))

    def cleared() -> None:
        theirs[f"{GROUP}.dlrn"] = "queued"

    store = here["asset_state_store"][HOLDERS] = Store(on_set=cleared)
    store[KEY] = Claim(THEIRS).to_json()
    with pytest.raises(AirflowRescheduleException):
        hold.execute(here)
    assert holder(here) == "theirs"


def test_a_claim_that_was_cut_off_looks_at_the_former_holder_again(hold: Any) -> None:
    here = context(Ti(groups={"theirs": {f"{GROUP}.hold": "success", f"{GROUP}.dlrn": "running"}}))
    here["asset_state_store"][HOLDERS][KEY] = Claim(OURS, THEIRS).to_json()
    with pytest.raises(AirflowRescheduleException):
        hold.execute(here)
    assert holder(here) == "theirs"


@pytest.mark.parametrize(
    ("states", "works"),
    [
        ({}, False),
        ({"hold": "success", "plan": None}, True),  # under way
        ({"hold": None, "plan": None}, False),  # cleared: it waits for the label like everybody
        ({"hold": "up_for_reschedule", "plan": None}, False),
        ({"hold": "failed", "plan": "upstream_failed"}, False),
        ({"hold": "success", "plan": "skipped", "dlrn": "skipped"}, False),
        ({"hold": None, "plan": "success", "dlrn": "running"}, True),
        (
            {"hold": "success", "plan": "up_for_reschedule", "dlrn": None},
            False,
        ),  # waits for people, not for us
        ({"hold": "success", "plan": "up_for_reschedule", "dlrn": "running"}, True),
    ],
)
def test_whether_a_former_holder_still_works(states: dict[str, str | None], works: bool) -> None:
    assert still_works(states, "hold") is works


def test_a_release_that_was_renamed_waits_for_the_run_under_its_old_name(hold: Any) -> None:
    """The label is the same one."""
    groups: dict[str, str | None] = {"phase.promote.hold": "success", "phase.promote.dlrn": "running"}
    here = context(Ti(groups={"ours": groups}))  # run ids are the same in both Dags on a schedule
    before = Group("centos7-main", "ours", "phase.promote")
    here["asset_state_store"][HOLDERS][KEY] = Claim(before).to_json()
    with pytest.raises(AirflowRescheduleException):
        hold.execute(here)
    assert here["asset_state_store"][HOLDERS][KEY] == Claim(before).to_json()

    # Frozen for good, it is not waited for: no file makes its Dag any more.
    groups["phase.promote.dlrn"] = None
    hold.execute(here)
    assert holder(here) == "ours"


def by_hand(age: int) -> Planned:
    fields: dict[str, Any] = {"dag_id": "centos7-master", "label": "passed", "build": OLD, "was": None}
    fields |= {"by": "ada@desk", "via": "command line", "file": "releases/master.yaml", "digest": "0" * 64}
    plan = Planned(**fields, at=Dlrn().now() - age, summary="1 tag to move")
    ledger().append(plan)
    return plan


def test_a_promotion_on_the_command_line_is_waited_for(hold: Any) -> None:
    by_hand(age=60)
    here = context()
    with pytest.raises(AirflowRescheduleException):
        hold.execute(here)
    assert holder(here) is None


def test_a_promotion_on_the_command_line_that_was_killed_stops_nobody_for_ever(hold: Any) -> None:
    by_hand(age=BY_HAND)
    here = context()
    hold.execute(here)
    assert holder(here) == "ours"


def test_a_promotion_on_the_command_line_that_begins_behind_hold_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path))
    coordinates = {"label": "passed", "candidate_label": "testing"}
    plan = made(PlanOperator, coordinates=coordinates, group=GROUP, made_from=MadeFrom("x.yaml", "0" * 64))
    plan.services.dlrn_conn_id = "dlrn"
    here = context()
    here["asset_state_store"][HOLDERS][KEY] = Claim(OURS).to_json()
    changes = Plan(labels=(MoveLabel("passed", NEW, None),))

    def preflight(*_: object) -> promote.Preflight:
        by_hand(age=0)
        return promote.Preflight(changes, None)

    monkeypatch.setattr(promote, "preflight", preflight)
    with pytest.raises(AirflowRescheduleException):
        plan.execute(here)
    # Whoever planned by hand a moment later sees this plan in turn.
    assert {fact.via for fact in ledger().unfinished()} == {"airflow", "command line"}


def test_a_label_that_was_taken_over_on_the_command_line_is_left_alone_by_tasks_that_wake_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = []
    monkeypatch.setattr(promote, "tag_in", lambda *_: moved.append("tags"))
    coordinates = {"label": "passed", "candidate_label": "testing"}
    tag = made(TagOperator, coordinates=coordinates, group=GROUP, registry="rdo")
    here = context(Ti(pulled={(f"{GROUP}.plan", "return_value"): {"was": None}}))
    here["asset_state_store"][HOLDERS][KEY] = Claim(OURS).to_json()
    plan = by_hand(age=60)
    with pytest.raises(AirflowRescheduleException):
        tag.execute(here)
    assert moved == []
    ledger().append(give_up(plan, "stopped", at=plan.at, by=plan.by, via=plan.via))
    tag.execute(here)
    assert moved == ["tags"]


@pytest.mark.parametrize(("state", "works"), [("running", True), ("queued", True), ("failed", False)])
def test_the_sentinel_at_work_is_waited_for(hold: Any, state: str, works: bool) -> None:
    sentinel = Group("promotions-sentinel", "theirs", "unfinished")
    here = context(Ti(groups={"theirs": {"releases": "success", "unfinished": state}}))
    here["asset_state_store"][HOLDERS][KEY] = Claim(sentinel).to_json()
    if works:
        with pytest.raises(AirflowRescheduleException):
            hold.execute(here)
    else:
        hold.execute(here)
    assert holder(here) == ("theirs" if works else "ours")


def test_without_the_ledger_nobody_holds_a_label(hold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", "/nowhere/ledger")
    here = context()
    with pytest.raises(ServiceError, match="create that folder once, or mount it"):
        hold.execute(here)
    assert holder(here) is None


def test_a_task_of_a_run_that_does_not_hold_the_label_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("changed something")

    monkeypatch.setattr(promote, "tag_in", refuse)
    coordinates = {"label": "passed", "candidate_label": "testing"}
    tag = made(TagOperator, coordinates=coordinates, group=GROUP, registry="rdo")
    here = context()
    here["asset_state_store"][HOLDERS][KEY] = Claim(THEIRS).to_json()
    with pytest.raises(
        AirflowFailException,
        match=f"passed is held by theirs of centos7-master: clear the whole group {GROUP}",
    ):
        tag.execute(here)
