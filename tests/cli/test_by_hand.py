"""Promotions by a person, on real services, while no part of Airflow runs."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.faults import FaultProxy
from lab.images import push_build
from lab.outage import Outage, before
from lab.ports import free_port
from lab.service import HOST
from rdo_promoter.cli import by_hand
from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.ledger import Planned, Promoted
from tests.cli.desk import Desk, wait_for
from tests.engine.rdo import CONTAINERS
from tests.unit.test_ledger import planned

pytestmark = pytest.mark.lab

NEEDS_ALL = "8 containers to copy, 2 images to copy, 12 tags to move, 2 links to move, 1 DLRN labels to move"


def kinds(desk: Desk) -> list[str]:
    """Return what the ledger says, oldest first."""
    return [fact.kind for fact in desk.ledger.facts()]


def planned_by_airflow(desk: Desk, build: DlrnHash) -> Planned:
    """Let a run of Airflow begin a promotion and not end it."""
    plan = Planned(
        dag_id=desk.dag_id,
        label=desk.rdo.label,
        build=build,
        at=desk.rdo.dlrn.now() - 3600,
        by="scheduled__2026-11-24T00:00:00+00:00",
        via="airflow",
        file="releases/x.yaml",
        digest="0" * 64,
        was=None,
        summary="8 tags to move",
    )
    desk.ledger.append(plan)
    return plan


@contextmanager
def images_through(desk: Desk) -> Iterator[Outage]:
    """Put a proxy between the command and the image server."""
    facts = desk.lab.images
    with Outage(facts.host, facts.port, http=False) as outage:
        desk.connection("images_rdo", host=HOST, port=outage.port)
        yield outage
        desk.connection("images_rdo", host=facts.host, port=facts.port)


def test_a_build_is_shown_then_promoted_and_done_again_nothing_changes(desk: Desk) -> None:
    old, new = desk.tested(2)
    untouched = desk.rdo.state()
    shown = desk.run("plan", desk.dag_id, "--stage", "upstream", "--hash", new.full_hash, code=0)
    assert "criteria of tests: met, 2 jobs\n    standalone: passed\n    scenario001: passed\n" in shown
    assert f"plan: {NEEDS_ALL}\n" in shown
    assert f"DLRN: {desk.rdo.label} nothing -> {new.full_hash}" in shown
    assert "-> can be promoted now" in shown
    assert f"\nledger {desk.folder}/ledger\n" in shown
    tried = desk.promote(old, "--dry-run", code=0)
    assert tried.endswith("dry run: nothing was changed; add --no-dry-run to promote\n")
    assert desk.rdo.state() == untouched
    assert kinds(desk) == []

    desk.promote(old, "--no-dry-run", code=0)
    said = desk.promote(new, "--no-dry-run", code=0)
    assert f"order: after {old.full_hash}, which holds {desk.rdo.label}\n" in said
    assert said.splitlines()[-1].endswith(f"done: {desk.rdo.label} names {new.full_hash} everywhere")
    state = desk.rdo.state()
    assert (state.label, state.previous) == (new.full_hash, old.full_hash)
    assert (state.link, state.previous_link) == (new.full_hash, old.full_hash)
    assert state.tags == desk.rdo.tags(new.full_hash)
    facts = desk.ledger.facts(desk.dag_id, desk.rdo.label)
    assert [fact.kind for fact in facts] == ["planned", "promoted"] * 2
    plan, done = facts[2:]
    assert isinstance(plan, Planned)
    assert isinstance(done, Promoted)
    assert (plan.was, done.previous, done.via) == (old, old, "command line")
    assert f"(sha256 {plan.digest})" in said
    assert f"planned by {plan.by}" in said

    again = desk.promote(new, "--no-dry-run", code=0)
    assert f"{desk.rdo.label} names this build everywhere: nothing to do" in again
    late = desk.promote(old, "--no-dry-run", code=1)
    assert f"superseded by {new.full_hash}, which holds {desk.rdo.label} and is not older" in late
    assert desk.rdo.state() == state
    assert desk.ledger.facts() == facts


def test_without_a_hash_the_newest_build_is_shown_in_every_stage(desk: Desk) -> None:
    text = desk.file.read_text()
    label = desk.rdo.label
    desk.file.write_text(
        text
        + f"  - name: phase1\n    source: {label}\n    steps:\n"
        + "      - wait_for: {jobs: [weirdo], within: 2d}\n"
        + f"      - promote: {{label: {label}-rdo, tag_in: [rdo]}}\n"
    )
    shown = desk.run("plan", desk.name, code=1)
    upstream, phase1 = shown.split("\nstage ")[1:]
    assert upstream.startswith("upstream: ")
    assert "\n  criteria of tests: " in upstream
    assert phase1.startswith("phase1: refused: ")
    assert f"DLRN: nothing holds {label} yet" in phase1


def test_the_verdict_is_shown_job_by_job_and_decides(desk: Desk) -> None:
    (build,) = desk.rdo.candidates(1)
    desk.rdo.ci_builds(build)
    desk.vote(build, ["build-containers", "scenario001-internal"])
    desk.vote(build, ["standalone"], success=False)
    untouched = desk.rdo.state()
    for words in (("plan", desk.name, "--hash", build.full_hash), (*desk.words(build), "--no-dry-run")):
        said = desk.run(*words, code=1)
        assert "build-containers: passed" in said
        assert "standalone: failed, https://ci/standalone" in said
        assert "scenario001: replaced by scenario001-internal" in said
        assert f"{build.full_hash} does not meet the criteria of tests: 1 of 2 jobs passed" in said
    assert desk.rdo.state() == untouched
    assert kinds(desk) == []
    desk.vote(build, ["standalone"])
    desk.promote(build, "--no-dry-run", code=0)


def test_what_is_missing_is_refused_before_anything_changes(desk: Desk) -> None:
    (build,) = desk.rdo.candidates(1)
    pushed = [container for container in CONTAINERS if container != "nova-api"]
    push_build(desk.rdo.registry("rdo"), desk.rdo.namespace("rdo"), pushed, build.full_hash)
    desk.vote(build)
    untouched = desk.rdo.state()
    said = desk.promote(build, "--no-dry-run", code=1)
    assert f"registry rdo: nova-api:{build.full_hash} does not exist" in said
    assert f"image server images: {build.full_hash}/overcloud-full.tar does not exist" in said
    assert desk.rdo.state() == untouched
    assert kinds(desk) == []


def test_a_wrong_password_is_named_before_anything_changes(desk: Desk) -> None:
    (build,) = desk.tested()
    desk.connection("dlrn_centos7_master", password="not-this-one")
    desk.connection("registry_dockerhub", password="nor-this-one")
    untouched = desk.rdo.state()
    # `plan` reads only: it does not log in to DLRN.
    for words, wrong in (
        (("plan", desk.name, "--hash", build.full_hash), ["registry"]),
        ((*desk.words(build), "--no-dry-run"), ["DLRN", "registry"]),
    ):
        said = desk.run(*words, code=1)
        refused = said.partition("\n  -> refused:\n")[2]
        assert [line.split()[1] for line in refused.splitlines() if line.startswith("     - ")] == wrong
        assert refused.count("check login and password") == len(wrong)
    assert desk.rdo.state() == untouched


def test_services_that_do_not_answer_are_named(desk: Desk) -> None:
    (build,) = desk.tested()
    desk.connection("images_rdo", port=free_port())
    said = desk.promote(build, "--no-dry-run", code=1)
    assert "image server images" in said
    assert "Connection refused" in said
    desk.connection("dlrn_centos7_master", host=f"http://{HOST}:{free_port()}")
    said = desk.promote(build, code=1)
    assert "DLRN gave no answer" in said
    assert "Traceback" not in said
    assert kinds(desk) == []


@pytest.mark.parametrize(
    "stage",
    ["planned by", "tagging containers in dockerhub", "moving DLRN's label", "reading everything back"],
)
def test_killed_at_any_point_it_is_completed_by_the_same_command(desk: Desk, stage: str) -> None:
    old, new = desk.tested(2)
    desk.rdo.promote(old)
    killed = desk.start(*desk.words(new), "--no-dry-run")
    killed.until(stage)
    killed.kill(signal.SIGKILL)
    assert killed.wait() in (-signal.SIGKILL, 0)
    desk.promote(new, "--no-dry-run", code=0)
    state = desk.rdo.state()
    assert (state.label, state.previous, state.rows) == (new.full_hash, old.full_hash, 3)
    assert (state.link, state.previous_link) == (new.full_hash, old.full_hash)
    assert state.tags == desk.rdo.tags(new.full_hash)
    assert desk.ledger.unfinished() == ()
    assert [fact.build for fact in desk.ledger.facts() if isinstance(fact, Promoted)] == [new]


def test_what_fails_for_the_moment_is_tried_again(desk: Desk) -> None:
    (build,) = desk.tested()
    with images_through(desk) as outage:
        command = desk.start(*desk.words(build), "--no-dry-run", PAUSES=[1.0] * 9)
        command.until("tagging containers in rdo")
        outage.break_("down")
        command.until("trying again in 1 s (1 of 9)")
        outage.mend()
        said = desk.ended(command, code=0)
    assert "everywhere" in said
    assert desk.rdo.state().label == build.full_hash
    assert desk.ledger.unfinished() == ()


def test_a_failure_says_what_has_moved_and_how_to_go_on(desk: Desk) -> None:
    (build,) = desk.tested()
    with images_through(desk) as outage:
        command = desk.start(*desk.words(build), "--no-dry-run", PAUSES=[0.0])
        command.until("tagging containers in rdo")
        outage.break_("down")
        said = desk.ended(command, code=1)
        assert "not complete: " in said
        assert "What has moved cannot be read at the moment" in said
        assert "The same command again does what is left" in said
        outage.mend()
    assert desk.rdo.state().label is None
    assert [plan.build for plan in desk.ledger.unfinished()] == [build]
    desk.promote(build, "--no-dry-run", code=0)
    assert desk.ledger.unfinished() == ()


def test_ctrl_c_says_what_has_moved_and_how_to_go_on(desk: Desk) -> None:
    (build,) = desk.tested()
    with images_through(desk) as outage:
        command = desk.start(*desk.words(build), "--no-dry-run")
        command.until("tagging containers in dockerhub")
        outage.break_("slow", seconds=60)
        command.until("moving the link on images")
        command.kill(signal.SIGINT)
        command.until("stopping after what is being written now")
        outage.mend()
        said = desk.ended(command, code=1)
    assert "not complete: stopped by Ctrl-C" in said
    assert f"DLRN's {desk.rdo.label} names nothing. Moved to {build.full_hash} are:" in said
    assert "  - registry rdo: 4 of 4 tags\n  - registry dockerhub: 4 of 4 tags\n" in said
    desk.promote(build, "--no-dry-run", code=0)


def test_a_plan_that_is_stopped_before_anything_changes_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the plan and the look at the plans of others."""

    def stopped(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path))
    monkeypatch.setattr(by_hand, "unfinished", stopped)
    hand = by_hand.ByHand.__new__(by_hand.ByHand)
    hand.target, hand._begun = None, False  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        hand._plan(planned(1, 1_000, via="command line"), set())
    assert [fact.kind for fact in Ledger(tmp_path).facts()] == ["planned", "given_up"]
    assert Ledger(tmp_path).unfinished() == ()


