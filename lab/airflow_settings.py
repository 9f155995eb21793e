"""The settings of the lab's Airflow: one environment for all of its processes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from lab.proxy import no_proxy
from lab.secret_files import secret, write_secret
from lab.service import HOST

#: The account of the lab's Airflow that may do everything.
USER = "admin"

#: The accounts, and the simple auth manager's role of each: one of every kind.
ACCOUNTS = {USER: "admin", "operator": "op", "user": "user", "viewer": "viewer"}

_INCLUDE = Path(__file__).resolve().parent.parent / "include"


def environment(
    root: Path,
    *,
    dags_folder: Path,
    plugins_folder: Path,
    releases: Path,
    connections: Mapping[str, str],
    port: int,
    database_url: str,
    parallelism: int = 8,
    reread: int = 10,
    triggers: int = 1000,
) -> dict[str, str]:
    """Return the variables that every process of this Airflow needs.

    :param root: the lab's folder.
    :param releases: folder of the release files.
    :param connections: Airflow Connections by their id, each as a URI or JSON.
    :param port: the port of the API server.
    :param database_url: SQLAlchemy address of the metadata database.
    :param parallelism: tasks that run at once; each is a process.
    :param reread: seconds until a Dag file is read again.
    :param triggers: triggers that a triggerer runs at once.
    """
    home = root / "airflow"
    url = f"http://{HOST}:{port}"
    settings: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags_folder,
            "plugins_folder": plugins_folder,
            "load_examples": False,
            "executor": "LocalExecutor",
            # The default asks DNS for the full name, which takes seconds where there is no DNS.
            "hostname_callable": "socket.gethostname",
            # 32 by default; every worker is started at once and costs 150 MB.
            "parallelism": parallelism,
            "execution_api_server_url": f"{url}/execution/",
            "fernet_key": fernet_key(home / "fernet.key"),
            "simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in ACCOUNTS.items()),
            "simple_auth_manager_passwords_file": passwords_file(root),
            # The test button of a Connection is off by default, as it may reach into the network.
            "test_connection": "Enabled",
            # A Dag that is edited shows at once; the default waits for 30 s.
            "min_serialized_dag_update_interval": 1,
            # Runs of the Dags say themselves how many tasks they may run.
            "max_active_tasks_per_dag": 200,
        },
        "database": {"sql_alchemy_conn": database_url},
        "api": {
            "host": HOST,
            "port": port,
            "base_url": url,
            "workers": 1,
            # Also the time that a browser's open stream may hold up a stop; the default is 120 s.
            "worker_timeout": 3,
            "secret_key": secret(home / "api.key"),
            "expose_stacktrace": True,
            # A demonstration is watched: the grid is read again every second instead of every third.
            "auto_refresh_interval": 1,
        },
        "api_auth": {"jwt_secret": secret(home / "jwt.key"), "jwt_issuer": "rdo-lab"},
        "dag_processor": {
            # New files in the folder are found in seconds instead of five minutes,
            "refresh_interval": 2,
            "bundle_refresh_check_interval": 1,
            # and edited ones are read again after 10 s instead of 30. Each reading is a new process.
            "min_file_process_interval": reread,
            "parsing_processes": 1,
            "stale_dag_threshold": 2,
        },
        "scheduler": {
            # Half a second less between two tasks of a chain.
            "scheduler_idle_sleep_time": 0.5,
            # What was killed is found out in seconds; the defaults are minutes.
            "job_heartbeat_sec": 2,
            "scheduler_heartbeat_sec": 2,
            "scheduler_health_check_threshold": 15,
            "task_instance_heartbeat_sec": 2,
            "task_instance_heartbeat_timeout": 20,
            "task_instance_heartbeat_timeout_detection_interval": 5,
            "orphaned_tasks_check_interval": 10,
            # A release file that is broken, renamed or removed takes its Dag away in seconds.
            "parsing_cleanup_interval": 5,
        },
        "workers": {"min_heartbeat_interval": 2},
        "triggerer": {
            "capacity": triggers,
            "job_heartbeat_sec": 2,
            # Triggers of a killed triggerer go to its successor after this time instead of 30 s.
            "triggerer_health_check_threshold": 15,
            # The first template that a triggerer renders loads the execution API inside it: seconds, and
            # much more on a busy machine, during which it looks deadlocked.
            "runner_health_check_threshold": 120,
        },
        "logging": {
            "colored_console_log": False,
            "uvicorn_logging_level": "WARNING",
            # The log servers would listen on all interfaces and are not started: all processes share a disk.
            # Nothing listens on port 1, so the web server does not ask another Airflow's log server.
            "worker_log_server_port": 1,
            "trigger_log_server_port": 1,
        },
        "usage_data_collection": {"enabled": False},
    }
    variables = {
        f"AIRFLOW__{section}__{key}".upper(): str(value)
        for section, values in settings.items()
        for key, value in values.items()
    }
    variables |= {f"AIRFLOW_CONN_{name}".upper(): value for name, value in connections.items()}
    return variables | {
        "AIRFLOW_HOME": str(home),
        "RDO_PROMOTER_RELEASES": str(releases),
        # Every process needs the package, the triggerer included.
        "PYTHONPATH": os.pathsep.join([str(_INCLUDE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        # Compiled anew by each of its processes, Airflow takes a minute to start instead of ten seconds.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
        "SCARF_ANALYTICS": "false",
        # Workers ask the API server over HTTP; a proxy of the machine has no part in that.
        "NO_PROXY": no_proxy(),
        "no_proxy": no_proxy(),
    }


def passwords_file(root: Path) -> Path:
    """Return where the simple auth manager reads the passwords of `ACCOUNTS`."""
    return root / "airflow" / "passwords.json"


def password(root: Path, user: str = USER) -> str:
    """Return an account's password, made at the first question; a person has to type it.

    :param user: one of `ACCOUNTS`.
    """
    file = passwords_file(root)
    if not file.exists():
        write_secret(file, json.dumps({name: secrets.token_hex(4) for name in ACCOUNTS}))
    passwords: dict[str, str] = json.loads(file.read_text())
    return passwords[user]


def fernet_key(file: Path) -> str:
    """Return the key that Airflow encrypts Connections with.

    :param file: its seed, made at the first question.
    """
    return base64.urlsafe_b64encode(hashlib.sha256(secret(file).encode()).digest()).decode()
