"""Each service fails at each phase of a run, outlasts the clients' patience, and is mended.

While it is broken, a phase goes through or says which service did not do what, in a way that makes Airflow
try again. Afterwards the same phase goes through, and in the end nothing tells that there was an outage.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.outage import MODES, TCP_MODES
from tests.clients.sshd_fixtures import small_disk
from tests.engine import observer
from tests.engine.breaking import break_, try_
from tests.engine.phases import Phase, Run
from tests.engine.world import ALL, SERVERS, TOKENS, TREE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def modes(service: str) -> list[str]:
    """Return the ways in which a service can fail."""
    ways = TCP_MODES if service in SERVERS else tuple(MODES)
    # Where nothing is stored, no disk can be full.
    return [how for how in ways if how != "full" or service not in (TREE, TOKENS)]


def turns(phase: Phase, service: str, number: int) -> Iterator[tuple[str, bool]]:
    """Yield how a service is broken before a phase, and whether the phase fails then; success comes last.

    What a phase does not need is broken in one way. Otherwise each way has its turn, and each phase begins
    with another one, so that each is the last before mending.
    """
    ways = modes(service)
    ways = ways[number % len(ways) :] + ways[: number % len(ways)]
    if service not in phase.asks:
        yield ways[0], False
        return
    full = [how for how in ways if how == "full" and service not in phase.changes]
    yield from ((how, True) for how in ways if how not in full)
    yield from ((how, False) for how in full)


@pytest.mark.parametrize("service", sorted(ALL))
def test_a_service_fails_in_every_way_at_each_phase(run: Run, service: str) -> None:
    first = observer.look(run)
    planned = copied = False
    for number, phase in enumerate(run.phases()):
        for how, failing in turns(phase, service, number):
            break_(run, service, how)
            error = try_(run, phase, service)
            assert (error is not None) == failing, f"{phase.name}, {how}: {error}"
            if error is not None:
                observer.check(run, observer.look(run), first, planned=planned, copied=copied)
            run.rdo.world.outages[service].mend()
        if failing:
            run.go(phase)
        planned, copied = planned or phase.name == "preflight", copied or phase.name == "check copies"
        observer.check(run, observer.look(run), first, planned=planned, copied=copied)
    assert observer.look(run) == observer.promoted(run)


@pytest.mark.parametrize("service", SERVERS)
def test_an_image_server_has_no_space_at_each_phase(run: Run, service: str, tmp_path: Path) -> None:
    """What is to be copied there fails until there is space again; reading goes on, and so do links.

    A server of the same folders stands in for it, which can write no byte to any file: the lab's own is at
    work for other tests as well.
    """
    first = observer.look(run)
    planned = copied = False
    with small_disk(run.rdo.lab.root, tmp_path, 0, service) as port:
        for phase in run.phases():
            with run.rdo.world.outages[service].leading_to(port):
                error = try_(run, phase, service)
            assert (error is not None) == (phase.name == "mirror to rh1" and service == "rh1"), phase.name
            if error is not None:
                assert "most often the disk is full" in str(error)
                observer.check(run, observer.look(run), first, planned=planned, copied=copied)
                run.go(phase)
            planned, copied = planned or phase.name == "preflight", copied or phase.name == "check copies"
            observer.check(run, observer.look(run), first, planned=planned, copied=copied)
    assert observer.look(run) == observer.promoted(run)


def test_nothing_fails(run: Run) -> None:
    """What all others are compared with."""
    first = observer.look(run)
    for phase in run.phases():
        run.go(phase)
    assert observer.look(run) == observer.promoted(run) != first


def test_services_that_are_slow_but_not_too_slow(run: Run) -> None:
    for outage in run.rdo.world.outages.values():
        outage.break_("slow", seconds=0.02)
    for phase in run.phases():
        run.go(phase)
    assert observer.look(run) == observer.promoted(run)
