"""What stands in a promotion's way, as whoever promotes by hand is told it."""

from __future__ import annotations

import pytest

from rdo_promoter.engine.outlook import Stage, look_ahead
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.model.verdict import Criteria
from tests.engine.rdo import Rdo


@pytest.mark.parametrize(("soak", "ready"), [(3_600, False), (0, True)])
def test_a_build_has_to_soak_by_hand_as_well(rdo: Rdo, soak: int, ready: bool) -> None:
    build = rdo.build()
    rdo.dlrn.promote(build, rdo.candidate_label)
    rdo.ci_builds(build)
    with rdo.lab.dlrn_client(ci=True) as ci:
        ci.report_vote(build, "standalone", True, "https://logs.example.org/1")
    stage = Stage("consistent", {"tests": Criteria(("standalone",), soak=soak)})
    seen = look_ahead(rdo.promotion(build), stage, rdo, Decisions.NONE, reads_only=True)
    assert seen.verdicts["tests"].met
    assert any("has to soak until" in line for line in seen.refusals) is not ready
    assert seen.ready is ready
