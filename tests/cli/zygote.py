"""Starts commands in processes of their own, without the seconds that each would take to load Airflow.

This process loads the command line and Airflow once. For each line of JSON on its standard input it forks;
the child is what ``python -m rdo_promoter.cli`` would be once it is loaded. Lines on its standard output say
which process was started, and how each ended: ``{"pid": 7}``, ``{"pid": 7, "code": 0}``.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import selectors
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from rdo_promoter.hooks.outside import load_airflow

load_airflow()

from airflow import configuration, settings  # noqa: E402

from rdo_promoter.cli import by_hand, main, outlook  # noqa: E402, F401  # loaded for the children


def _say(**fields: int) -> None:
    print(json.dumps(fields), flush=True)


def _child(job: Mapping[str, Any]) -> NoReturn:
    """Become the command."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A shell lets what it runs in the background ignore Ctrl-C, and all that this starts as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, path in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    if not job["reader"]:
        ours, theirs = os.pipe()
        os.close(ours)
        os.dup2(theirs, 1)
    os.environ.clear()
    os.environ.update(job["env"])
    # What Airflow reads once, when it is loaded.
    configuration.AIRFLOW_HOME = os.environ["AIRFLOW_HOME"]
    settings.configure_vars()  # type: ignore[no-untyped-call]
    settings.configure_orm()  # type: ignore[no-untyped-call]
    for name, value in job["patch"].items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    code: object = 3
    try:
        code = main(job["words"])
    except SystemExit as left:
        code = left.code
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        # What belongs to the zygote is not closed here.
        os._exit(code if isinstance(code, int) else 3)


def serve() -> None:
    """Start what is asked for until standard input ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(reader, selectors.EVENT_READ)
    pending = b""
    while True:
        for key, _ in selector.select():
            if key.fd == reader:
                os.read(reader, 1000)
                while (ended := _ended()) is not None:
                    _say(pid=ended[0], code=ended[1])
                continue
            content = os.read(0, 2**16)
            if not content:
                return
            *jobs, pending = (pending + content).split(b"\n")
            for job in jobs:
                pid = os.fork()
                if pid == 0:
                    _child(json.loads(job))
                _say(pid=pid)


def _ended() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


if __name__ == "__main__":
    serve()
