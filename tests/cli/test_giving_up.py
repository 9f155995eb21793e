"""A promotion by hand that fails before anything of it is in place: who waits for it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.outage import Outage, before
from rdo_promoter.model.clock import utc
from rdo_promoter.model.ledger import BY_HAND, GivenUp, Planned
from tests.cli.desk import Desk

pytestmark = pytest.mark.lab


@contextmanager
def full(desk: Desk, registry: str) -> Iterator[Outage]:
    """Let a registry answer everything, but take nothing."""
    with before(getattr(desk.lab.registries, registry)) as outage:
        desk.connection(f"registry_{registry}", host=outage.url)
        outage.break_("full")
        yield outage


def test_when_nothing_was_copied_or_moved_nobody_waits(desk: Desk) -> None:
    old, new = desk.tested(2)
    desk.rdo.promote(old)
    untouched = desk.rdo.state()
    with full(desk, "dockerhub") as outage:
        said = desk.ended(desk.start(*desk.words(new), "--no-dry-run", PAUSES=[]), code=1)
        assert "not complete: " in said
        assert f"Moved to {new.full_hash} are:\n  - nothing else\n" in said
        assert "Nothing was copied or moved, so the plan is given up: it keeps nobody waiting.\n" in said
        assert desk.rdo.state() == untouched
        plan, end = desk.ledger.facts()
        assert isinstance(plan, Planned)
        assert isinstance(end, GivenUp)
        assert (end.plan, end.via) == (plan.suffix, "command line")
        assert desk.ledger.unfinished() == ()
        outage.mend()
        desk.promote(new, "--no-dry-run", code=0)
    assert desk.rdo.state().label == new.full_hash


def test_when_something_was_copied_it_is_said_how_long_airflow_waits(desk: Desk) -> None:
    (build,) = desk.tested()
    with full(desk, "quay"):
        said = desk.ended(desk.start(*desk.words(build), "--no-dry-run", PAUSES=[]), code=1)
    assert desk.rdo.tags(build.full_hash)["dockerhub"] == desk.rdo.tags(build.full_hash)["rdo"]
    (plan,) = desk.ledger.unfinished()
    assert plan.build == build
    assert (
        "Something was copied or moved, or that cannot be told. Airflow's runs leave "
        f"{desk.rdo.label} alone until {utc(plan.at + BY_HAND)}, or until it is promoted.\n"
    ) in said


def test_what_an_earlier_command_has_moved_keeps_the_plan(desk: Desk) -> None:
    """Of the second one's plan nothing is in place, but tags name the build."""
    (build,) = desk.tested()
    desk.rdo.promote(build, steps=5)
    with full(desk, "rdo"):
        said = desk.ended(desk.start(*desk.words(build), "--no-dry-run", PAUSES=[]), code=1)
    assert f"Moved to {build.full_hash} are:\n  - registry dockerhub: 4 of 4 tags\n" in said
    assert "Something was copied or moved, or that cannot be told." in said
    assert [plan.build for plan in desk.ledger.unfinished()] == [build]


def test_a_ledger_that_does_not_take_the_end_is_named(desk: Desk) -> None:
    (build,) = desk.tested()
    with full(desk, "dockerhub"):
        command = desk.start(*desk.words(build), "--no-dry-run", PAUSES=[])
        # The copy is tried for seconds.
        command.until("copying containers to dockerhub")
        (desk.folder / "ledger").rename(desk.folder / "elsewhere")
        said = desk.ended(command, code=1)
    assert "Nothing was copied or moved, but that cannot be written down: the ledger" in said
    assert f"Airflow's runs leave {desk.rdo.label} alone until 20" in said
