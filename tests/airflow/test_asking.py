"""Jobs that are missing when their time is over: a person is asked, in Airflow's own UI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from lab.browser import launch, log_in
from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.decisions import Answer, Answered, Waived
from rdo_promoter.model.text import markdown
from tests.airflow.release_files import WIDE_JOBS
from tests.airflow.test_runs import start
from tests.airflow.world import Release, Run, World

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(500)]

GATE = "upstream.tests.gate"
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


def test_of_28_jobs_one_is_rerun_one_replaced_and_one_waived_by_a_person(world: World) -> None:
    release = world.release("wide")
    rerun, replaced, waived = (f"periodic-wide-{job}" for job in WIDE_JOBS[:3])
    run, build = start(release)
    release.vote(build, *WIDE_JOBS[3:])
    release.vote(build, WIDE_JOBS[0], WIDE_JOBS[2], success=False)
    run.wait(lambda tasks: tasks[f"upstream.{rerun}"].state == "up_for_retry", "a failed job is amber")
    release.vote(build, f"{replaced}-internal")
    release.vote(build, WIDE_JOBS[0])

    first = question(run)
    assert first["subject"] == f"{build.full_hash}: 1 of 28 jobs have not passed"
    assert f"- {markdown(waived)}: failed, [its log](<https://logs.example.org/{waived}/" in first["body"]
    assert first["options"] == ["Waive these jobs", "Wait on", "Do not promote"]
    _picture(world, release, run, "asked")
    answer(run, Answer.WAIT, reason="a rerun is on its way", hours=0.01)
    # The same task waits again, and asks again when that time is over.
    assert question(run)["body"] == first["body"]
    answer(run, Answer.WAIVE)
    question(run)  # without a reason it does not count
    assert release.state().label is None
    answer(run, Answer.WAIVE, reason=BUG)

    run.wait_for("upstream.promote.verify", deadline=150)
    assert release.state().label == build.full_hash
    tasks = run.wait_for(f"upstream.{waived}", "skipped")
    reason = str(run.reason(f"upstream.{waived}"))
    assert reason.startswith("waived by admin until ")
    assert reason.endswith(BUG)
    assert run.reason(f"upstream.{replaced}") == f"replaced by {replaced}-internal"
    assert tasks[f"upstream.{rerun}"].state == "success"
    decided = run.api.xcom(run.dag_id, run.run_id, GATE)
    assert decided["waived"] == [f"{waived}: {reason}"]
    _picture(world, release, run, "promoted")

    book = Ledger(world.ledger).decisions(release.dag_id)
    (entry,) = (each for each in book if isinstance(each, Waived))
    assert (entry.job, entry.full_hash, entry.by) == (waived, build.full_hash, "admin")
    answers = [each for each in book if isinstance(each, Answered)]
    assert [(each.answer, each.by) for each in answers] == [(Answer.WAIT, "admin"), (Answer.WAIVE, "admin")]


def test_a_rerun_closes_the_question_and_a_person_can_give_the_build_up(world: World) -> None:
    release, test2 = world.release("asked"), "upstream.periodic-asked-test2"
    run, build = _asked(release)
    release.vote(build, "test2")  # the rerun passes while the question is open
    run.wait_for("upstream.promote.verify", deadline=150)
    assert release.state().label == build.full_hash
    closed = run.api.question(run.dag_id, run.run_id, GATE)
    assert closed is not None
    assert closed["response_received"] is False

    given_up, last = _asked(release)
    answer(given_up, Answer.REJECT, reason="known to lose data")
    given_up.wait_for(GATE, "failed")
    reason = f"{last.full_hash} is not promoted, as admin decided: known to lose data"
    assert given_up.reason(GATE) == reason
    given_up.wait_for(test2, "skipped")
    assert given_up.reason(test2) == "not promoted, as admin decided: known to lose data"
    assert release.state().label == build.full_hash


def _asked(release: Release) -> tuple[Run, DlrnHash]:
    """Start a run of which one job has not voted when its time is over."""
    run, build = start(release)
    release.vote(build, "test1")
    question(run)
    return run, build


def _picture(world: World, release: Release, run: Run, name: str) -> None:
    """Take a picture of what a person sees, where somebody wants pictures."""
    folder = os.environ.get("RDO_PICTURES")
    if not folder:
        return
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 1250})
        log_in(page, world.flow.url, *world.flow.login)
        page.goto(f"{world.flow.url}/dags/{release.dag_id}/runs/{run.run_id}")
        page.get_by_label("Expand all task groups").click()
        page.get_by_role("link", name="verify").first.wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(folder) / f"{name}.png")
        if name == "asked":
            page.goto(
                f"{world.flow.url}/dags/{release.dag_id}/runs/{run.run_id}/tasks/{GATE}/required_actions"
            )
            page.get_by_role("button", name="Wait on").wait_for()
            page.screenshot(path=Path(folder) / "question.png")
