"""What people answered, as far as it keeps a build back."""

from __future__ import annotations

import pytest

from rdo_promoter.model.decisions import Answer, in_force
from rdo_promoter.model.refusals import refusals
from tests.unit.test_decisions import answered

HASH = "a" * 40 + "_" + "b" * 8


@pytest.mark.parametrize(
    ("where", "since", "kept"),
    [
        ({"gates": ["up.gate"]}, 0, True),
        ({"gates": ["up.gate"]}, 910, True),
        ({"gates": ["up.gate"]}, 911, False),  # tested again since
        ({"approvals": ["up.gate"]}, 911, True),
        ({"gates": ["another"]}, 0, False),
    ],
)
def test_testing_again_undoes_that_a_gate_gave_a_build_up(
    where: dict[str, list[str]], since: int, kept: bool
) -> None:
    decisions = in_force([answered(Answer.REJECT, 910, full_hash=HASH, task_id="up.gate")])
    assert bool(list(refusals(decisions, HASH, **where, since=since))) is kept
