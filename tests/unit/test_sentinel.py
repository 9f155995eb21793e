"""When the sentinel takes over an unfinished promotion: only when nobody else would complete it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from rdo_promoter.engine import promote
from rdo_promoter.errors import PreflightError, ServiceError, TransientError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.recipe import write_recipe
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.ledger import Planned, Via
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.hold import HOLDERS, Claim, Group, holder_key, read_claim
from rdo_promoter.sentinel.unfinished import UnfinishedOperator
from tests.unit.releases import GOOD, changed, write
from tests.unit.strategies import build_number
from tests.unit.test_operators import Store, Ti

REPO = "https://dlrn.example.org/centos9-good"
BUILD, NOW = build_number(2), 1_000_000
RUN = Group("centos9-good", "theirs", "upstream.promote")
KEY = holder_key(REPO, "current-good")
#: The release with another promotion instead of that to current-good.
CUT = GOOD.replace("current-good", "current-better")


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setattr(UnfinishedOperator, "dag_id", "promotions-sentinel")
    monkeypatch.setattr(ConnectionServices, "dlrn", SimpleNamespace(now=lambda: NOW))

    def acted(*_: object) -> None:
        raise PreflightError("the promotion", ["it was begun"])

    monkeypatch.setattr(promote, "preflight", acted)


def planned(*, age: int = 3600, via: Via = "airflow") -> None:
    promotion = Promotion(BUILD, "current-good", "ci-testing")
    ledger().append(
        Planned(
            dag_id="centos9-good",
            label="current-good",
            build=BUILD,
            at=NOW - age,
            by="theirs",
            via=via,
            file="releases/good.yaml",
            digest="0" * 64,
            was=None,
            summary="1 tag to move",
            wanted=write_recipe(promotion, ConnectionServices("dlrn", REPO)),
        )
    )


def look(
    folder: Path,
    text: str = CUT,
    states: dict[str, str | None] | None = None,
    holder: Group | None = RUN,
    run_type: str = "scheduled",
) -> tuple[Any, Store]:
    """Let the sentinel look; what it does is to begin a promotion, or to leave it."""
    store = Store()
    store[KEY] = Claim(holder).to_json()
    context: Any = {
        "ti": Ti(groups={"theirs": states or {}}),
        "run_id": "ours",
        "dag_run": SimpleNamespace(run_type=run_type),
        "asset_state_store": {HOLDERS: store},
    }
    write(folder, text)
    operator = UnfinishedOperator(task_id="unfinished", folder=str(folder / "releases"))
    return operator.execute(context), store


def test_it_begins_what_no_file_makes_any_more_and_takes_the_label_over(tmp_path: Path) -> None:
    planned()
    states: dict[str, str | None] = {"upstream.promote.plan": "success", "upstream.promote.dlrn": "removed"}
    with pytest.raises(AirflowFailException) as failed:
        look(tmp_path, states=states)
    assert "its step is no longer in releases/good.yaml, and it cannot be completed" in str(failed.value)
    assert "it was begun" in str(failed.value)


def test_a_service_that_is_down_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned()

    def down(*_: object) -> None:
        raise ServiceError("registry rdo answered 503")

    monkeypatch.setattr(promote, "preflight", down)
    with pytest.raises(TransientError, match="registry rdo answered 503"):  # Airflow retries it
        look(tmp_path)


def test_the_holder_is_the_sentinel_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned()
    seen: list[Store] = []
    real = Store.set

    def remember(store: Store, key: str, value: object, **more: object) -> None:
        real(store, key, value, **more)
        seen.append(store)

    monkeypatch.setattr(Store, "set", remember)
    with pytest.raises(AirflowFailException):
        look(tmp_path)
    assert read_claim(seen[-1][KEY]).holder == Group("promotions-sentinel", "ours", "unfinished")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param({"text": GOOD}, id="its step is there"),
        pytest.param({"text": "release: ["}, id="its file is broken"),
        pytest.param({"states": {"upstream.promote.dlrn": "running"}}, id="a task of it runs"),
        pytest.param({"states": {"upstream.promote.dlrn": "queued"}}, id="a task of it will run"),
        pytest.param({"holder": Group("centos9-good", "newer", "upstream.promote")}, id="another run's turn"),
    ],
)
def test_it_leaves_alone_what_others_complete(tmp_path: Path, case: dict[str, Any]) -> None:
    planned()
    done, store = look(tmp_path, **case)
    assert done["completed"] == []
    assert read_claim(store[KEY]).holder == case.get("holder", RUN)


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped"])
def test_what_was_given_up_before_is_reported_and_not_gone_on_with(tmp_path: Path, state: str) -> None:
    planned()
    with pytest.raises(AirflowFailException, match="Put the step back and clear the whole group") as failed:
        look(tmp_path, states={"upstream.promote.dlrn": state}, run_type="manual")
    assert "it was begun" not in str(failed.value)


def test_it_leaves_the_command_line_alone(tmp_path: Path) -> None:
    planned(via="command line")
    assert look(tmp_path)[0]["completed"] == []


def test_a_file_that_is_gone_for_a_moment_is_waited_for_unless_a_person_asks(tmp_path: Path) -> None:
    planned(age=599)
    assert look(tmp_path)[0]["completed"] == []
    with pytest.raises(AirflowFailException, match="it was begun"):
        look(tmp_path, run_type="manual")


def test_a_renamed_release_leaves_its_old_plans_to_nobody(tmp_path: Path) -> None:
    planned()
    with pytest.raises(AirflowFailException, match="it was begun"):
        look(tmp_path, text=changed("release: good", "release: other"))
