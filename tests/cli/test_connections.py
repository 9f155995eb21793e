"""Where the command line finds its Connections when parts of Airflow, or all of it, are down."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from lab.lab import Lab
from lab.ports import free_port
from lab.postgres import Postgres
from lab.service import HOST
from tests.cli.desk import Desk, wait_for

pytestmark = pytest.mark.lab

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
FERNET = "AIRFLOW__CORE__FERNET_KEY"

#: What Airflow's own commands and forms do with a Connection; its other tables are of no interest here.
FILL = """
import json, sys
from airflow import settings
from airflow.models import Connection, team
settings.configure_orm()
table = Connection.__table__
table.metadata.create_all(settings.engine, tables=[table, *(key.column.table for key in table.foreign_keys)])
with settings.Session() as session:
    for conn_id, text in json.load(sys.stdin).items():
        fields = json.loads(text)
        extra = json.dumps(fields.pop("extra", {}))
        session.add(Connection(conn_id=conn_id, extra=extra, **fields))
    session.commit()
"""


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing: a database machine that hangs."""
    with socket.create_server((HOST, 0)) as server:
        yield server


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def url(server: socket.socket) -> str:
    return f"postgresql+psycopg2://airflow:hunter2hunter2@{HOST}:{server.getsockname()[1]}/airflow"


