"""Runs in DLRN's own environment: the real API, and two stand-ins.

For the roles that newer servers give users: DLRN 0.26.1 lets everybody who can log in promote. Newer servers
ask for a role, with the same library (flask-httpauth), whose own page is the answer to a user without it.

For a full disk: what sqlite raises then, where it was seen to raise it. All else is DLRN's own doing: that
the link has moved by then, and the answer.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from dlrn.api import app  # type: ignore[import-not-found]  # not installed where mypy runs
from dlrn.api.utils import auth  # type: ignore[import-not-found]
from sqlalchemy import event
from sqlalchemy.orm import Session

__all__ = ["app"]

#: Users who may look and vote, but not promote.
READERS = os.environ["LAB_DLRN_READERS"].split(",")

PROMOTER = "promoter"

#: As long as this file is there, the disk counts as full.
FULL = Path(os.environ["LAB_DLRN_FULL"])


def _roles(login: Any) -> list[str]:
    return [] if login.username in READERS else [PROMOTER]


auth.get_user_roles(_roles)
for name in ("promote", "promote_batch"):
    app.view_functions[name] = auth.login_required(role=PROMOTER)(app.view_functions[name])


@event.listens_for(Session, "before_flush")
def _no_room(*_: object) -> None:
    if FULL.exists():
        raise sqlite3.OperationalError("database or disk is full")
