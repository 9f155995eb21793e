"""When the sentinel takes over an unfinished promotion: only when nobody else would complete it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from rdo_promoter.engine import promote
from rdo_promoter.errors import PreflightError, ServiceError, SupersededError, TransientError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.decisions import Held, MarkedBad
from rdo_promoter.model.ledger import BY_HAND, GivenUp, Promoted
from rdo_promoter.model.promotion import DlrnState
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.operators import kept
from rdo_promoter.operators.hold import HOLDERS, Claim, Group
from rdo_promoter.sentinel import unfinished
from rdo_promoter.sentinel.releases import ReleasesOperator
from rdo_promoter.sentinel.unfinished import COMPLETED, UnfinishedOperator
from tests.unit.releases import GOOD, changed, write
from tests.unit.sentinel_world import BUILD, CUT, GONE, KEY, NOW, RUN, World, planned
from tests.unit.strategies import build_number
from tests.unit.tasks import Store, Ti


@pytest.fixture(autouse=True)
def dlrn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """DLRN's clock; beginning a promotion is refused."""
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setattr(UnfinishedOperator, "dag_id", "promotions-sentinel")
    clock = SimpleNamespace(time=NOW)
    clock.now = lambda: clock.time
    monkeypatch.setattr(ConnectionServices, "dlrn", clock)

    def acted(*_: object) -> None:
        raise PreflightError("the promotion", ["it was begun"])

    monkeypatch.setattr(promote, "preflight", acted)
    return clock


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def completing(monkeypatch: pytest.MonkeyPatch, do: Callable[[Callable[[str], None]], None]) -> None:
    """Let a promotion be carried out in memory; what that does really is tested in tests/engine.

    :param do: is given what each step is said to.
    """
    row = PromotionRow("current-good", BUILD, NOW, user="promoter")

    def carry_out(*_: object, say: Callable[[str], None]) -> tuple[PromotionRow, Any]:
        do(say)
        return row, SimpleNamespace(dlrn=DlrnState(row))

    monkeypatch.setattr(promote, "preflight", lambda *_: SimpleNamespace(was=None))
    monkeypatch.setattr(unfinished, "carry_out", carry_out)


def test_it_begins_what_no_file_makes_any_more(world: World) -> None:
    planned()
    assert "its step is no longer in releases/good.yaml, and it is not complete" in world.begins()


def test_what_it_completes_is_in_the_ledger_and_told_to_who_follows_the_label(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = []

    def do(say: Callable[[str], None]) -> None:
        holders.append(world.holder)
        say("moving DLRN's label")

    completing(monkeypatch, do)
    planned()
    assert len(world.look()["completed"]) == 1
    # While it works nobody else gets the label, and no task of the run passes its guard; nor afterwards.
    assert holders == [Group("promotions-sentinel", "ours", "unfinished")]
    assert world.holder is None
    done = ledger().facts()[-1]
    assert isinstance(done, Promoted)
    assert (done.dag_id, done.by) == ("centos9-good", "ours of promotions-sentinel")
    ((asset, extra),) = world.events[COMPLETED]
    assert asset.uri == "dlrn://dlrn.example.org/centos9-good/current-good"  # type: ignore[attr-defined]
    assert extra["full_hash"] == BUILD.full_hash  # type: ignore[index]
    assert world.look() == {"completed": [], "given_up": [], "left": []}


def test_a_service_that_is_down_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    planned()

    def down(*_: object) -> None:
        raise ServiceError("registry rdo answered 503")

    monkeypatch.setattr(promote, "preflight", down)
    with pytest.raises(TransientError, match="registry rdo answered 503"):  # Airflow retries it
        world.look()


def test_after_a_failure_the_next_run_tries_again(world: World) -> None:
    planned()
    for run_id in ("first", "second", "third"):
        world.begins(run_id=run_id)
    # Killed before it could give the label back.
    world.store[KEY] = Claim(Group("promotions-sentinel", "third", "unfinished")).to_json()
    world.begins(run_id="fourth")


def test_a_label_that_somebody_takes_meanwhile_is_left_to_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Group("centos9-other", "newer", "upstream.promote")

    def do(say: Callable[[str], None]) -> None:
        say("tagging containers in rdo")
        world.store[KEY] = Claim(theirs).to_json()
        say("moving DLRN's label")

    completing(monkeypatch, do)
    planned()
    with pytest.raises(TransientError, match="held by newer of centos9-other now"):
        world.look()
    assert world.holder == theirs


def test_a_task_that_comes_to_life_between_the_two_looks_wins(world: World) -> None:
    planned()

    def cleared() -> None:
        world.states["upstream.promote.dlrn"] = "queued"

    world.store.on_set = cleared
    world.leaves()


@pytest.mark.parametrize("state", ["running", "queued", "restarting"])
@pytest.mark.parametrize("holder", [RUN, None, Group("promotions-sentinel", "before", "unfinished")])
def test_it_leaves_alone_what_is_at_work(world: World, state: str, holder: Group | None) -> None:
    planned()
    world.states["upstream.promote.dlrn"] = state
    world.store[KEY] = Claim(holder).to_json()
    world.leaves()


@pytest.mark.parametrize("state", ["up_for_retry", "up_for_reschedule", "scheduled", "deferred"])
def test_it_waits_until_a_run_that_lives_has_seen_that_its_step_is_gone(world: World, state: str) -> None:
    planned()
    world.states["upstream.promote.dlrn"] = state
    world.leaves()
    # Without its Dag it is frozen for good.
    world.text = changed("release: good", "release: other")
    world.begins()


def test_another_run_that_works_on_the_label_is_left_alone_and_one_that_has_ended_is_not(
    world: World,
) -> None:
    planned()
    world.store[KEY] = Claim(Group("centos9-good", "theirs", "later.promote")).to_json()
    world.states["later.promote.plan"] = "running"
    world.leaves()
    world.states["later.promote.plan"] = "failed"
    world.begins()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD, id="its step is there"),
        pytest.param("release: [", id="its file is broken"),
    ],
)
def test_it_leaves_alone_what_its_own_dag_completes(world: World, text: str) -> None:
    planned()
    world.text = text
    world.leaves()


