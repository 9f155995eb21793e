"""Operators with a context made here: errors, the way into CI, and how stages begin."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
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
from rdo_promoter.model.order import Wait
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.operators.candidate import CandidateOperator
from rdo_promoter.operators.hold import (
    HOLDERS,
    Claim,
)
from rdo_promoter.operators.promotion import TagOperator
from rdo_promoter.operators.source import PinBuildOperator, StartStageOperator
from tests.unit.strategies import build_number
from tests.unit.tasks import (
    GROUP,
    KEY,
    NEW,
    OLD,
    OURS,
    Dlrn,
    Ti,
    context,
    made,
)

pytest_plugins = ["tests.unit.task_fixtures"]
pytestmark = pytest.mark.usefixtures("a_ledger", "in_a_dag")


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
