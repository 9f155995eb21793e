"""Everything that a run leaves behind where people can read it, and whether a secret is in it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil

from lab import jobs
from lab.airflow import DATABASE
from lab.airflow_settings import fernet_key, passwords_file
from lab.lab import Lab
from lab.postgres import Postgres
from lab.tokens import ACCOUNTS
from tests.airflow.world import World


def secrets_of(world: World) -> dict[str, str]:
    """Return every secret of the lab and of its Airflow by a name that may be shown."""
    lab, home = world.lab, world.flow.home
    found = {
        "DLRN promoter": lab.dlrn.password,
        "DLRN ci": lab.dlrn.ci_password,
        "DLRN reader": lab.dlrn.reader_password,
    }
    for conn_id, content in lab.connections().items():
        if value := json.loads(content).get("password"):
            found[f"{conn_id} password"] = value
    texts = [*home.glob("*.key"), home / "postgres.password"]
    for registry in lab.registries:
        # `password` is a registry's, `http-secret` signs its uploads, the accounts are its token server's.
        texts += [*registry.folder.rglob("password"), *registry.folder.rglob("http-secret")]
        texts += registry.folder.rglob("accounts/*")
    for file in texts:
        found[_name(lab, file)] = file.read_text().strip()
    for file in _key_files(lab):
        # Of all lines the third is nobody else's: the first two name the kind of the key.
        found[_name(lab, file)] = file.read_text().splitlines()[2]
    for user, password in json.loads(passwords_file(lab.root).read_text()).items():
        found[f"Airflow's user {user}"] = password
    # All of a key in one string would be found nowhere: logs and databases write its lines in their own way.
    found["hand-off key"] = jobs.handoff_key(lab.root).splitlines()[1]
    # The file is its seed; this is what Airflow has.
    found["Airflow's Fernet key"] = fernet_key(home / "fernet.key")
    return found | _encoded(lab, found)


def _key_files(lab: Lab) -> list[Path]:
    """Return the private keys: of TLS, of the signer of tokens, of sshd's hosts and of their accounts."""
    tls = [file for registry in lab.registries for file in registry.folder.rglob("server.key")]
    return [*tls, *(file.with_suffix("") for file in lab.root.glob("*/sshd/*.pub"))]


def _name(lab: Lab, file: Path) -> str:
    return str(file.relative_to(lab.root))


def _encoded(lab: Lab, secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets as they travel: in an Authorization header, and in an address."""
    dlrn = lab.dlrn
    users = {dlrn.username, dlrn.ci_username, dlrn.reader_username, *ACCOUNTS}
    users |= {registry.username for registry in lab.registries if registry.username}
    found = {f"{name} in an address": quote(secret, safe="") for name, secret in secrets.items()}
    for name, secret in secrets.items():
        for user in users:
            header = base64.b64encode(f"{user}:{secret}".encode()).decode()
            found[f"{name} in a header of {user}"] = header
    return found


def leaks(secrets: Mapping[str, str], places: Mapping[str, str]) -> list[str]:
    """Name each place and the secret that can be read there, without the secret."""
    return [
        f"{where}: {name}"
        for where, text in places.items()
        for name, secret in secrets.items()
        if secret in text
    ]


def logs(world: World) -> dict[str, str]:
    """Return the logs of all services, of Airflow's components and of its tasks."""
    files = [*(world.lab.root / "run").glob("*.log"), *(world.flow.home / "logs").rglob("*.log")]
    return {str(file.relative_to(world.lab.root)): file.read_text(errors="replace") for file in files}


def ledger(world: World) -> dict[str, str]:
    """Return the facts in the ledger's folder: plans, promotions, decisions."""
    files = [file for file in world.ledger.rglob("*") if file.is_file()]
    return {str(file.relative_to(world.lab.root)): file.read_text(errors="replace") for file in files}


def database(world: World) -> dict[str, str]:
    """Return every table of Airflow's database as text: XComs, rendered templates, audit log ..."""
    home = world.flow.home
    postgres = Postgres("airflow-postgres", world.lab.root / "run", home / "pg", home / "postgres.password")
    tables = postgres.query(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'", database=DATABASE
    )
    found = {}
    for (table,) in tables:
        rows = postgres.query(f'SELECT t::text FROM "{table}" t', database=DATABASE)
        found[f"table {table}"] = "\n".join(str(row[0]) for row in rows)
    return found


@contextmanager
def watched_processes() -> Iterator[dict[str, str]]:
    """Collect the command lines of all processes of this machine while the block runs."""
    seen: dict[str, str] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or []
                seen[f"process {process.pid} {words[:1]}"] = "\0".join(words)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
