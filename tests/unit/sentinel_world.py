"""An Airflow that the sentinel looks at, kept in memory: its states, its store, its form."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.recipe import write_recipe
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.ledger import Planned
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.hold import HOLDERS, Claim, Group, holder_key, read_claim
from rdo_promoter.sentinel.unfinished import UnfinishedOperator
from tests.unit.releases import GOOD, write
from tests.unit.strategies import build_number
from tests.unit.tasks import Store, Ti

REPO = "https://dlrn.example.org/centos9-good"
BUILD, NOW = build_number(2), 1_000_000
RUN = Group("centos9-good", "theirs", "upstream.promote")
KEY = holder_key(REPO, "current-good")
#: The release with another promotion instead of that to current-good.
CUT = GOOD.replace("current-good", "current-better")


#: A group whose step was taken out of the file of an active run.
GONE: dict[str, str | None] = {"upstream.promote.plan": "removed", "upstream.promote.dlrn": "removed"}


def plan(**fields: Any) -> Planned:
    promotion = Promotion(BUILD, "current-good", "ci-testing")
    common: dict[str, Any] = {
        "dag_id": "centos9-good",
        "label": "current-good",
        "build": BUILD,
        "at": NOW - 3600,
        "by": "theirs",
        "via": "airflow",
        "file": "releases/good.yaml",
        "digest": "0" * 64,
        "was": None,
        "summary": "1 tag to move",
        "wanted": write_recipe(promotion, ConnectionServices("dlrn", REPO)),
        "group": "upstream.promote",
    }
    return Planned(**{**common, **fields})


def planned(**fields: Any) -> Planned:
    fact = plan(**fields)
    ledger().append(fact)
    return fact


class Events(dict[object, list[tuple[object, object]]]):
    """The events that a task publishes."""

    def __missing__(self, key: object) -> Any:
        found = self[key] = []
        return SimpleNamespace(add=lambda asset, extra: found.append((asset, extra)))


@dataclasses.dataclass
class World:
    """What the sentinel sees of Airflow.

    :param text: the release file.
    :param releases: another folder than the one with the release file.
    :param states: of the tasks of the run that planned.
    :param run: the state of that run, None when it was deleted.
    """

    folder: Path
    text: str = CUT
    releases: Path | None = None
    states: dict[str, str | None] = dataclasses.field(default_factory=lambda: dict(GONE))
    run: str | None = "success"
    form: dict[str, object] = dataclasses.field(default_factory=dict)
    store: Store = dataclasses.field(default_factory=Store)
    events: Events = dataclasses.field(default_factory=Events)

    def __post_init__(self) -> None:
        self.store[KEY] = Claim(RUN).to_json()

    def look(self, run_id: str = "ours", run_type: str = "manual") -> Any:
        """Let the sentinel look; what it does is to begin a promotion, or to leave it."""
        ti = Ti(groups={"theirs": self.states})
        ti.runs = {"theirs": self.run} if self.run else {}
        context: Any = {
            "ti": ti,
            "run_id": run_id,
            "dag_run": SimpleNamespace(run_type=run_type),
            "params": self.form,
            "asset_state_store": {HOLDERS: self.store},
            "outlet_events": self.events,
        }
        write(self.folder, self.text)
        folder = self.releases or self.folder / "releases"
        operator = UnfinishedOperator(task_id="unfinished", folder=str(folder))
        return operator.execute(context)

    def begins(self, **how: str) -> str:
        """Let it look, and find that it begins a promotion; return what it says."""
        with pytest.raises(AirflowFailException, match="it was begun") as failed:
            self.look(**how)
        return str(failed.value)

    def leaves(self, **how: str) -> None:
        """Let it look, and find that it leaves everything alone."""
        before = self.store.get(KEY)
        found = self.look(**how)
        assert (found["completed"], found["given_up"], len(found["left"])) == ([], [], 1)
        assert self.store.get(KEY) == before

    def reports(self, said: str, *, holder: Group | None = RUN) -> str:
        """Let it look, and find that it reports a promotion and does not begin it; return what it says.

        :param holder: of the label afterwards.
        """
        with pytest.raises(AirflowFailException, match=said) as failed:
            self.look()
        assert "it was begun" not in str(failed.value)
        assert self.holder == holder
        return str(failed.value)

    @property
    def holder(self) -> Group | None:
        return read_claim(self.store.get(KEY)).holder
