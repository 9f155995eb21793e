"""The gate's operator: what it decides when it is woken, what it asks, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from rdo_promoter.errors import ServiceError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.decisions import Answer, Answered, Doomed, Waived
from rdo_promoter.model.order import Standing
from rdo_promoter.model.votes import Vote
from rdo_promoter.operators import gate, question
from rdo_promoter.operators.gate import GateOperator
from rdo_promoter.operators.question import Question
from rdo_promoter.triggers.outcome import Labels, Votes
from tests.unit.strategies import build_number
from tests.unit.tasks import NEW, Ti, context
from tests.unit.terms import WITHIN, terms

DAG, GATE, SINCE = "centos7-test", "upstream.wait_for.gate", 2_000_000
LATE = SINCE + WITHIN
BUG = "https://bugs.launchpad.net/bugs/1800000"


class World:
    """What DLRN says, kept in memory; the questions that were asked, and how often the table was printed."""

    def __init__(self) -> None:
        self.now = SINCE + 60
        self.labels = Labels()
        self.votes: list[Vote] = []
        self.silent: Exception | None = None
        self.asked: list[Question] = []
        self.tables = 0

    def vote(self, job: str, success: bool) -> None:
        self.votes.append(Vote(job, success, self.now + len(self.votes), f"https://logs/{job}"))

    def votes_of(self, *_: object) -> Any:
        def ask() -> Votes:
            if self.silent:
                raise self.silent
            return Votes(tuple(self.votes), self.now, Standing(NEW, SINCE), "https://dlrn/votes")

        return SimpleNamespace(ask=ask)

    def who(self, *_: object) -> Any:
        return SimpleNamespace(ask=lambda: self.labels)

    def explain(self, *_: object, **__: object) -> None:
        self.tables += 1

    def gate(self, **changes: Any) -> GateOperator:
        return GateOperator(
            task_id=GATE,
            services=SimpleNamespace(dlrn=SimpleNamespace(now=lambda: self.now)),
            terms=terms(**{"jobs": ("a", "b"), "gate": GATE, "ask": True, **changes}),
            release_jobs=("a", "b"),
            since=str(SINCE),
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    world = World()
    monkeypatch.setattr(gate, "votes_source", world.votes_of)
    monkeypatch.setattr(gate, "LabelsSource", world.who)
    monkeypatch.setattr(gate, "log_why", world.explain)
    monkeypatch.setattr(question, "ask", lambda _, question: world.asked.append(question))
    return world


def waits(act: Callable[[], object]) -> dict[str, Any]:
    """Return with what the task goes on after having waited."""
    with pytest.raises(TaskDeferred) as deferred:
        act()
    return dict(deferred.value.kwargs or {})


def answer(option: Answer, **form: object) -> dict[str, Any]:
    return {
        "chosen_options": [str(option)],
        "params_input": form,
        "responded_by_user": {"id": "jane", "name": "jane"},
        "responded_at": "1970-01-24T04:33:20+00:00",
    }


def written(kind: type) -> list[Any]:
    return [entry for entry in ledger().decisions(DAG) if isinstance(entry, kind)]


def test_it_waits_for_votes_and_lets_the_build_through(world: World) -> None:
    task, here = world.gate(), context()
    world.vote("a", True)
    later = waits(lambda: task.execute(here))
    world.vote("b", True)
    result = task.execute_complete(here, {"call": "met"}, **later)
    assert result == {"met": True, "summary": "2 of 2 jobs passed", "waived": []}
    assert (world.asked, world.tables) == ([], 0)


def test_a_service_that_does_not_answer_costs_no_try(world: World) -> None:
    """A gate waits for days: its tries would be spent on nine short outages."""
    task, here = world.gate(), context()
    world.now = LATE
    later = waits(lambda: task.execute(here))
    world.silent = ServiceError("DLRN does not answer")
    assert waits(lambda: task.execute_complete(here, {"call": "again"}, **later)) == later
    with pytest.raises(ServiceError):
        task.execute(context(dry_run=True))


def test_too_late_it_asks_and_an_answer_waives_what_the_question_names(world: World) -> None:
    task, here = world.gate(), context()
    world.vote("a", True)
    world.now = LATE
    later = waits(lambda: task.execute(here))
    assert [asked.subject for asked in world.asked] == [f"{NEW.full_hash}: 1 of 2 jobs have not passed"]
    assert world.tables == 1
    # Votes are still read: nothing is said or asked again.
    assert waits(lambda: task.execute_complete(here, {"call": "again"}, **later)) == later
    assert (len(world.asked), world.tables) == (1, 1)
    result = task.execute_complete(here, answer(Answer.WAIVE, reason=BUG), **later)
    assert result is not None
    assert result["met"]
    (waiver,) = written(Waived)
    assert (waiver.job, waiver.full_hash, waiver.by, waiver.reason) == ("b", NEW.full_hash, "jane", BUG)
    (entry,) = written(Answered)
    assert (entry.answer, entry.by, entry.run_id, entry.task_id) == (Answer.WAIVE, "jane", "ours", GATE)


@pytest.mark.parametrize(
    "nonsense",
    [
        answer(Answer.WAIVE),
        answer(Answer.WAIVE, reason="flaky"),
        answer(Answer.WAIT, hours="x"),
        answer(Answer.WAIT, hours=2_000_000),
    ],
)
def test_an_answer_that_does_not_count_leaves_nothing_and_it_asks_again(
    world: World, nonsense: dict[str, Any]
) -> None:
    task, here = world.gate(), context()
    world.now = LATE
    later = waits(lambda: task.execute(here))
    assert waits(lambda: task.execute_complete(here, nonsense, **later))["asked"]["jobs"] == ["a", "b"]
    assert len(world.asked) == 2
    assert ledger().decisions(DAG) == []


def test_waiting_on_moves_the_deadline_and_then_it_asks_again(world: World) -> None:
    task, here = world.gate(), context()
    world.now = LATE
    later = waits(lambda: task.execute(here))
    later = waits(lambda: task.execute_complete(here, answer(Answer.WAIT, hours=2), **later))
    assert later["asked"]["jobs"] == []
    assert [entry.until for entry in written(Answered)] == [LATE + 7_200]
    world.now = LATE + 7_200
    later = waits(lambda: task.execute_complete(here, {"call": "late"}, **later))
    assert later["asked"]["jobs"] == ["a", "b"]
    assert len(world.asked) == 2


def test_a_deadline_that_moves_while_the_question_is_open_is_waited_for(world: World) -> None:
    """The release file was edited, or another run of the build waits on."""
    here = context()
    world.now = LATE
    later = waits(lambda: world.gate().execute(here))
    longer = world.gate(within=WITHIN + 2 * 86_400)
    assert waits(lambda: longer.execute_complete(here, {"call": "late"}, **later)) == {
        "asked": {"jobs": ["a", "b"], "until": SINCE + WITHIN + 2 * 86_400}
    }


def test_who_gives_the_build_up_ends_it_until_a_person_clears_the_gate(world: World) -> None:
    task, here = world.gate(), context()
    world.now = LATE
    later = waits(lambda: task.execute(here))
    with pytest.raises(AirflowFailException, match="is not promoted, as jane decided: loses data"):
        task.execute_complete(here, answer(Answer.REJECT, reason="loses data"), **later)
    with pytest.raises(AirflowFailException, match="is not promoted, as jane decided: loses data"):
        task.execute(here)  # as another try of Airflow's own
    here["ti"].max_tries += 3  # as a person's clear does
    waits(lambda: task.execute(here))
    assert len(world.asked) == 2


def test_nobody_answers(world: World) -> None:
    task, here = world.gate(), context()
    world.now = LATE
    later = waits(lambda: task.execute(here))
    world.now += 86_400 - 1
    later = waits(lambda: task.execute_complete(here, {"call": "again"}, **later))
    world.now += 1
    with pytest.raises(AirflowFailException, match="nobody answered what to do about it: 0 of 2 jobs passed"):
        task.execute_complete(here, {"call": "late"}, **later)
    assert ledger().decisions(DAG) == []


def test_without_a_question_it_fails_when_the_time_is_over(world: World) -> None:
    world.now = LATE
    with pytest.raises(AirflowFailException, match=r"not meet the criteria until .*; a: missing; b: missing"):
        world.gate(ask=False).execute(context())
    assert (world.asked, world.tables) == ([], 1)


def test_jobs_that_the_question_does_not_name_are_not_waived_by_it(world: World) -> None:
    """Airflow never changes a question's text."""
    task, here = world.gate(), context()
    world.vote("a", True)
    world.now = LATE
    later = waits(lambda: task.execute(here))
    world.vote("a", False)
    with pytest.raises(AirflowFailException, match="the question that was asked does not name a"):
        task.execute_complete(here, {"call": "again"}, **later)


