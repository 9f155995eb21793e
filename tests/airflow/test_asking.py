"""Jobs that are missing when their time is over: a person is asked, in Airflow's own UI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.decisions import Answer, Answered, Waived
from tests.airflow.test_runs import start
from tests.airflow.world import Release, Run, World

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(500)]

GATE, TEST1, TEST2 = "upstream.tests.gate", "upstream.periodic-asked-test1", "upstream.periodic-asked-test2"
BUG = "https://bugs.example.org/7"


def question(run: Run) -> Mapping[str, Any]:
    """Wait until the gate asks, and return what."""
    asked: list[Mapping[str, Any]] = []

    def is_asked(tasks: Mapping[str, Any]) -> bool:
        found = run.api.question(run.dag_id, run.run_id, GATE)
        if found and not found["response_received"]:
            asked.append(found)
        return bool(asked) and tasks[GATE].state == "deferred"

    run.wait(is_asked, "the gate asks", deadline=150)
    return asked[-1]


def answer(run: Run, option: Answer, *, reason: str | None = None, hours: float = 4) -> None:
    run.api.answer(run.dag_id, run.run_id, GATE, option, reason=reason, hours=hours)


def test_a_person_is_asked_and_the_answer_counts(world: World) -> None:
    release = world.release("asked")
    run, build = start(release)
    release.vote(build, "test1")
    release.vote(build, "test2", success=False)
    run.wait(lambda tasks: tasks[TEST2].state == "up_for_retry", "a failed job is amber")

    first = question(run)
    assert first["subject"] == f"{build.full_hash}: 1 of 2 jobs have not passed"
    assert r"periodic\-asked\-test2: failed, [its log](<https://logs.example.org/" in first["body"]
    assert first["options"] == ["Waive these jobs", "Wait on", "Do not promote"]
    answer(run, Answer.WAIT, reason="a rerun is on its way", hours=0.01)

    # The same task waits again, and asks again when that time is over.
    assert question(run)["body"] == first["body"]
    answer(run, Answer.WAIVE)
    question(run)  # without a reason it does not count
    assert release.state().label is None
    answer(run, Answer.WAIVE, reason=BUG)
    run.wait_for("upstream.promote.verify", deadline=150)
    assert release.state().label == build.full_hash
    run.wait_for(TEST2, "skipped")
    assert str(run.reason(TEST2)).startswith("waived by admin until ")
    assert str(run.reason(TEST2)).endswith(BUG)

    book = Ledger(world.ledger).decisions(release.dag_id)
    (waived,) = (entry for entry in book if isinstance(entry, Waived))
    assert (waived.job, waived.full_hash, waived.by) == ("periodic-asked-test2", build.full_hash, "admin")
    answers = [entry for entry in book if isinstance(entry, Answered)]
    assert [entry.answer for entry in answers] == [Answer.WAIT, Answer.WAIVE], book
    assert {entry.by for entry in answers} == {"admin"}

    superseding, newer = _asked(release)
    release.vote(newer, "test2")  # the rerun passes while the question is open
    superseding.wait_for("upstream.promote.verify", deadline=150)
    assert release.state().label == newer.full_hash
    closed = superseding.api.question(superseding.dag_id, superseding.run_id, GATE)
    assert closed is not None
    assert closed["response_received"] is False

    given_up, last = _asked(release)
    answer(given_up, Answer.REJECT, reason="known to lose data")
    given_up.wait_for(GATE, "failed")
    reason = f"{last.full_hash} is not promoted, as admin decided: known to lose data"
    assert given_up.reason(GATE) == reason
    given_up.wait_for(TEST2, "skipped")
    assert given_up.reason(TEST2) == "not promoted, as admin decided: known to lose data"
    assert release.state().label == newer.full_hash


def _asked(release: Release) -> tuple[Run, DlrnHash]:
    """Start a run of which one job has not voted when its time is over."""
    run, build = start(release)
    release.vote(build, "test1")
    question(run)
    return run, build
