"""Keeps a command running, as systemd or compose do where Airflow is at home.

`python -I keeper.py WORD...` runs the words as a command in its own session. When the command ends without
having been asked to, what it has left in the session is killed, and it is started again after a pause that
grows while it does not live long. A command whose very first start fails has wrong settings, which no second
start mends: then the keeper ends as well.

SIGTERM and SIGINT end it. Who sends one sends it to the whole session, as `Service.stop` does: two of them
would make some of Airflow's components end at once. SIGUSR1 kills the command and keeps it from running,
SIGUSR2 lets it run again.

Only the standard library: each component of an Airflow has one of these.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

#: Seconds of the first pause, and of the longest.
FIRST, LONGEST = 0.5, 8.0

#: Seconds after which a command that ends has lived, so that the next pause is a first one.
LONG = 20.0

#: Seconds for the command to end when it is asked to.
GRACE = 15.0

_STOP = {signal.SIGTERM, signal.SIGINT}
_HOLD, _GO_ON = signal.SIGUSR1, signal.SIGUSR2
_SIGNALS = {*_STOP, _HOLD, _GO_ON, signal.SIGCHLD}


def keep(words: list[str]) -> int:
    """Run the words until told to end; return the exit code."""
    if os.getsid(0) != os.getpid():
        _say("has to lead a session of its own: what it ends would be somebody else's")
        return 2
    # Taken one after the other: nothing happens between a look and what follows from it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pause, first = FIRST, True
    while True:
        began = time.monotonic()
        command = subprocess.Popen(words, preexec_fn=_unblock)  # noqa: PLW1509 - one thread
        asked = _ended(command)
        if asked in _STOP:
            _ended(command, GRACE)
            _kill_the_rest()
            return 0
        _kill_the_rest()
        code, lived = command.wait(), time.monotonic() - began
        if asked is None:
            if first and code >= 0 and lived < LONG:
                _say(f"ended with {code} at its first start")
                return code or 1
            pause = FIRST if lived >= LONG else pause
            _say(f"ended with {code} after {lived:.1f} s, starts again in {pause:g} s")
            asked = _next(pause)
            pause = min(2 * pause, LONGEST)
        first = False
        while asked == _HOLD:
            _say("kept from running")
            asked = _next()
        if asked in _STOP:
            return 0


def _ended(command: subprocess.Popen[bytes], seconds: float | None = None) -> int | None:
    """Wait for the command's end and return None, or earlier for a request and return that.

    :param seconds: to wait at most, and then requests do not count.
    """
    until = None if seconds is None else time.monotonic() + seconds
    while command.poll() is None:
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            return None
        signal_ = _wait(left)
        if signal_ in (*_STOP, _HOLD) and until is None:
            return signal_
    return None


def _next(seconds: float | None = None) -> int | None:
    """Return the next request, None when there is none in time."""
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        asked = _wait(left)
        if asked is None or asked != signal.SIGCHLD:
            return asked


def _wait(seconds: float | None) -> int | None:
    if seconds is None:
        return signal.sigwait(_SIGNALS)
    found = signal.sigtimedwait(_SIGNALS, seconds)
    return found.si_signo if found else None


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _kill_the_rest() -> None:
    """Kill everything of the session but this process."""
    session = os.getsid(0)
    for name in (entry.name for entry in Path("/proc").iterdir()):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(int(name)) == session:
                    os.kill(int(name), signal.SIGKILL)


def _say(text: str) -> None:
    print(f"keeper: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
