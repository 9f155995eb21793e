"""What the jobs run on that a release starts itself, and what receives hand-offs.

`up` starts none of this: whoever needs it does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab import container_engine, ssh_machine
from lab.fake_jenkins import FakeJenkins
from lab.fake_receiver import FakeReceiver
from lab.secret_files import secret, write_secret
from lab.service import HOST, Service

_PROJECT = Path(__file__).resolve().parent.parent


def _alone(name: str, root: Path, secret_option: str, file: Path) -> Service:
    """Return the process of a fake, to which a file tells its secret."""

    def command(port: int) -> Sequence[str]:
        secret(file)
        words = [sys.executable, "-m", f"lab.fake_{name}", "--port", str(port)]
        return [*words, secret_option, str(file)]

    env = {"PYTHONPATH": os.pathsep.join([str(_PROJECT), str(_PROJECT / "include")])}
    return Service(name, root / "run", command, env=env)


def jenkins(root: Path) -> Service:
    """Return the fake Jenkins's process."""
    return _alone("jenkins", root, "--token-file", _token_file(root))


def receiver(root: Path) -> Service:
    """Return the fake receiver's process."""
    return _alone("receiver", root, "--password-file", _receiver_file(root))


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
        receiver(root),
    )


def connections(root: Path) -> dict[str, dict[str, object]]:
    """Return the Airflow Connections by their ids; they can be made before anything runs."""
    fake = FakeJenkins(token=_token(root))
    fake.url = f"http://{HOST}:{jenkins(root).port}"
    taker = FakeReceiver(password=secret(_receiver_file(root)))
    taker.url = f"http://{HOST}:{receiver(root).port}/handoffs"
    return {
        "jenkins_lab": fake.connection(),
        "ssh_lab": ssh_machine.facts(root).connection(),
        "docker_lab": container_engine.connection(root),
        "receiver_lab": taker.connection(),
        "handoff_key_lab": {"conn_type": "handoff_key", "login": "lab", "password": handoff_key(root)},
    }


def handoff_key(root: Path) -> str:
    """Return the private key that hand-offs are signed with in the lab; it is made at the first call."""
    file = root / "receiver" / "handoff.pem"
    if not file.exists():
        private = Ed25519PrivateKey.generate()
        write_secret(file, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file.read_text()


def _receiver_file(root: Path) -> Path:
    return root / "receiver" / "password"


def _token(root: Path) -> str:
    return secret(_token_file(root))


def _token_file(root: Path) -> Path:
    return root / "jenkins" / "token"
