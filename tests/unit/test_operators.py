"""Operators with a context made here: who may change a label, what ends how, what survives a clear."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
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
from rdo_promoter.errors import (
    AuthError,
    ConflictError,
    MissingConnectionError,
    ServiceError,
    SupersededError,
)
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.ledger import BY_HAND, Planned, give_up
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.order import Wait
from rdo_promoter.model.plan import MoveLabel, Plan
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.operators.candidate import CandidateOperator
from rdo_promoter.operators.hold import (
    HOLDERS,
    Claim,
    Group,
    HoldOperator,
    holder_key,
    still_works,
)
from rdo_promoter.operators.kept import PatientOperator
from rdo_promoter.operators.promotion import PlanOperator, TagOperator
from rdo_promoter.operators.source import PinBuildOperator, StartStageOperator
from tests.unit.strategies import build_number

GROUP = "upstream.promote"
REPO = "https://trunk.example.org/centos7-master"
KEY = holder_key(REPO, "passed")
THEIRS = Group("centos7-master", "theirs", GROUP)
OURS = Group("centos7-master", "ours", GROUP)
OLD, NEW = build_number(1), build_number(2)


class Store(dict[str, Any]):
    """A state store of Airflow, without the server."""

    def __init__(self, on_set: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.on_set = on_set

    def set(self, key: str, value: object, **_: object) -> None:
        self[key] = json.loads(json.dumps(value))
        self.on_set()

    def delete(self, key: str) -> None:
        self.pop(key, None)


@dataclass
class Ti:
    """A task instance: its XComs, and the states of other runs' groups."""

    pulled: Mapping[tuple[str, str], object] = field(default_factory=dict)
    groups: dict[str, dict[str, str | None]] = field(default_factory=dict)
    pushed: dict[str, object] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    max_tries: int = 2
    try_number: int = 1

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value

    def xcom_pull(self, task_ids: str, key: str = "return_value") -> object:
        return self.pulled.get((task_ids, key))

    def get_dr_count(self, states: list[str], run_ids: list[str] | None = None, **_: object) -> int:
        return sum(state in states for run, state in self.runs.items() if run in (run_ids or self.runs))

    def get_task_states(self, run_ids: list[str], **_: object) -> dict[str, dict[str, str | None]]:
        return {run: self.groups[run] for run in run_ids if run in self.groups}


@dataclass
class Dlrn:
    """A DLRN of two labels, kept in memory: the real one is asked in the tests of the engine."""

    consistent_build: DlrnHash = NEW
    rows: list[PromotionRow] = field(default_factory=list)
    fails: int = 0
    skew: float | None = 0.0

    def consistent(self) -> DlrnHash:
        return self.consistent_build

    def current(self, label: str) -> PromotionRow | None:
        return next((row for row in self.rows if row.label == label), None)

    def entries(self, label: str, build: DlrnHash) -> list[PromotionRow]:
        return [row for row in self.rows if (row.label, row.build) == (label, build)]

    def promotions(self, label: str, limit: int = 100) -> list[PromotionRow]:
        return [row for row in self.rows if row.label == label][:limit]

    def votes(self, _: DlrnHash) -> list[object]:
        return []

    def now(self) -> int:
        return 1_000_000 + len(self.rows)

    def check_may_promote(self, label: str) -> None:
        """Let everybody promote."""

    def promote(self, build: DlrnHash, label: str, *, expected: PromotionRow | None) -> PromotionRow:
        assert expected == self.current(label)
        if self.fails:
            self.fails -= 1
            raise ServiceError("503")
        row = PromotionRow(label, build, self.now(), user="promoter")
        self.rows.insert(0, row)
        return row


def context(ti: Ti | None = None, run_id: str = "ours", run_type: str = "scheduled", **form: object) -> Any:
    ti = ti or Ti()
    ti.pulled = {("source.build", "build"): json.dumps(NEW.to_json()), **ti.pulled}
    return {
        "ti": ti,
        "run_id": run_id,
        "dag_run": SimpleNamespace(run_type=run_type),
        "params": form,
        "task_state_store": Store(),
        "asset_state_store": {HOLDERS: Store()},
    }


def services(dlrn: Any) -> Any:
    facts = {"dlrn_conn_id": "dlrn", "repo_url": REPO, "zuul_conn_id": None}
    return SimpleNamespace(dlrn=dlrn, registries={}, servers={}, **facts)


