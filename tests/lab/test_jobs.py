"""What the jobs run on that a release starts itself: started on request, ended with everything in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from lab import container_engine, jobs, ssh_machine
from lab.service import LabError
from rdo_promoter.clients.receiver import Receiver, State
from rdo_promoter.clients.ssh import log_in
from rdo_promoter.clients.ssh_commands import run

pytestmark = pytest.mark.lab


def test_the_fake_jenkins_runs_alone_and_is_told_its_jobs(tmp_path: Path) -> None:
    service = jobs.jenkins(tmp_path)
    known = jobs.connections(tmp_path)["jenkins_lab"]
    login = (str(known["login"]), str(known["password"]))
    try:
        service.ensure()
        jobs.add_jenkins_job(tmp_path, "tests", "HASH", takes=0)
        build = f"{known['host']}/job/tests/buildWithParameters"
        assert requests.post(build, {"HASH": "x"}, timeout=10).status_code == 401
        assert requests.post(build, {"HASH": "x", "OTHER": "y"}, auth=login, timeout=10).status_code == 201
        tree = {"tree": "result,actions[parameters[name,value]]"}
        address = f"{known['host']}/job/tests/1/api/json"
        answer = requests.get(address, tree, auth=login, timeout=10).json()
        assert set(answer) == {"_class", "result", "actions"}
        # What the job does not declare is dropped.
        (parameter,) = answer["actions"][-1]["parameters"]
        assert (parameter["name"], parameter["value"]) == ("HASH", "x")
    finally:
        service.stop()


def test_the_fake_receiver_runs_alone_and_acknowledges_what_is_asked_for(tmp_path: Path) -> None:
    service = jobs.receiver(tmp_path)
    known = jobs.connections(tmp_path)["receiver_lab"]
    host, user, password = (str(known[name]) for name in ("host", "login", "password"))
    try:
        service.ensure()
        with Receiver(host, username=user, password=password) as receiver:
            assert receiver.post("5e" * 32, b"{}").state is State.PENDING
            assert receiver.state("5e" * 32).state is State.ACKNOWLEDGED
    finally:
        service.stop()


def test_commands_begin_in_a_folder_of_the_lab_and_end_as_they_end(tmp_path: Path) -> None:
    service = ssh_machine.service(tmp_path)
    try:
        service.ensure()
        known = ssh_machine.facts(tmp_path)
        with log_in(
            known.host, known.port, known.username, key_file=known.key_file, host_key=known.host_key
        ) as client:
            status, said = run(client, 'pwd; echo "$HOME"; echo no >&2; exit 3', "a command")
    finally:
        service.stop()
    assert (status, said.splitlines()) == (3, [str(known.home), str(known.home), "no"])


@pytest.mark.containers
def test_an_engine_ends_with_its_containers(tmp_path: Path) -> None:
    from docker import APIClient

    service = container_engine.service(tmp_path)
    try:
        service.ensure()
        host = str(container_engine.connection(tmp_path)["host"])
        with APIClient(base_url=host, version="auto") as client:
            assert client.containers(all=True) == []
    finally:
        container_engine.remove_all(tmp_path)
        service.stop()
    assert service.members() == []


def test_too_long_a_folder_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is too long for a socket: put the lab into a folder with a shorter"):
        container_engine.service(tmp_path / ("x" * 100)).start()


def test_connections_are_known_before_anything_runs(tmp_path: Path) -> None:
    once, again = (json.dumps(jobs.connections(tmp_path)) for _ in range(2))
    assert once == again