def test_a_file_that_was_renamed_and_broken_at_once_may_have_the_step(world: World) -> None:
    planned(file="releases/other-name.yaml", dag_id="centos9-other-name")
    world.text = "release: ["
    world.leaves()
    world.text = GOOD
    world.begins()


@pytest.mark.parametrize("spoil", ["missing", "empty"])
def test_a_releases_folder_that_is_not_there_takes_nothing_from_anybody(world: World, spoil: str) -> None:
    planned()
    world.releases = world.folder / "elsewhere"
    if spoil == "empty":
        world.releases.mkdir()
    world.leaves()


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped"])
def test_what_was_stopped_before_is_reported_and_not_gone_on_with(world: World, state: str) -> None:
    planned()
    world.states["upstream.promote.dlrn"] = state
    world.reports("upstream.promote.dlrn had failed, or a person had stopped it: it is not gone on with")
    # Also when the sentinel holds the label, for another run's sake.
    before = Group("promotions-sentinel", "before", "unfinished")
    world.store[KEY] = Claim(before).to_json()
    world.reports("upstream.promote.dlrn had failed", holder=before)


@pytest.mark.parametrize("run", ["failed", None])
@pytest.mark.parametrize("states", [GONE, {}])
def test_a_run_that_was_stopped_stays_stopped_when_its_tasks_or_itself_are_gone(
    world: World, run: str | None, states: dict[str, str | None]
) -> None:
    """Somebody marked it as failed for the sake of a bad build; then step, tasks or run were removed."""
    planned()
    world.run, world.states = run, states
    said = world.reports("its run has failed, was marked as failed, or is gone: it is not gone on with")
    assert "Put the step back and clear the whole group upstream.promote" in said
    assert f"run this Dag with `give_up` {BUILD.full_hash}" in said


def test_a_run_without_tasks_is_reported(world: World) -> None:
    planned()
    world.states = {}
    world.reports("its tasks are gone")


def test_a_person_gives_up_what_shall_not_be_completed(world: World) -> None:
    fact = planned()
    world.run = "failed"
    world.form = {"give_up": BUILD.full_hash}
    world.reports("say why: fill in `reason`")
    world.form["reason"] = "bad kernel, bug 7"
    assert len(world.look()["given_up"]) == 1
    end = ledger().facts()[-1]
    assert isinstance(end, GivenUp)
    assert (end.plan, end.reason, end.by) == (
        fact.suffix,
        "bad kernel, bug 7",
        "ours of promotions-sentinel",
    )
    world.form = {}
    assert world.look() == {"completed": [], "given_up": [], "left": []}