@pytest.fixture(scope="module")
def metadata(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database server that has the lab's Connections, encrypted, and nothing else of Airflow.

    What it yields are the settings by which Airflow's components find it.
    """
    home = tmp_path_factory.mktemp("metadata")
    server = Postgres("metadata-postgres", home / "run", home / "pg", home / "password")
    server.create()
    server.service.start()
    try:
        server.service.wait_ready()
        server.query("create database airflow")
        settings = {DATABASE: server.url("airflow"), FERNET: Fernet.generate_key().decode()}
        subprocess.run(
            [sys.executable, "-c", FILL],
            env=os.environ | settings | {"AIRFLOW_HOME": str(home)},
            input=json.dumps(lab.connections()),
            text=True,
            check=True,
            timeout=60,
        )
        yield settings
    finally:
        server.service.stop(signal.SIGINT)


@pytest.fixture
def stored(desk: Desk, metadata: dict[str, str]) -> Desk:
    """A desk without Connections of its own: the metadata database has them."""
    for conn_id in desk.connections:
        del desk.env[f"AIRFLOW_CONN_{conn_id.upper()}"]
    desk.env |= metadata
    return desk


def test_the_environment_serves_as_a_shell_has_it_while_the_database_hangs(
    desk: Desk, silent: socket.socket
) -> None:
    """The command as people start it, from its first line to its last."""
    (build,) = desk.tested()
    desk.env[DATABASE] = url(silent)
    process = desk.python("-m", "rdo_promoter.cli", *desk.words(build), "--no-dry-run")
    # What `ps` shows, from the moment on when the process is Python.
    wait_for(lambda: build.full_hash in command_line(process.pid))
    desk.check(command_line(process.pid))
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said
    desk.check(said)
    assert desk.rdo.state().label == build.full_hash
    # Nobody asked the database, so nobody waited for it.
    silent.settimeout(0)
    with pytest.raises(BlockingIOError):
        silent.accept()
    # Nothing of Airflow's log is mixed with what a person reads.
    assert {line[:4] for line in said.splitlines()} <= {
        desk.dag_id[:4],
        "ledg",
        "",
        "stag",
        "  cr",
        "  or",
        "  pl",
        "    ",
        "  ->",
        "2026",
        "  no",
    }


def test_the_metadata_database_serves_while_nothing_of_airflow_runs(stored: Desk) -> None:
    (build,) = stored.tested()
    stored.promote(build, "--no-dry-run", code=0)
    assert stored.rdo.state().label == build.full_hash


def test_a_ledger_may_name_a_connection_of_the_metadata_database(stored: Desk) -> None:
    (build,) = stored.tested()
    stored.env["RDO_PROMOTER_LEDGER"] = f"file://images_rdo@{stored.folder}/ledger"
    stored.promote(build, "--no-dry-run", code=0)
    assert [fact.kind for fact in stored.ledger.facts()] == ["planned", "promoted"]


def test_another_fernet_key_is_said(stored: Desk) -> None:
    stored.env[FERNET] = Fernet.generate_key().decode()
    said = stored.run("plan", stored.name, code=1)
    assert "Traceback" not in said
    assert "were encrypted with another key: set AIRFLOW__CORE__FERNET_KEY" in said


def test_a_database_that_hangs_is_not_waited_for_for_ever(desk: Desk, silent: socket.socket) -> None:
    desk.env[DATABASE] = url(silent)
    del desk.env["AIRFLOW_CONN_IMAGES_RDO"]
    said = desk.run("plan", desk.name, code=1, DEADLINE=0.5)
    assert "Connection images_rdo is not in the environment (AIRFLOW_CONN_IMAGES_RDO)" in said
    assert (
        f"the metadata database (postgresql+psycopg2, {HOST}:{silent.getsockname()[1]}) gave no answer"
        in said
    )
    assert "Traceback" not in said
    assert "hunter2" not in said


def _down(desk: Desk) -> str:
    desk.env[DATABASE] = f"postgresql+psycopg2://airflow:hunter2@{HOST}:{free_port()}/airflow"
    return "Connection refused"


def _none(desk: Desk) -> str:
    desk.env[DATABASE] = f"sqlite:///{desk.folder}/home/airflow.db"
    return f"{desk.folder}/home/airflow.db) does not exist: set AIRFLOW_HOME"


def _no_tables(desk: Desk) -> str:
    desk.env[DATABASE] = f"sqlite:///{desk.folder}/home/airflow.db"
    (desk.folder / "home" / "airflow.db").touch()
    return "no such table: connection"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg2://airflow:hunter2/hunter2@{host}:{port}/airflow",
        "postgresql+psycopg2://airflow:hunter2@hunter2@{host}:{port}/airflow",
        "postgresql+psycopg2://airflow:hunter2@a/hunter2@{host}:{port}/airflow",
    ],
)
def test_no_part_of_the_databases_password_is_said(desk: Desk, address: str) -> None:
    desk.env[DATABASE] = address.format(host=HOST, port=free_port())
    del desk.env["AIRFLOW_CONN_IMAGES_RDO"]
    said = desk.run("plan", desk.name, code=1)
    assert "Connection refused" in said or "has a password with '@': write %40 for it there" in said
    assert "Traceback" not in said
    assert "hunter2" not in said


def test_a_ledgers_connection_that_is_nowhere_is_named(stored: Desk) -> None:
    stored.env["RDO_PROMOTER_LEDGER"] = "s3://disk_xyz@bucket/ledger"
    said = stored.run("plan", stored.name, code=1)
    assert "Connection disk_xyz is not in the environment" in said
    assert "check the ids in RDO_PROMOTER_LEDGER" in said
    assert "release file" not in said


@pytest.mark.parametrize("database", [_down, _none, _no_tables])
def test_a_connection_that_is_nowhere_is_named(desk: Desk, database: Callable[[Desk], str]) -> None:
    because = database(desk)
    del desk.env["AIRFLOW_CONN_IMAGES_RDO"], desk.env["AIRFLOW_CONN_REGISTRY_RDO"]
    said = desk.run("plan", desk.name, code=1)
    assert "Connections registry_rdo, images_rdo are not in the environment" in said
    assert because in said
    assert "Traceback" not in said
    assert "hunter2" not in said
    if database is _none:
        assert not (desk.folder / "home" / "airflow.db").exists()


def test_a_connection_that_the_database_has_not_is_named(stored: Desk) -> None:
    stored.file.write_text(
        stored.file.read_text().replace("connection: images_rdo", "connection: images_xyz")
    )
    said = stored.run("plan", stored.name, code=1)
    assert (
        "Connection images_xyz is not in the environment (AIRFLOW_CONN_IMAGES_XYZ), nor in the metadata"
        in said
    )


def test_a_connection_that_cannot_be_read_is_named(desk: Desk) -> None:
    desk.env["AIRFLOW_CONN_IMAGES_RDO"] = '{"conn_type": "sftp", '
    said = desk.run("plan", desk.name, code=1)
    assert "AIRFLOW_CONN_IMAGES_RDO is set, but cannot be read" in said


def test_a_secrets_backend_that_fails_is_named(desk: Desk) -> None:
    del desk.env["AIRFLOW_CONN_IMAGES_RDO"]
    folder = desk.folder / "nothing.json"
    backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    desk.env["AIRFLOW__SECRETS__BACKEND"] = backend
    desk.env["AIRFLOW__SECRETS__BACKEND_KWARGS"] = json.dumps({"connections_file_path": str(folder)})
    said = desk.run("plan", desk.name, code=1)
    assert f"nor in the secrets backend {backend}" in said
    folder.write_text(json.dumps({"images_rdo": json.loads(desk.connections["images_rdo"])}))
    assert "stage upstream" in desk.run("plan", desk.name, "--hash", desk.tested()[0].full_hash, code=0)
