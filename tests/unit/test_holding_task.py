"""The task that tells what holds `consistent` back: how it ends, and that it never fails a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from rdo_promoter.errors import (
    AnswerError,
    AuthError,
    ConfigError,
    MissingConnectionError,
    NotFoundError,
    ServiceError,
)
from rdo_promoter.model.holding import Held, PackageRow, holding
from rdo_promoter.operators.consistent import TellHoldingOperator
from tests.unit.strategies import build_number
from tests.unit.tasks import Ti, context, made

URL = "https://trunk.example.org/centos7-master"
HELD = holding([PackageRow("nova", "FAILED", 2, build_number(1)), PackageRow("heat", "RETRY", 1)], URL)


@dataclass
class Dlrn:
    """A DLRN that says one thing, or fails."""

    held: tuple[Held, ...] = ()
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)
    report_page = f"{URL}/report.html"

    def holding(self) -> tuple[Held, ...]:
        self.asked.append("holding")
        if self.error:
            raise self.error
        return self.held


def skipped(here: Any, dlrn: Dlrn) -> str:
    """Return why the task ends as skipped."""
    with pytest.raises(AirflowSkipException):
        made(TellHoldingOperator, dlrn).execute(here)
    return str(here["ti"].pushed["reason"])


@pytest.mark.parametrize("run_type", ["scheduled", "manual"])
def test_it_is_green_when_nothing_does(run_type: str) -> None:
    here = context(run_type=run_type)
    made(TellHoldingOperator, Dlrn()).execute(here)
    assert here["ti"].pushed == {"link_report": f"{URL}/report.html", "holding": []}


def test_it_is_skipped_with_all_that_do() -> None:
    here = context()
    said = "consistent is held back by 2 packages: heat (RETRY), nova (FAILED)"
    assert skipped(here, Dlrn(HELD)) == said
    pushed = here["ti"].pushed
    assert pushed["link_report"] == f"{URL}/report.html"
    assert [each["package"] for each in pushed["holding"]] == ["heat", "nova"]
    assert pushed["holding"][1]["log"] == f"{URL}/{build_number(1).path}/rpmbuild.log"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"run_type": "backfill"}, "not told in a backfill: what holds consistent back is told of now"),
        (
            {"run_type": "manual", "hash": build_number(1).full_hash},
            "not told in a run of a named build: it does not wait for consistent",
        ),
    ],
)
def test_a_run_that_does_not_take_the_newest_build_does_not_ask(run: dict[str, Any], said: str) -> None:
    dlrn = Dlrn(HELD)
    assert skipped(context(**run), dlrn) == said
    assert dlrn.asked == []


def test_a_silent_dlrn_is_asked_again_and_fails_no_run_in_the_end() -> None:
    dlrn = Dlrn(error=ServiceError("DLRN's repositories: 503"))
    for number in (1, 2):
        with pytest.raises(ServiceError):
            made(TellHoldingOperator, dlrn).execute(context(Ti(try_number=number, max_tries=2)))
    last = context(Ti(try_number=3, max_tries=2))
    assert skipped(last, dlrn) == "what holds consistent back cannot be told: DLRN's repositories: 503"


@pytest.mark.parametrize(
    "error", [NotFoundError, AnswerError, ConfigError, AuthError, MissingConnectionError]
)
def test_what_no_other_try_mends_is_told_at_once(error: type[Exception]) -> None:
    assert skipped(context(), Dlrn(error=error("why"))) == "what holds consistent back cannot be told: why"
