"""One answer serves all threads for a second; none writes after an answer that was no."""

from __future__ import annotations

import itertools

import pytest

from rdo_promoter.clients.registry import run_all
from rdo_promoter.engine import turn
from rdo_promoter.engine.turn import EVERY, StillOurTurn
from rdo_promoter.errors import ConflictError, ServiceError


class Clock:
    """The clock that is read there."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(turn, "time", clock)
    return clock


def test_an_answer_serves_for_a_second_after_its_question(clock: Clock) -> None:
    looks: list[float] = []

    def look() -> None:
        looks.append(clock.now)
        clock.now += 0.4  # the answer takes that long

    still = StillOurTurn(look)
    for _ in range(101):
        still()
        clock.now += EVERY / 10
    assert len(looks) > 10
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert all(EVERY <= gap < 1.2 * EVERY for gap in gaps)


@pytest.mark.parametrize("no", [ConflictError("somebody has moved it"), ServiceError("no answer")])
def test_no_thread_writes_or_looks_after_a_look_that_failed(clock: Clock, no: Exception) -> None:
    looks: list[float] = []
    written: list[int] = []

    def look() -> None:
        looks.append(clock.now)
        raise no

    still = StillOurTurn(look)
    clock.now += EVERY

    def write(number: int) -> None:
        still()
        written.append(number)

    with pytest.raises(type(no), match=str(no)):
        run_all(write, range(150), threads=16)
    assert (looks, written) == ([clock.now], [])