@pytest.mark.parametrize("asked", [False, True])
def test_superseded_it_ends_as_skipped_and_closes_its_question(world: World, asked: bool) -> None:
    task, ti = world.gate(), Ti()
    here = context(ti)
    if asked:
        world.now = LATE
    later = waits(lambda: task.execute(here))
    world.labels = Labels(holder=Standing(build_number(7), SINCE + 9))
    with pytest.raises(AirflowSkipException, match="superseded by"):
        task.execute_complete(here, {"call": "lost"}, **later)
    assert str(ti.pushed["reason"]).startswith("superseded by")


def test_doom_is_said_once(world: World) -> None:
    task, ti = world.gate(), Ti()
    here = context(ti)
    world.vote("a", False)
    later = waits(lambda: task.execute(here))
    assert "is doomed: a failed, and only a rerun or a waiver can save it" in str(ti.pushed["doomed"])
    waits(lambda: task.execute_complete(here, {"call": "again"}, **later))
    assert (len(written(Doomed)), world.tables) == (1, 1)


def test_fail_fast_ends_what_is_doomed(world: World) -> None:
    world.vote("a", False)
    with pytest.raises(AirflowFailException, match=r"is doomed: a failed.*fail_fast is set\. Rerun it"):
        world.gate(fail_fast=True).execute(context())
    assert len(written(Doomed)) == 1


def test_a_waiver_of_an_unknown_job_is_reported(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    fields: dict[str, Any] = {"dag_id": DAG, "at": 1, "by": "joe", "via": "airflow", "reason": BUG}
    ledger().append(Waived(**fields, job="c", full_hash=None, expires=LATE))
    task = world.gate()
    waits(lambda: task.execute(context()))
    assert "is ignored: no stage of the release requires such a job" in capsys.readouterr().out
