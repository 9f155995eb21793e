"""A promotion in one go, as the command line and the sentinel do it."""

from __future__ import annotations

import pytest

from rdo_promoter.engine import promote
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.model.plan import plan
from tests.engine.rdo import Rdo

pytestmark = pytest.mark.lab


def test_it_does_what_the_tasks_do_and_done_again_changes_nothing(rdo: Rdo) -> None:
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    wanted, said = rdo.promotion(new), list[str]()
    row, observed = carry_out(wanted, rdo, promote.preflight(wanted, rdo).was, say=said.append)
    state = rdo.state()
    assert (state.label, state.previous) == (new.full_hash, old.full_hash)
    assert state.tags == rdo.tags(new.full_hash)
    assert (row.build, plan(wanted, observed).changes) == (new, ())
    assert said[-2:] == ["moving DLRN's label", "reading everything back"]
    carry_out(wanted, rdo, promote.preflight(wanted, rdo).was, say=said.append)
    assert rdo.state() == state
