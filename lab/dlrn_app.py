"""Runs in DLRN's own environment: the real API, and a stand-in for the roles that newer servers give users.

DLRN 0.26.1 lets everybody who can log in promote. Newer servers ask for a role, with the same library
(flask-httpauth), whose own page is the answer to a user without it.
"""

from __future__ import annotations

import os
from typing import Any

from dlrn.api import app  # type: ignore[import-not-found]  # not installed where mypy runs
from dlrn.api.utils import auth  # type: ignore[import-not-found]

__all__ = ["app"]

#: Users who may look and vote, but not promote.
READERS = os.environ["LAB_DLRN_READERS"].split(",")

PROMOTER = "promoter"


def _roles(login: Any) -> list[str]:
    return [] if login.username in READERS else [PROMOTER]


auth.get_user_roles(_roles)
for name in ("promote", "promote_batch"):
    app.view_functions[name] = auth.login_required(role=PROMOTER)(app.view_functions[name])