@pytest.mark.parametrize(
    ("begun", "said"),
    [(False, "stopped; nothing was changed"), (True, "stopped; the same command again shows what has moved")],
)
def test_ctrl_c_at_any_other_moment_tells_no_lie(
    begun: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first change, and when it interrupts what is said about the last one."""
    hand = by_hand.ByHand.__new__(by_hand.ByHand)
    hand.target = SimpleNamespace(  # type: ignore[assignment]
        release=SimpleNamespace(dag_id="centos7-said"), step=SimpleNamespace(label="current")
    )

    def stopped(**_: object) -> int:
        hand._begun = begun
        raise KeyboardInterrupt

    monkeypatch.setattr(by_hand, "heading", lambda _: "")
    monkeypatch.setattr(hand, "_run", stopped)
    assert hand.run(dry_run=False) == 1
    assert said in capsys.readouterr().out


def test_ctrl_c_before_anything_changes_says_so(desk: Desk) -> None:
    (build,) = desk.tested()
    with looking_slowly(desk) as outage:
        command = desk.start(*desk.words(build), "--no-dry-run")
        wait_for(lambda: outage.requests > 0)
        command.kill(signal.SIGINT)
        outage.mend()
        said = desk.ended(command, code=1)
    assert "stopped; nothing was changed" in said
    assert kinds(desk) == []


def test_a_promotion_that_takes_long_says_so_in_the_ledger(desk: Desk) -> None:
    """Airflow's runs respect a plan for two hours."""
    (build,) = desk.tested()
    with images_through(desk) as outage, FaultProxy(desk.lab.dlrn.api_url) as proxy:
        desk.connection("dlrn_centos7_master", host=proxy.url)
        command = desk.start(*desk.words(build), "--no-dry-run")
        command.until("tagging containers in dockerhub")
        outage.break_("slow", seconds=60)
        command.until("moving the link on images")
        proxy.headers["Date"] = formatdate(time.time() + 700, usegmt=True)
        outage.mend()
        desk.ended(command, code=0)
    first, second, done = desk.ledger.facts()
    assert isinstance(first, Planned)
    assert isinstance(second, Planned)
    assert second.at - first.at >= 600
    assert isinstance(done, Promoted)
    assert desk.ledger.unfinished() == ()


def test_an_unfinished_promotion_of_airflow_is_in_the_way_until_it_is_taken_over(desk: Desk) -> None:
    old, new = desk.tested(2)
    plan = planned_by_airflow(desk, old)
    for words in (("plan", desk.name, "--hash", new.full_hash), (*desk.words(new), "--no-dry-run")):
        said = desk.run(*words, code=1)
        assert f"{old.full_hash}, planned by run {plan.by} (airflow) at 20" in said
        assert f"airflow tasks states-for-dag-run {desk.dag_id} '{plan.by}'" in said
        assert "--take-over" in said
    assert kinds(desk) == ["planned"]
    assert desk.rdo.state().label is None
    desk.promote(new, "--take-over", code=0)
    desk.promote(new, "--no-dry-run", "--take-over", code=0)
    assert desk.rdo.state().label == new.full_hash
    assert desk.ledger.unfinished() == ()


def test_somebody_who_plans_at_the_same_moment_is_seen(desk: Desk) -> None:
    (build,) = desk.tested()
    with looking_slowly(desk) as outage:
        command = desk.start(*desk.words(build), "--no-dry-run")
        # The ledger was read before.
        wait_for(lambda: outage.requests > 0)
        planned_by_airflow(desk, build)
        outage.mend()
        said = desk.ended(command, code=1)
    assert "somebody else has begun" in said
    assert desk.rdo.state().label is None
    # What was not begun keeps nobody waiting: the run goes on at once.
    assert [plan.via for plan in desk.ledger.unfinished()] == ["airflow"]
    assert kinds(desk) == ["planned", "planned", "given_up"]


def test_a_promotion_that_airflow_left_complete_gets_its_end_in_the_ledger(desk: Desk) -> None:
    (build,) = desk.tested()
    desk.rdo.promote(build)
    planned_by_airflow(desk, build)
    said = desk.promote(build, "--no-dry-run", code=0)
    assert "its plan in the ledger had no end: it has one now" in said
    assert kinds(desk) == ["planned", "promoted"]
    assert desk.ledger.unfinished() == ()


def test_one_command_of_a_person_at_a_time(desk: Desk) -> None:
    (build,) = desk.tested()
    with looking_slowly(desk) as outage:
        first = desk.start(*desk.words(build), "--no-dry-run")
        wait_for(lambda: outage.requests > 0)
        said = desk.promote(build, "--no-dry-run", code=1)
        assert "another command of yours on this machine promotes to" in said
        outage.mend()
        desk.ended(first, code=0)


def test_an_unreachable_ledger_refuses(desk: Desk) -> None:
    (build,) = desk.tested()
    (desk.folder / "ledger").rmdir()
    said = desk.promote(build, "--no-dry-run", code=1)
    assert f"the ledger {desk.folder}/ledger cannot be used" in said
    # Away from Airflow's home the default would be an empty one.
    del desk.env["RDO_PROMOTER_LEDGER"]
    said = desk.promote(build, "--no-dry-run", code=1)
    assert "create that folder once, or mount it" in said
    assert f"ledger {desk.folder}/home/rdo-promoter-ledger: RDO_PROMOTER_LEDGER is not set" in said
    assert desk.rdo.state().label is None


def test_a_reader_that_goes_away_does_not_stop_a_promotion(desk: Desk) -> None:
    (build,) = desk.tested()
    command = desk.start(*desk.words(build), "--no-dry-run", reader=False)
    assert command.wait() == 0
    assert desk.rdo.state().label == build.full_hash


def test_a_clock_that_is_wrong_is_said(desk: Desk) -> None:
    (build,) = desk.tested()
    with FaultProxy(desk.lab.dlrn.api_url) as proxy:
        proxy.headers["Date"] = formatdate(time.time() - 90, usegmt=True)
        desk.connection("dlrn_centos7_master", host=proxy.url)
        said = desk.promote(build, code=0)
    assert re.search(r"note: this machine's clock is \d+ s ahead of DLRN's", said)


@contextmanager
def looking_slowly(desk: Desk) -> Iterator[Outage]:
    """Let the look at the registry take as long as the test likes."""
    with before(desk.lab.registries.rdo) as outage:
        desk.connection("registry_rdo", host=outage.url)
        outage.break_("slow", seconds=60)
        yield outage
