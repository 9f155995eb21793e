"""A keeper starts its command again when it ends unasked, and ends with it when asked."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab import kept
from lab.service import LabError, Service, wait_for

#: Starts a process in a group of its own that does not end when asked to, and writes both numbers down.
COMMAND = """
import os, pathlib, signal, subprocess, sys
child = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
process = subprocess.Popen([sys.executable, "-c", child], process_group=0, stdout=subprocess.PIPE)
process.stdout.readline()
file = pathlib.Path(sys.argv[1], f"child-{os.getpid()}")
file.with_suffix(".new").write_text(str(process.pid))
file.with_suffix(".new").rename(file)
signal.pause()
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    words = [sys.executable, "-c", COMMAND, str(tmp_path)]
    found = Service("kept", tmp_path / "run", lambda _: kept.kept(words))
    yield found
    found.stop(signal.SIGKILL)


def running(service: Service, *, other: int = 0) -> tuple[psutil.Process, psutil.Process]:
    """Wait for the command and its child, and return them.

    :param other: the number of a command that is not meant.
    """

    def there() -> bool:
        command = kept.command(service)
        return (
            command is not None
            and command.pid != other
            and (service.run.parent / f"child-{command.pid}").exists()
        )

    wait_for(there, "the command runs")
    command = kept.command(service)
    assert command is not None
    return command, psutil.Process(int((service.run.parent / f"child-{command.pid}").read_text()))


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_what_was_killed_comes_back_without_what_it_has_left(service: Service) -> None:
    service.start()
    keeper = service.process()
    command, child = running(service)
    command.kill()
    again, fresh = running(service, other=command.pid)
    assert not lives(child)
    assert lives(fresh)
    assert service.process() == keeper
    assert set(service.members()) == {keeper, again, fresh}
    assert "keeper: ended with -9 after" in service.tail()


def test_the_pause_grows(service: Service) -> None:
    service.start()
    command, _ = running(service)
    for pause in ("0.5", "1"):
        kept.kill(service)
        command, _ = running(service, other=command.pid)
        assert f"starts again in {pause} s" in service.tail(1)


def test_stop_ends_both_and_what_they_have_started(service: Service) -> None:
    service.start()
    keeper = service.process()
    command, child = running(service)
    service.stop(deadline=0.3)
    assert keeper is not None
    assert not [process for process in (keeper, command, child) if lives(process)]
    assert service.members() == []
    assert "ended with" not in service.tail()  # it was asked to


def test_a_killed_keeper_leaves_nothing_behind_that_a_start_does_not_end(service: Service) -> None:
    service.start()
    keeper = service.process()
    command, child = running(service)
    assert keeper is not None
    keeper.kill()
    wait_for(lambda: service.process() is None, "it is dead")
    assert service.start() is True
    running(service, other=command.pid)
    assert not lives(command)
    assert not lives(child)


def test_a_command_that_cannot_start_is_no_secret(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "raise SystemExit('the setting x is wrong')"]
    service = Service("wrong", tmp_path / "run", lambda _: kept.kept(words), ready=lambda _: False)
    service.start()
    with pytest.raises(LabError, match="the setting x is wrong"):
        service.wait_ready()
    assert service.members() == []


def test_it_is_held_and_goes_on(service: Service) -> None:
    service.start()
    command, child = running(service)
    kept.hold(service, True)
    assert not lives(command)
    assert not lives(child)
    kept.hold(service, True)
    assert kept.command(service) is None
    with pytest.raises(LabError, match="kept does not run, so it cannot be killed"):
        kept.kill(service)
    again = Service("kept", service.run, lambda _: [], ready=lambda _: True)  # as another process knows it
    kept.hold(again, False)
    fresh, _ = running(service, other=command.pid)
    kept.hold(again, False)
    assert kept.command(service) == fresh
    kept.hold(service, True)
    service.stop()
    assert service.members() == []
    kept.hold(again, False)  # nothing to let go
    with pytest.raises(LabError, match="start it first"):
        kept.hold(again, True)


def test_it_leads_a_session() -> None:
    words = kept.kept([sys.executable, "-c", "pass"])
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has to lead a session of its own" in done.stdout
