"""The machine's proxy has no part in what the lab's own processes ask each other."""

from __future__ import annotations

import os

from lab.service import HOST


def no_proxy() -> str:
    """Return what NO_PROXY has to be: what it is, and this machine."""
    present = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return ",".join(dict.fromkeys([*filter(None, present.split(",")), HOST, "localhost"]))


def bypass_proxy() -> None:
    """Let this process and those that it starts reach this machine directly."""
    # Programs differ in which of the two they read.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = no_proxy()
