"""What measuring the waiting prints at its end, and how it exits; `make wait-load` measures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.wait_load import Figures

#: 40 builds of 28 jobs: at most 440 requests in ten polls.
GOOD = Figures(tasks=1160, decided=1160, requests=440, builds=40, polls=10, seconds=61.4)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (GOOD, 0),
        (replace(GOOD, requests=441), 1),
        (replace(GOOD, decided=1159), 1),
        (replace(GOOD, decided=0, requests=0), 1),
    ],
)
def test_all_have_to_be_decided_by_few_requests(found: Figures, code: int) -> None:
    assert found.exit_code == code


def test_the_last_line_is_the_same_though_not_everything_was_decided() -> None:
    last = "1120 sensors, 440 requests, 40 builds, 10 polls, decided in 61 s"
    assert GOOD.lines() == [last]
    assert replace(GOOD, decided=1100).lines() == ["60 of 1160 tasks not decided, given up after 61 s", last]
