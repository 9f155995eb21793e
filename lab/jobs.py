"""What the jobs run on that a release starts itself. `up` starts none of this: whoever needs it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import requests

from lab import container_engine, ssh_machine
from lab.fake_jenkins import FakeJenkins
from lab.secret_files import secret
from lab.service import HOST, Service

_PROJECT = Path(__file__).resolve().parent.parent


def jenkins(root: Path) -> Service:
    """Return the fake Jenkins's process."""

    def command(port: int) -> Sequence[str]:
        _token(root)
        words = [sys.executable, "-m", "lab.fake_jenkins", "--port", str(port)]
        return [*words, "--token-file", str(_token_file(root))]

    env = {"PYTHONPATH": os.pathsep.join([str(_PROJECT), str(_PROJECT / "include")])}
    return Service("jenkins", root / "run", command, env=env)


def add_jenkins_job(root: Path, name: str, *parameters: str, **settings: object) -> None:
    """Make a job in the fake Jenkins, whose settings are those of `FakeJob`."""
    known = connections(root)["jenkins_lab"]
    answer = requests.post(
        f"{known['host']}/fake/jobs",
        json={"name": name, "parameters": parameters, **settings},
        auth=(str(known["login"]), str(known["password"])),
        timeout=10,
    )
    answer.raise_for_status()


def jenkins_builds(root: Path, name: str) -> list[dict[str, str]]:
    """Return the parameters of each build of a job, the newest first."""
    known = connections(root)["jenkins_lab"]
    answer = requests.get(
        f"{known['host']}/job/{name}/api/json",
        params={"tree": "allBuilds[actions[parameters[name,value]]]"},
        auth=(str(known["login"]), str(known["password"])),
        timeout=10,
    )
    answer.raise_for_status()
    return [
        {each["name"]: each["value"] for action in build["actions"] for each in action.get("parameters", ())}
        for build in answer.json()["allBuilds"]
    ]


def services(root: Path, *, insecure: Sequence[str] = ()) -> tuple[Service, ...]:
    """Return the processes.

    :param insecure: registries that speak plain HTTP, each ``host:port``, from which containers come.
    """
    return (
        jenkins(root),
        ssh_machine.service(root),
        container_engine.service(root, insecure=insecure),
    )


def connections(root: Path) -> dict[str, dict[str, object]]:
    """Return the Airflow Connections by their ids; they can be made before anything runs."""
    fake = FakeJenkins(token=_token(root))
    fake.url = f"http://{HOST}:{jenkins(root).port}"
    return {
        "jenkins_lab": fake.connection(),
        "ssh_lab": ssh_machine.facts(root).connection(),
        "docker_lab": container_engine.connection(root),
    }


def _token(root: Path) -> str:
    return secret(_token_file(root))


def _token_file(root: Path) -> Path:
    return root / "jenkins" / "token"
