"""The approve step: what asks, what an answer does, and what closes the question."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from rdo_promoter.errors import ServiceError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.decisions import Answer, Answered, MarkedBad
from rdo_promoter.model.order import Standing
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.operators import approve, question
from rdo_promoter.operators.approve import ApproveOperator
from rdo_promoter.operators.question import Question
from rdo_promoter.release import load_release
from rdo_promoter.steps import Approve
from rdo_promoter.triggers import feeds
from rdo_promoter.triggers.approval import ApprovalTrigger
from rdo_promoter.triggers.outcome import Labels, Votes
from tests.unit.releases import GOOD, problems, write
from tests.unit.strategies import build_number
from tests.unit.tasks import NEW, Ti, context
from tests.unit.terms import terms

DAG, TASK, NOW = "centos7-test", "upstream.approve", 2_000_000
TERMS = terms(jobs=(), gate=TASK)


class World:
    """What DLRN says, kept in memory, and the questions that were asked."""

    def __init__(self) -> None:
        self.now = NOW
        self.labels = Labels()
        self.silent: Exception | None = None
        self.asked: list[Question] = []

    def votes(self, *_: object) -> Any:
        def ask() -> Votes:
            if self.silent:
                raise self.silent
            return Votes((), self.now, Standing(NEW, 5))

        return SimpleNamespace(ask=ask, close=lambda: None)

    def who(self, *_: object) -> Any:
        return SimpleNamespace(ask=lambda: self.labels, close=lambda: None)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    world = World()
    monkeypatch.setattr(approve, "VotesSource", world.votes)
    monkeypatch.setattr(feeds, "votes_source", world.votes)
    for module in (approve, feeds):
        monkeypatch.setattr(module, "LabelsSource", world.who)
    monkeypatch.setattr(question, "ask", lambda _, question: world.asked.append(question))
    return world


def operator() -> Any:
    return ApproveOperator(
        task_id=TASK,
        services=SimpleNamespace(),  # asked for nothing
        text="Look at the **dashboard**",
        users=["jane"],
        terms=TERMS,
        since="1999000",
    )


def answer(option: Answer, reason: str | None = None) -> dict[str, Any]:
    return {
        "chosen_options": [str(option)],
        "params_input": {"reason": reason},
        "responded_by_user": {"id": "jane", "name": "jane"},
        "responded_at": datetime.fromtimestamp(NOW + 60, UTC).isoformat(),
    }


def bad() -> None:
    ledger().append(
        MarkedBad(dag_id=DAG, at=NOW, by="joe", via="airflow", reason="bug", full_hash=NEW.full_hash)
    )


def test_it_asks_and_waits_and_an_approval_is_written_down(world: World) -> None:
    here, task = context(), operator()
    with pytest.raises(TaskDeferred) as waits:
        task.execute(here)
    (question,) = world.asked
    assert question.users == ("jane",)
    assert question.answers == (Answer.APPROVE, Answer.REJECT)
    assert "Look at the **dashboard**" in question.body
    assert "Without an answer within 1 h it is not approved" in question.body
    result = task.execute_complete(here, answer(Answer.APPROVE, " fine\n"), **(waits.value.kwargs or {}))
    assert (result["approved_by"], result["reason"]) == ("jane", "fine")
    (entry,) = ledger().decisions(DAG)
    assert isinstance(entry, Answered)
    assert (entry.by, entry.run_id, entry.task_id) == ("jane", "ours", TASK)
    assert (entry.answer, entry.full_hash, entry.question) == (
        Answer.APPROVE,
        NEW.full_hash,
        "Look at the **dashboard**",
    )
    # A retry of the same run asks nobody again; another run does.
    assert task.execute(context())["approved_by"] == "jane"
    with pytest.raises(TaskDeferred):
        task.execute(context(run_id="another"))


def test_a_rejection_ends_the_build_and_a_cleared_task_asks_again(world: World) -> None:
    task = operator()
    with pytest.raises(AirflowFailException, match="is not approved: jane decided so: too slow"):
        task.execute_complete(context(), answer(Answer.REJECT, "too slow"), until=NOW)
    assert [entry.reason for entry in ledger().decisions(DAG)] == ["too slow"]
    with pytest.raises(TaskDeferred):
        task.execute(context())
    assert len(world.asked) == 1


def test_airflows_own_retries_neither_forget_an_answer_nor_ask_again(world: World) -> None:
    task, here = operator(), context()
    with pytest.raises(TaskDeferred) as first:
        task.execute(here)
    with pytest.raises(TaskDeferred) as second:
        task.execute(here)
    assert second.value.kwargs == first.value.kwargs
    assert len(world.asked) == 1
    with pytest.raises(AirflowFailException, match="jane decided so: too slow"):
        task.execute_complete(here, answer(Answer.REJECT, "too slow"), **(second.value.kwargs or {}))
    with pytest.raises(AirflowFailException, match="jane decided so: too slow"):
        task.execute(here)
    assert len(world.asked) == 1
    here["ti"].max_tries += 3  # as a person's clear does
    with pytest.raises(TaskDeferred):
        task.execute(here)
    assert len(world.asked) == 2


def test_without_an_answer_it_is_not_approved(world: World) -> None:
    with pytest.raises(AirflowFailException, match="nobody has approved it until 1970-01-24 03:33:20Z"):
        operator().execute_complete(context(), {"closed": True}, until=world.now)
    assert ledger().decisions(DAG) == []


def test_a_question_that_was_closed_by_what_is_no_more_stays_open(world: World) -> None:
    """A mark that was lifted: what the trigger saw is no more, and the time is not over."""
    with pytest.raises(TaskDeferred) as waits:
        operator().execute_complete(context(), {"closed": True}, until=world.now + 1)
    assert waits.value.kwargs == {"until": world.now + 1}


def test_a_service_that_does_not_answer_when_the_time_is_over_does_not_grant_it_again(world: World) -> None:
    world.silent = ServiceError("DLRN does not answer")
    with pytest.raises(TaskDeferred) as waits:
        operator().execute_complete(context(), {"closed": True}, until=world.now)
    assert waits.value.kwargs == {"until": world.now}
    assert world.asked == []


@pytest.mark.parametrize("event", [{"closed": True}, answer(Answer.APPROVE)])
def test_a_build_that_nobody_can_save_ends_as_skipped_whatever_was_answered(
    world: World, event: dict[str, Any]
) -> None:
    world.labels = Labels(holder=Standing(build_number(7), 9))
    ti = Ti()
    with pytest.raises(AirflowSkipException, match="superseded by"):
        operator().execute_complete(context(ti), event, until=NOW)
    assert str(ti.pushed["reason"]).startswith("superseded by")


def test_a_bad_build_is_not_asked_about(world: World) -> None:
    bad()
    with pytest.raises(AirflowSkipException, match="is marked bad by joe"):
        operator().execute(context())
    assert world.asked == []


def test_a_dry_run_asks_nothing(world: World) -> None:
    assert operator().execute(context(dry_run=True)) == {"dry_run": True}
    assert world.asked == []


@pytest.mark.usefixtures("world")
def test_without_the_ledger_nothing_is_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", "/nowhere/ledger")
    with pytest.raises(ServiceError, match="create that folder once"):
        operator().execute_complete(context(), answer(Answer.APPROVE), until=NOW)


@pytest.mark.parametrize("then", ["bad", "late"])
def test_the_question_closes_by_itself(world: World, then: str) -> None:
    quick = {**TERMS.to_json(), "poll": 0.01}
    made = ApprovalTrigger(terms=quick, build=NEW.to_json(), since=5, until=NOW + 60)
    path, fields = made.serialize()
    assert path == "rdo_promoter.triggers.approval.ApprovalTrigger"

    async def story() -> None:
        events = ApprovalTrigger(**json.loads(json.dumps(fields))).run()
        task = asyncio.ensure_future(anext(events))
        await asyncio.wait([task], timeout=0.1)
        assert not task.done()
        if then == "bad":
            bad()
        else:
            world.now += 60
        assert (await asyncio.wait_for(task, 10)).payload == {"closed": True}

    asyncio.run(story())


# --- the release file ---

STEP = "- approve: {text: Look at it, users: [jane], within: 8h}\n      - promote:"


def test_it_may_stand_before_a_promotion_and_replaces_no_votes(tmp_path: Path) -> None:
    release = load_release(write(tmp_path, GOOD.replace("- promote:", STEP, 1)))
    step = next(step for step in release.stages[0].steps if isinstance(step, Approve))
    assert (step.text, step.users, step.within) == ("Look at it", ("jane",), 8 * 3600)
    assert step.describe() == "asks jane for an approval, for 8h"
    assert not step.decides
    assert TERMS.criteria == Criteria(())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{text: ' '}", "this is empty: write what a person has to look at"),
        ("{users: [jane]}", "text"),
        ("{text: x, users: [jane, jane]}", "jane is listed more than once"),
        ("{text: x, users: [' ']}", "write the id of an account"),
        ("{text: x, within: 5}", "5 is no duration"),
    ],
)
def test_a_step_that_cannot_be_used_is_refused(tmp_path: Path, step: str, said: str) -> None:
    text = GOOD.replace("- promote:", f"- approve: {step}\n      - promote:", 1)
    assert any(said in line for line in problems(write(tmp_path, text)))