def made(kind: Any, dlrn: Any = None, **arguments: Any) -> Any:
    return kind(task_id="task", services=services(dlrn or Dlrn()), **arguments)


# --- who may change a label ---


@pytest.fixture(autouse=True)
def _in_a_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (PatientOperator, PinBuildOperator, StartStageOperator):
        monkeypatch.setattr(kind, "dag_id", "centos7-master")


@pytest.fixture(autouse=True)
def _ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))


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


# --- errors become states ---


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ServiceError("registry rdo answered 503"), ServiceError),  # Airflow retries it
        (ConflictError("somebody moved it"), AirflowFailException),  # not retried
        (SupersededError("superseded by x", by="x"), AirflowSkipException),
    ],
)
def test_errors_become_states(
    monkeypatch: pytest.MonkeyPatch, error: Exception, becomes: type[Exception]
) -> None:
    def raise_it(*_: object) -> None:
        raise error

    monkeypatch.setattr(promote, "tag_in", raise_it)
    coordinates = {"label": "passed", "candidate_label": "testing"}
    tag = made(TagOperator, coordinates=coordinates, group=GROUP, registry="rdo")
    here = context(Ti(pulled={(f"{GROUP}.plan", "return_value"): {"was": None}}))
    here["asset_state_store"][HOLDERS][KEY] = Claim(OURS).to_json()
    with pytest.raises(becomes, match=str(error)):
        tag.execute(here)
    assert ("reason" in here["ti"].pushed) is (becomes is not ServiceError)


# --- the build, and its way into CI ---

RULES = CandidateRules("testing", (Wait(Criteria(("build-push",)), 3600),))


def pin(here: Any, dlrn: Dlrn) -> Any:
    operator = made(PinBuildOperator, dlrn, source="consistent", candidate_label="testing")
    operator.execute(here)
    return json.loads(here["ti"].pushed["build"])


def test_a_cleared_run_carries_the_same_build_again() -> None:
    here = context()
    assert pin(here, Dlrn(OLD))["commit_hash"] == OLD.commit_hash
    assert pin(here, Dlrn(NEW))["commit_hash"] == OLD.commit_hash


def test_only_the_clock_finds_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PinBuildOperator, "get_flat_relatives", lambda _: [])
    dlrn = Dlrn(NEW, [PromotionRow("testing", NEW, 5)])
    with pytest.raises(DownstreamTasksSkipped):
        pin(context(), dlrn)
    assert pin(context(run_type="manual"), dlrn)["commit_hash"] == NEW.commit_hash


def test_a_backfill_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(AirflowFailException, match="trigger a run with the hash in its form instead"):
        pin(context(run_type="backfill"), Dlrn())


def candidate(here: Any, dlrn: Dlrn) -> Any:
    return made(CandidateOperator, dlrn, rules=RULES, source="consistent").execute(here)


def test_a_cleared_candidate_takes_up_its_entry() -> None:
    here, dlrn = context(), Dlrn()
    first = candidate(here, dlrn)
    dlrn.rows.insert(0, PromotionRow("testing", OLD, dlrn.now()))
    assert candidate(here, dlrn) == {**first, "moved": False}
    assert len(dlrn.rows) == 2


def test_a_scheduled_run_leaves_a_build_alone_that_somebody_else_gave_to_ci() -> None:
    dlrn = Dlrn(NEW, [PromotionRow("testing", NEW, 5, user="rover")])
    with pytest.raises(AirflowSkipException, match="is in CI already: rover put it there"):
        candidate(context(), dlrn)


def test_an_old_run_that_is_cleared_gives_no_old_build_to_ci() -> None:
    """Its first entry would be younger than that of the newer build, which may be promoted already."""
    newer = build_number(3)
    with pytest.raises(AirflowSkipException, match=f"{newer.full_hash} is consistent by now"):
        candidate(context(), Dlrn(newer))
    assert candidate(context(run_type="manual"), Dlrn(newer))["moved"]


def test_testing_again_survives_an_outage_and_happens_once() -> None:
    dlrn = Dlrn(NEW, [PromotionRow("testing", NEW, 5)], fails=1)
    here = context(run_type="manual", retest=True)
    with pytest.raises(ServiceError):
        candidate(here, dlrn)
    assert candidate(here, dlrn)["moved"]
    assert not candidate(here, dlrn)["moved"]
    assert len(dlrn.rows) == 2