def test_what_a_newer_build_has_overtaken_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def superseded(*_: object) -> None:
        raise SupersededError("superseded by 1234", by="1234")

    monkeypatch.setattr(promote, "preflight", superseded)
    planned()
    # Whoever moved DLRN's label alone left the rest to us.
    moved = ["registry rdo: 4 of 4 tags"]
    monkeypatch.setattr(unfinished, "moved_elsewhere", lambda *_: moved)
    said = world.reports("superseded by 1234, but: registry rdo: 4 of 4 tags. Put the step back", holder=None)
    assert "or promote a newer build" in said
    moved.clear()
    assert len(world.look()["given_up"]) == 1
    assert ledger().unfinished() == ()
    assert world.holder is None


def test_it_keeps_out_of_the_way_of_the_command_line(world: World, dlrn: SimpleNamespace) -> None:
    planned(build=build_number(3), by="ada@desk", via="command line", at=NOW - 60, group="")
    planned()
    found = world.look()
    assert len(found["left"]) == 2
    assert world.holder == RUN
    # The command was killed, and nobody else can end what it began.
    dlrn.time = NOW + BY_HAND
    with pytest.raises(AirflowFailException) as failed:
        world.look()
    first, second = str(failed.value).split("\n", 1)
    assert "planned by ada@desk of centos9-good: its step is no longer in" in first
    assert "Put the step back and run the same command again" in first
    assert "it was begun" in second


def test_a_file_that_is_gone_for_a_moment_is_waited_for_unless_a_person_asks(
    world: World, dlrn: SimpleNamespace
) -> None:
    """From the moment when its step was missed first: the promotion may have begun hours before."""
    planned()
    world.leaves(run_type="scheduled")
    dlrn.time = NOW + 599
    world.leaves(run_type="scheduled")
    world.begins()
    # The file was there again in between.
    world.text = GOOD
    world.leaves(run_type="scheduled")
    world.text = CUT
    dlrn.time = NOW + 700
    world.leaves(run_type="scheduled")
    dlrn.time = NOW + 1300
    world.begins(run_type="scheduled")


def test_a_renamed_release_leaves_its_old_plans_to_nobody(world: World) -> None:
    planned()
    world.text = changed("release: good", "release: other")
    world.begins()


def test_one_release_in_trouble_does_not_delay_the_others(world: World) -> None:
    planned()
    bad = planned(dag_id="centos9-bad")
    root = Path(ledger().where)
    (root.joinpath(*bad.folder) / bad.name).write_text("{")
    (root / "README.md").write_text("")
    (root / "lost+found").mkdir(mode=0)
    said = world.begins()
    assert "centos9-bad/current-good" in said
    assert "is no fact of the ledger" in said
    assert "a file is where the ledger has the folder" in said


# --- releases that are gone ---


def test_a_release_that_is_removed_is_reported_until_its_runs_are_over(tmp_path: Path) -> None:
    store, ti = Store(), Ti()
    ti.runs = {"run1": "running", "run2": "success"}
    context: Any = {"ti": ti, "run_id": "ours", "asset_state_store": {HOLDERS: store}}
    operator = ReleasesOperator(task_id="releases", folder=str(tmp_path / "releases"))
    file = write(tmp_path)
    assert operator.execute(context) == {"releases": ["centos9-good"]}
    file.unlink()
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"releases/good\.yaml is gone, and 1 run of it"):
            operator.execute(context)
    ti.runs["run1"] = "failed"
    assert operator.execute(context) == {"releases": []}
    # It is not remembered for ever.
    ti.runs["run1"] = "running"
    assert operator.execute(context) == {"releases": []}


# --- what people keep back ---


def kept_by_people(*, bad: bool) -> None:
    common = {"dag_id": "centos9-good", "at": NOW, "by": "jane", "via": "airflow", "reason": "bug 7"}
    full_hash = BUILD.full_hash
    ledger().append(
        MarkedBad(**common, full_hash=full_hash)  # type: ignore[arg-type]
        if bad
        else Held(**common, label="current-good", full_hash=None, expires=None)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("bad", [False, True])
def test_what_people_keep_back_is_not_begun_but_what_has_moved_is_completed(
    world: World, monkeypatch: pytest.MonkeyPatch, *, bad: bool
) -> None:
    planned()
    kept_by_people(bad=bad)
    monkeypatch.setattr(kept, "observe", lambda *_, **__: None)
    monkeypatch.setattr(kept, "moved_so_far", lambda *_: ("registry rdo: 3 of 4 tags",))
    world.begins()
    monkeypatch.setattr(kept, "moved_so_far", lambda *_: ())
    if not bad:
        world.leaves()
        return
    assert len(world.look()["given_up"]) == 1
    assert ledger().unfinished() == ()
