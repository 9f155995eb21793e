"""Services fail in the middle of a phase, a little later each time, until the phase is through by then."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.engine import observer
from tests.engine.breaking import break_, try_
from tests.engine.phases import Run
from tests.engine.world import API, SERVERS, TOKENS, TREE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def _requests(step: int) -> Sequence[int]:
    return range(1, 1000, step)


def _bytes(observed: int, step: int) -> Sequence[int]:
    """Return numbers of bytes: few while the server is only looked at, then each step of what changes it."""
    return (*range(2800, observed, 1000), *range(observed, 200_000, step))


#: Phase -> the service that its changes are made in, and after what it fails: requests, or bytes of sshd.
CHANGED = {
    "admit": (API, _requests(1)),
    "tag for CI": ("rdo", _requests(5)),
    "push for CI": ("dockerhub", _requests(20)),
    "copy to dockerhub": ("dockerhub", _requests(13)),
    "copy to quay": ("quay", _requests(25)),
    "mirror to rh1": ("rh1", _bytes(5000, 16_000)),
    "tag in rdo": ("rdo", _requests(4)),
    "tag in dockerhub": ("dockerhub", _requests(4)),
    "tag in quay": ("quay", _requests(6)),
    "link on images": ("images", _bytes(5800, 150)),
    "link on rh1": ("rh1", _bytes(5800, 150)),
    "commit": (API, _requests(3)),
}

#: The same for what it is read from, and what stands between.
READ = {
    "push for CI": ("rdo", _requests(4)),
    "preflight": (API, _requests(2)),
    "copy to dockerhub": ("rdo", _requests(5)),
    "copy to quay": (TOKENS, _requests(2)),
    "mirror to rh1": ("images", _bytes(5000, 16_000)),
    "check copies": (TREE, _requests(1)),
    "tag in dockerhub": ("rdo", _requests(1)),
    "tag in quay": (TOKENS, _requests(2)),
    "link on rh1": ("images", _bytes(5000, 500)),
    "commit": (TREE, _requests(3)),
    "verify": ("quay", _requests(5)),
}


@pytest.mark.parametrize(
    ("how", "points"),
    [("cut", CHANGED), ("503", CHANGED), ("down", CHANGED), ("cut", READ)],
    ids=["cut", "503", "down", "cut where it is read"],
)
def test_a_service_fails_in_the_middle(
    run: Run, how: str, points: dict[str, tuple[str, Sequence[int]]]
) -> None:
    first = observer.look(run)
    planned = copied = False
    for phase in run.phases():
        service, numbers = points.get(phase.name, ("", ()))
        failed, way = 0, how
        if how == "503" and service in SERVERS:
            way, numbers = "slow", numbers[::4]  # each of these has to be waited for
        for after in numbers:
            break_(run, service, way, after=after)
            error = try_(run, phase, service)
            run.rdo.world.outages[service].mend()
            observer.check(run, observer.look(run), first, planned=planned, copied=copied)
            if error is None:
                break
            failed += 1
        else:
            run.go(phase)
        assert failed > 1 or not numbers, phase.name
        planned, copied = planned or phase.name == "preflight", copied or phase.name == "check copies"
        observer.check(run, observer.look(run), first, planned=planned, copied=copied)
    assert observer.look(run) == observer.promoted(run)
