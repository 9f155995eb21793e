"""Waivers, holds and bad marks from a command line, and what promotions by hand make of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from rdo_promoter.cli.outlook import person
from rdo_promoter.model.decisions import Answer, Answered
from tests.cli.desk import Desk
from tests.unit.strategies import build_number

pytestmark = pytest.mark.lab

BUG = "https://bugs.launchpad.net/bugs/1800000"


def soon(hours: int = 1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat(timespec="seconds")


def test_a_promotion_by_hand_counts_waivers_and_respects_holds_and_bad_marks(desk: Desk) -> None:
    (build,) = desk.rdo.candidates(1)
    desk.rdo.ci_builds(build)
    desk.vote(build, ("build-containers", "scenario001"))
    label = desk.rdo.label
    assert "does not meet the criteria of tests" in desk.promote(build, code=1)

    waive = ("waive", desk.name, "--job", "standalone", "--hash", build.full_hash, "--reason", BUG)
    said = desk.run(*waive, "--until", soon(), code=0)
    assert f"standalone is waived for {build.full_hash} by {person()} until" in said
    hold = ("hold", desk.dag_id, "--label", label, "--reason", "CI moves")
    desk.run(*hold, code=0)
    said = desk.promote(build, "--no-dry-run", code=1)
    assert "    standalone: waived" in said
    assert f"     - {label} is held by {person()} since" in said
    assert "until it is lifted: CI moves" in said
    shown = desk.run("plan", desk.name, "--hash", build.full_hash, code=1)
    assert f"     - {label} is held by" in shown

    desk.run("lift", desk.name, label, "--reason", "moved", code=0)
    desk.run("mark-bad", desk.name, "--hash", build.full_hash, "--reason", "breaks nova", code=0)
    assert f"{build.full_hash} is marked bad by" in desk.promote(build, "--no-dry-run", code=1)
    assert desk.rdo.state().label is None
    listed = json.loads(desk.run("decisions", desk.name, "--json", code=0))
    bad = next(line for line in listed["in_force"] if "marked bad" in line)
    name = bad.rpartition("[")[2].rstrip("]")
    desk.run("lift", desk.name, name, "--reason", "it was another one", code=0)
    desk.promote(build, "--no-dry-run", code=0)
    assert desk.rdo.state().label == build.full_hash
    assert [entry.via for entry in desk.ledger.decisions(desk.dag_id)] == ["command line"] * 5


def test_what_cannot_be_written_down_is_refused_by_its_kind(desk: Desk) -> None:
    hold = ("hold", desk.name, "--reason", "why")
    said = desk.run(*hold, "--label", desk.rdo.label[:-1], code=2)
    assert f"did you mean '{desk.rdo.label}'?" in said
    said = desk.run(*hold, "--label", desk.rdo.label, "--until", "tomorrow", code=2)
    assert "write date, time and time zone, for example" in said
    assert "one of the arguments" in desk.run(*hold, code=2)
    unknown = build_number(5).full_hash
    assert f"build {unknown}: DLRN has no directory" in desk.run(*hold, "--hash", unknown, code=1)
    said = desk.run("lift", desk.name, "nothing", "--reason", "why", code=1)
    assert "nothing about 'nothing' is in force" in said
    assert desk.run("decisions", desk.name, code=0) == "in force: nothing\n"
    (desk.folder / "ledger").rmdir()
    said = desk.run(*hold, "--label", desk.rdo.label, code=1)
    assert f"the ledger {desk.folder}/ledger cannot be used" in said


def test_what_somebody_did_not_approve_is_refused_and_what_nobody_was_asked_is_said(desk: Desk) -> None:
    text = desk.file.read_text()
    desk.file.write_text(text.replace("- promote:", "- approve: {text: Look at it}\n      - promote:"))
    (build,) = desk.tested()
    said = desk.promote(build, code=0)
    assert f"note: nobody has approved {build.full_hash} at upstream.approve" in said
    for answer, code in ((Answer.REJECT, 1), (Answer.APPROVE, 0)):
        desk.ledger.append(
            Answered(
                dag_id=desk.dag_id,
                at=1_000_000 + 10 * (1 - code),
                by="jane",
                via="airflow",
                reason="too slow",
                full_hash=build.full_hash,
                run_id="a run",
                task_id="upstream.approve",
                question="Look at it",
                answer=answer,
            )
        )
        said = desk.promote(build, code=code)
        refused = f"{build.full_hash} is not approved at upstream.approve: jane decided so at"
        assert (refused in said) is (code == 1)
        assert "nobody has approved" not in said
