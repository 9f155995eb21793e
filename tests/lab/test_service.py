"""A service is started once, found again, and ended with everything that it has started."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.service import Service, wait_for

#: Starts a process in a group of its own that does not end when asked to; each writes its number.
PARENT = """
import os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
child = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
process = subprocess.Popen([sys.executable, "-c", child], process_group=0, stdout=subprocess.PIPE)
process.stdout.readline()
(folder / f"child-{os.getpid()}").write_text(str(process.pid))
signal.pause()
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service("family", tmp_path / "run", lambda _: [sys.executable, "-c", PARENT, str(tmp_path)])
    yield found
    found.stop(signal.SIGKILL)


def family(service: Service) -> tuple[psutil.Process, psutil.Process]:
    """Return the running service and its child."""
    leader = service.process()
    assert leader is not None
    file = service.run.parent / f"child-{leader.pid}"
    wait_for(lambda: file.exists() and file.read_text() != "", "it has a child")
    return leader, psutil.Process(int(file.read_text()))


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_stop_ends_also_what_does_not_want_to(service: Service) -> None:
    assert service.start() is True
    leader, child = family(service)
    assert set(service.members()) == {leader, child}
    assert os.getpgid(child.pid) != os.getpgid(leader.pid)
    service.stop(deadline=0.3)
    assert not lives(leader)
    assert not lives(child)
    assert service.members() == []


def test_stop_ends_what_a_killed_one_has_left(service: Service) -> None:
    service.start()
    leader, child = family(service)
    leader.kill()
    wait_for(lambda: service.process() is None, "it is dead")
    assert service.members() == [child]
    service.stop(deadline=0.3)
    assert not lives(child)


def test_start_ends_what_a_killed_one_has_left(service: Service) -> None:
    service.start()
    leader, child = family(service)
    leader.kill()
    wait_for(lambda: service.process() is None, "it is dead")
    assert service.start() is True
    assert not lives(child)
    again, fresh = family(service)
    assert {again.pid, fresh.pid}.isdisjoint({leader.pid, child.pid})
    assert service.start() is False
    assert service.process() == again


def test_it_carries_the_labs_mark(service: Service) -> None:
    service.start()
    for process in family(service):
        assert process.environ()["RDO_LAB_ROOT"] == str(service.run.parent)
