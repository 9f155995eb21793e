"""The ledger where Airflow's settings say it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.errors import ConfigError, ServiceError

#: Names the ledger's place: a folder, or a URL as Airflow's ObjectStoragePath reads it.
ENVIRONMENT = "RDO_PROMOTER_LEDGER"

#: The ledger's folder below AIRFLOW_HOME when nothing is said.
DEFAULT = "rdo-promoter-ledger"

#: What an Airflow Connection can be called.
_CONN_ID = re.compile(r"[\w.-]+")


def ledger(*, make: bool = True) -> Ledger:
    """Return the ledger that this installation shares: tasks, the UI, the command line.

    ``RDO_PROMOTER_LEDGER`` names a folder that exists, or a URL such as ``s3://<Connection>@<bucket>/<folder>``.
    Without it a folder in AIRFLOW_HOME is made, which serves one machine only.

    :param make: False where Airflow may not be at home: a ledger that was just made knows of no promotion.
    :raises ConfigError: when the place cannot be one.
    :raises ServiceError: when its file system cannot be opened.
    """
    named = _named()
    if not named:
        return Ledger(_default(make=make))
    if "://" not in named:
        if not Path(named).is_absolute():
            # Components of Airflow start in different folders.
            raise ConfigError(f"{ENVIRONMENT} is {named!r}: write the whole path, beginning with '/'")
        return Ledger(Path(named))
    return _at_url(named)


def is_named() -> bool:
    """Tell whether the environment names the ledger's place."""
    return bool(_named())


def ledger_connection() -> tuple[str, ...]:
    """Return the id of the Airflow Connection that the ledger's place names, if it names one.

    :raises ConfigError: when it holds a login instead.
    """
    # Not split as a URL: a secret in it may hold any of its separators.
    before, at, _ = _named().partition("://")[2].rpartition("@")
    if at and not _CONN_ID.fullmatch(before):
        # Not repeated here: it looks like a login.
        raise ConfigError(
            f"{ENVIRONMENT} holds a login: name an Airflow Connection instead, "
            "<scheme>://<Connection>@<bucket>/.., and no other '@'"
        )
    return (before,) if at else ()


def _named() -> str:
    return os.environ.get(ENVIRONMENT, "").strip()


def _default(*, make: bool) -> Path:
    from airflow.configuration import AIRFLOW_HOME

    folder = Path(AIRFLOW_HOME) / DEFAULT
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"the ledger {folder} cannot be made ({type(error).__name__}: {error}): name a folder or a URL "
            f"in {ENVIRONMENT}"
        ) from error
    return folder


def _at_url(url: str) -> Ledger:
    ledger_connection()  # refuses a login
    from airflow.sdk import ObjectStoragePath

    try:
        place = ObjectStoragePath(url)
        # What goes wrong with the Connection is raised here; ObjectStoragePath itself would go on without it.
        _ = place.fs
    except Exception as error:
        raise ServiceError(
            f"the ledger {url} cannot be opened ({type(error).__name__}: {error}): look at {ENVIRONMENT}, at "
            "the Connection that it names, and whether the provider of its scheme is installed"
        ) from error
    return Ledger(place)
