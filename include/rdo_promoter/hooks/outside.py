"""Connections for a process that Airflow did not start: the command line, while Airflow may be down.

Outside of its components Airflow 3.3 looks a Connection up in the secrets backend and in the environment, and
leaves out the metadata database; it says that a Connection does not exist whatever the reason is why it was
not found. So the database is asked here, for what the others do not have, and once.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rdo_promoter.errors import ConfigError, ServiceError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

#: Seconds that the metadata database has for its answer. Its drivers wait for ever, or for minutes.
DEADLINE = 10.0


def load_airflow() -> None:
    """Load Airflow for a process whose standard output is for a person.

    Airflow writes its log there as soon as it is loaded, ours included; from here on warnings alone are
    written, to standard error.
    """
    logging.disable(logging.CRITICAL)
    try:
        import airflow.sdk  # noqa: F401
    finally:
        logging.disable(logging.NOTSET)
    logging.basicConfig(force=True, level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    # It warns of secrets that are too short to be masked in logs; nothing of them is logged here.
    logging.getLogger("airflow").setLevel(logging.ERROR)


def bring_connections(conn_ids: Mapping[str, str]) -> None:
    """Make sure that this process can read these Connections.

    Those that only the metadata database has are put into this process's environment, where every hook and
    provider finds them; other processes do not see them there.

    :param conn_ids: and for each of them where it is named, for messages.
    :raises ConfigError: naming those that nobody has, or that cannot be read.
    :raises ServiceError: naming those that the database may have, when it does not answer.
    """
    missing = [conn_id for conn_id in conn_ids if not _is_known(conn_id)]
    if not missing:
        return
    try:
        found = _ask_database(missing)
    except ServiceError as error:
        raise ServiceError(f"{_not_found(missing)}, and {error}") from error
    if left := [conn_id for conn_id in missing if conn_id not in found]:
        named = " and ".join(dict.fromkeys(conn_ids[conn_id] for conn_id in left))
        raise ConfigError(f"{_not_found(left)}, nor in the metadata database: check the ids in {named}")
    for conn_id, content in found.items():
        os.environ[_variable(conn_id)] = content


def _is_known(conn_id: str) -> bool:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return False
    return True


def _ask_database(conn_ids: Collection[str]) -> dict[str, str]:
    """Return the Connections that the metadata database has, each as the JSON of an environment variable.

    The question is asked in a thread of its own, which is left behind when no answer comes.

    :raises ServiceError: when it does not answer.
    :raises ConfigError: when what it has cannot be decrypted.
    """
    url = _database()
    place = ":".join(str(part) for part in (url.host, url.port) if part) or url.database
    where = f"the metadata database ({url.drivername}, {place})"
    if url.drivername.startswith("sqlite") and not Path(url.database or "").exists():
        # Airflow would make an empty one.
        raise ServiceError(f"{where} does not exist: set AIRFLOW_HOME and [database] as Airflow has them")
    # All that takes a processor's time is done here: the deadline is the database's alone.
    from airflow import settings
    from airflow.models import Connection  # noqa: F401
    from airflow.secrets.metastore import MetastoreBackend
    from cryptography.fernet import InvalidToken
    from sqlalchemy.orm import configure_mappers

    configure_mappers()

    found: dict[str, str] = {}
    errors: list[Exception] = []

    def ask() -> None:
        try:
            backend = MetastoreBackend()
            for conn_id in conn_ids:
                if connection := backend.get_connection(conn_id):
                    found[conn_id] = _as_json(connection)
        except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=ask, name="metadata-database", daemon=True)
    thread.start()
    thread.join(DEADLINE)
    if thread.is_alive():
        # It would complain at the end about the question that is still open.
        atexit.unregister(settings.dispose_orm)
        raise ServiceError(f"{where} gave no answer within {DEADLINE:.0f} s")
    if not errors:
        return found
    if isinstance(errors[0], InvalidToken):
        raise ConfigError(
            f"{where} has Connections ({', '.join(conn_ids)}) that were encrypted with another key: set "
            "AIRFLOW__CORE__FERNET_KEY as Airflow's components have it"
        ) from errors[0]
    cause = getattr(errors[0], "orig", None) or errors[0]
    # Behind the first line SQLAlchemy writes the statement.
    said = str(cause).partition("\n")[0]
    raise ServiceError(f"{where} does not answer ({type(cause).__name__}: {said})") from errors[0]


def _as_json(connection: object) -> str:
    """Return a row of the database as an environment variable's content."""
    fields = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")
    content = {field: getattr(connection, field, None) for field in fields}
    return json.dumps({field: value for field, value in content.items() if value is not None})


def _not_found(conn_ids: Collection[str]) -> str:
    """Say what was not found by what comes before the database."""
    from airflow.configuration import conf

    named = ", ".join(conn_ids)
    backend = str(conf.get("secrets", "backend", fallback="") or "")
    asked = f", nor in the secrets backend {backend} or it does not answer" if backend else ""
    for variable in map(_variable, conn_ids):
        if os.environ.get(variable):
            return f"{variable} is set, but cannot be read: it has to be a JSON object or a URI"
    what = f"Connection {named} is" if len(conn_ids) == 1 else f"Connections {named} are"
    return f"{what} not in the environment ({', '.join(map(_variable, conn_ids))}){asked}"


def _variable(conn_id: str) -> str:
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def _database() -> URL:
    """Return the metadata database's address, which Airflow has used by now.

    :raises ConfigError: when a part of its password would pass for another part of it.
    """
    from airflow.configuration import conf
    from sqlalchemy.engine import make_url

    url = make_url(str(conf.get("database", "sql_alchemy_conn")))
    if "@" in f"{url.host}{url.database}":
        # Not repeated here.
        raise ConfigError("[database] sql_alchemy_conn has a password with '@': write %40 for it there")
    return url