def test_a_dry_run_leaves_no_trace() -> None:
    here, dlrn = context(run_type="manual", dry_run=True), Dlrn()
    assert candidate(here, dlrn)["moved"] is False
    assert dlrn.rows == []
    assert here["task_state_store"] == {}


# --- stages ---


def start(here: Any, dlrn: Dlrn | None = None) -> Any:
    before = {"upstream": "upstream.promote.verify", "phase1": "phase1.promote.verify"}
    return made(
        StartStageOperator, dlrn, stage="phase2", source="current-rdo", before=before, labels=["passed"]
    ).execute(here)


def test_a_stage_that_was_not_chosen_is_left_out() -> None:
    with pytest.raises(AirflowSkipException, match="stage phase2 was not chosen"):
        start(context(stages=["upstream"]))


def test_a_chosen_stage_before_it_that_was_skipped_takes_it_along() -> None:
    """Also in a run that was cleared: the skipped task keeps the XCom of its try before."""
    last = "upstream.promote.verify"
    ti = Ti(groups={"ours": {last: "skipped"}}, pulled={(last, "return_value"): {"label": "passed"}})
    with pytest.raises(AirflowSkipException, match="stage upstream ended as skipped"):
        start(context(ti, stages=["upstream", "phase2"]))
    dlrn = Dlrn(rows=[PromotionRow("current-rdo", NEW, 77)])
    ti.groups["ours"][last] = "success"
    assert start(context(ti, stages=["upstream", "phase2"]), dlrn)["since"] == 77


def test_a_stage_does_not_begin_where_it_is_not_let_in() -> None:
    class Closed(Dlrn):
        def check_may_promote(self, label: str) -> None:
            raise AuthError(f"DLRN refuses to promote to {label}")

    dlrn = Closed(rows=[PromotionRow("current-rdo", NEW, 77)])
    refused = "nothing was changed; 1 problem.*\n  - DLRN refuses to promote to passed"
    with pytest.raises(AirflowFailException, match=refused):
        start(context(stages=["phase2"]), dlrn)


def test_a_stage_begins_though_a_service_is_down_just_now() -> None:
    class Down(Dlrn):
        def check_may_promote(self, label: str) -> None:
            raise ServiceError(f"DLRN gave no answer on {label}")

    dlrn = Down(rows=[PromotionRow("current-rdo", NEW, 77)])
    assert start(context(stages=["phase2"]), dlrn)["notes"] == ["DLRN gave no answer on passed"]


def test_a_clock_that_is_wrong_is_reported() -> None:
    dlrn = Dlrn(rows=[PromotionRow("current-rdo", NEW, 77)], skew=-312.0)
    (note,) = start(context(stages=["phase2"]), dlrn)["notes"]
    assert note == "this machine's clock is 312 s behind DLRN's, by which deadlines go"


def test_a_stage_alone_starts_from_what_holds_its_source() -> None:
    dlrn = Dlrn(rows=[PromotionRow("current-rdo", NEW, 77)])
    here = context(stages=["phase2"])
    assert start(here, dlrn)["since"] == here["ti"].pushed["since"] == 77


def test_a_stage_whose_source_the_build_never_held_says_what_to_run() -> None:
    with pytest.raises(AirflowFailException, match="run the stage that promotes to current-rdo first"):
        start(context(stages=["phase2"]))


@pytest.mark.parametrize("begins", [False, True])
def test_a_connection_that_is_gone_is_a_refusal_only_where_a_stage_begins(begins: bool) -> None:
    """Airflow says the same when its API server or a secrets backend does not answer for a moment."""
    pinned = made(PinBuildOperator, source="consistent", candidate_label="testing")
    task = pinned if begins else made(CandidateOperator, rules=RULES, source="consistent")

    def gone() -> None:
        raise MissingConnectionError("Connection 'dlrn' does not exist: create it")

    here = context()
    with pytest.raises(AirflowFailException if begins else MissingConnectionError, match="create it"):
        task.guarded(here, gone)
    assert here["ti"].pushed == ({"reason": "Connection 'dlrn' does not exist: create it"} if begins else {})
