"""The lab as a whole: up, up again, up after a crash, down."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
import yaml

from lab import demo_report, seed
from lab.cli import main
from lab.dlrn import tree_folder
from lab.lab import PROJECT, Lab
from lab.service import listens, wait_for
from lab.sweep import orphans
from rdo_promoter.clients.ssh import connect

pytestmark = pytest.mark.lab

#: The vote that the builder writes for each build that becomes consistent.
BUILDER_VOTE = "consistent"


def pids(lab: Lab) -> dict[str, int | None]:
    return {state.name: state.pid for state in lab.status()}


def builds(lab: Lab) -> set[str]:
    return {folder.name for folder in tree_folder(lab.root).glob("??/??/*")}


def test_up_twice_changes_nothing(spare_lab: Lab) -> None:
    spare_lab.up()
    before, had = pids(spare_lab), builds(spare_lab)
    said: list[str] = []

    assert spare_lab.up(said.append) is False

    assert pids(spare_lab) == before
    assert builds(spare_lab) == had
    assert said == []


def test_everything_listens_on_this_machine_alone(lab: Lab) -> None:
    addresses = {
        connection.laddr.ip
        for pid in pids(lab).values()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize(
    "name",
    [
        "dlrn-api",
        "dlrn-repo",
        "registry-rdo",
        "registry-dockerhub",
        "registry-quay",
        "quay-tokens",
        "sshd",
        "sshd-rh1",
    ],
)
def test_a_killed_service_comes_back_at_its_address(spare_lab: Lab, name: str) -> None:
    spare_lab.up()
    before = {state.name: state for state in spare_lab.status()}
    pid = before[name].pid
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)
    wait_for(lambda: pids(spare_lab)[name] is None, f"{name} is gone")

    assert spare_lab.up() is True

    after = {state.name: state for state in spare_lab.status()}
    assert all(state.up for state in after.values())
    assert after[name].port == before[name].port
    assert {n for n in after if after[n].pid != before[n].pid} == {name}


def test_all_killed_and_forgotten_comes_back_with_its_data(spare_lab: Lab) -> None:
    spare_lab.up()
    had, ports = builds(spare_lab), [state.port for state in spare_lab.status()]
    old = [pid for pid in pids(spare_lab).values() if pid is not None]
    # Half of the services are killed, the other half runs on while the lab has forgotten it.
    for pid in old[::2]:
        os.killpg(pid, signal.SIGKILL)
    for file in (spare_lab.root / "run").glob("*.json"):
        file.unlink()
    assert orphans(spare_lab.root)

    spare_lab.up()

    assert all(state.up for state in spare_lab.status())
    assert not {pid for pid in old if psutil.pid_exists(pid)} & set(old)
    assert [state.port for state in spare_lab.status()] == ports
    assert builds(spare_lab) == had
    assert demo_report.labelled(spare_lab, "current-tripleo") == seed.builds(0)["seed-w"].build.full_hash


def test_a_stale_pid_is_nobodys(spare_lab: Lab) -> None:
    """A pid that another program got meanwhile is not taken for the service, and not killed."""
    spare_lab.up()
    file = spare_lab.root / "run" / "registry-rdo.json"
    state = json.loads(file.read_text())
    # Numbers come round again after a while; other tests may have started the service this very second.
    earlier = {"created": state["created"] - 60}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        file.write_text(json.dumps({**state, **earlier, "pid": stranger.pid}))
        spare_lab.up()
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    assert all(state.up for state in spare_lab.status())
    assert pids(spare_lab)["registry-rdo"] != state["pid"]


def test_an_up_that_was_killed_in_the_middle_is_done_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    command = [sys.executable, "-m", "lab", "--root", str(lab.root), "up"]
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "include")])
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    try:
        repositories = (
            lab.root / "registries" / "rdo" / "storage" / "docker" / "registry" / "v2" / "repositories"
        )
        wait_for(lambda: len(list(repositories.glob("*/*"))) > 5, "the seed has begun", deadline=60)
        process.kill()
        process.wait()
        assert not lab.exists

        assert lab.up() is True

        assert builds(lab) == {new.build.full_hash for new in seed.builds(0).values()}
        assert all(state.up for state in lab.status())
        w, v = (seed.builds(0)[name].build.full_hash for name in ("seed-w", "seed-v"))
        report = demo_report.inspect(lab, w, v)
        assert report.verified, "\n".join(map(str, report.checks))
    finally:
        lab.down()


def test_two_labs_live_side_by_side_and_down_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "another lab")
    other.up()
    other.start_ci("silent")
    states = other.status()
    assert {state.name for state in states} >= {"ci", "sshd-rh1", "quay-tokens"}
    assert not {state.port for state in states} & {state.port for state in lab.status()}
    build = other.add_build()
    assert build.full_hash in builds(other)
    assert build.full_hash not in builds(lab)

    other.down()

    assert orphans(other.root) == []
    assert not [state.name for state in states if psutil.pid_exists(state.pid or 0) or listens(state.port)]
    assert all(state.up for state in lab.status())
    other.down(purge=True)
    assert not other.root.exists()


def test_down_ends_what_the_lab_has_forgotten(spare_lab: Lab) -> None:
    spare_lab.up()
    ports = [state.port for state in spare_lab.status()]
    for file in (spare_lab.root / "run").glob("*.json"):
        file.unlink()

    spare_lab.down()

    assert orphans(spare_lab.root) == []
    assert not [port for port in ports if listens(port)]


def test_a_lab_inside_another_labs_folder_is_left_alone(spare_lab: Lab) -> None:
    spare_lab.up()
    inner = Lab(spare_lab.root / "inner")
    try:
        inner.up()
        before = pids(inner)
        # Half forgotten, so that `up` looks for what it has lost; sshd is known by its title alone.
        (spare_lab.root / "run" / "sshd.json").unlink()
        spare_lab.up()
        assert pids(inner) == before
        assert all(state.up for state in spare_lab.status())

        spare_lab.down()

        assert orphans(spare_lab.root) == []
        assert pids(inner) == before
        assert all(state.up for state in inner.status())
    finally:
        inner.down(purge=True)


def test_the_demo_has_a_folder_beside_the_labs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "mine-demo.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["--root", str(tmp_path / "mine"), "demo"]) == 1
    assert f"a demo runs in {tmp_path / 'mine-demo'} already" in capsys.readouterr().err


def test_the_seed_is_a_week_of_builds(spare_lab: Lab) -> None:
    spare_lab.up()
    made = seed.builds(0)
    release = spare_lab.release
    assert builds(spare_lab) >= {new.build.full_hash for new in made.values()}
    assert {new.build.extended_hash is None for new in made.values()} == {True, False}
    with spare_lab.dlrn_client() as client:
        rows = list(client.history())
        # The newest entry of each label is also what its link names.
        for label in (release.candidate, release.promoted, f"previous-{release.promoted}"):
            newest = next(row for row in rows if row.label == label)
            assert client.label_hash(label) == newest.build
        candidates = [row.timestamp for row in rows if row.label == release.candidate]
        assert candidates == sorted(candidates, reverse=True)
        assert candidates[0] - candidates[-1] > 4 * 86400
        votes = {name: client.votes(new.build) for name, new in made.items()}
    jobs = {job.name for job in release.jobs}
    assert {vote.job for vote in votes["seed-w"]} == jobs | {BUILDER_VOTE}
    assert all(vote.success for vote in votes["seed-w"])
    assert not all(vote.success for vote in votes["seed-y"])
    assert {vote.job for vote in votes["seed-x"]} == {BUILDER_VOTE}


def test_the_newest_build_exists_in_dlrn_alone(spare_lab: Lab) -> None:
    spare_lab.up()
    new = seed.builds(0)["seed-x"].build
    name = f"{spare_lab.release.namespaces['rdo']}/{spare_lab.release.containers[0]}"
    for registry in (spare_lab.registries.rdo, spare_lab.registries.dockerhub):
        with registry.client() as client:
            assert client.head(name, new.full_hash) is None
            assert client.head(name, seed.builds(0)["seed-w"].build.full_hash) is not None
    assert not (spare_lab.image_folder / new.full_hash).exists()


def test_skopeo_sees_the_same_on_both_registries(lab: Lab) -> None:
    w = seed.builds(0)["seed-w"].build.full_hash
    for container in lab.release.containers[:3]:
        rdo, hub = (
            registry.inspect_raw(f"{lab.release.namespaces[registry.name]}/{container}", w)
            for registry in (lab.registries.rdo, lab.registries.dockerhub)
        )
        assert rdo == hub


def test_the_addresses_and_logins_of_the_connections_work(lab: Lab) -> None:
    found = {name: json.loads(text) for name, text in lab.connections().items()}
    assert set(found) == {
        *("dlrn_centos7_master", "images_rdo", "images_rh1"),
        *("jenkins_lab", "ssh_lab", "docker_lab", "receiver_lab", "handoff_key_lab"),
        *(f"registry_{registry.name}" for registry in lab.registries),
    }
    quay, issuer = found["registry_quay"], lab.registries.quay.issuer
    assert issuer is not None
    login, ca = (quay["login"], quay["password"]), quay["extra"]["ca"]
    assert requests.get(f"{quay['host']}/v2/", auth=login, verify=ca, timeout=10).status_code == 401
    realm = f"{issuer.realm}?service=lab-quay"
    token = requests.get(realm, auth=login, verify=ca, timeout=10).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{quay['host']}/v2/", headers=bearer, verify=ca, timeout=10).status_code == 200
    dlrn, hub = (found[name] for name in ("dlrn_centos7_master", "registry_dockerhub"))
    login = (dlrn["login"], dlrn["password"])
    assert requests.post(f"{dlrn['host']}/api/health", json={}, auth=login, timeout=10).status_code == 200
    login, ca = (hub["login"], hub["password"]), hub["extra"]["ca"]
    assert requests.get(f"{hub['host']}/v2/", auth=login, verify=ca, timeout=10).status_code == 200
    assert requests.get(f"{hub['host']}/v2/", verify=ca, timeout=10).status_code == 401
    for images, holds in (
        ("images_rdo", lab.image_folder / "current-tripleo"),
        ("images_rh1", lab.mirror_folder / "current-tripleo"),
    ):
        server = found[images]
        key, host_key = Path(server["extra"]["key_file"]), server["extra"]["host_key"]
        with connect(
            server["host"], server["port"], server["login"], key_file=key, host_key=host_key
        ) as sftp:
            assert sftp.stat(str(holds)) is not None


def test_the_release_files_are_the_projects_but_for_addresses_and_times(lab: Lab) -> None:
    ours = yaml.safe_load((PROJECT / "include" / "releases" / "master.yaml").read_text())
    labs = yaml.safe_load((lab.releases / "master.yaml").read_text())
    assert labs["dlrn"]["repo_url"] == lab.dlrn.repo_url
    assert labs["image_servers"]["images"]["path"].format(release="master") == str(lab.image_folder)
    assert labs["image_servers"]["rh1"]["path"] == str(lab.mirror_folder)
    differing = set(differences(ours, labs))
    assert differing == {
        "dlrn.repo_url",
        "image_servers.images.path",
        "image_servers.rh1.path",
        "poll",
        "stages.0.steps.1.wait_for.retry_delay",
        "stages.0.steps.4.wait_for.retry_delay",
    }


def differences(one: object, other: object, path: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(key, one.get(key), other.get(key)) for key in {*one, *other}]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(one, other, strict=True))]
    else:
        if one != other:
            yield path.removeprefix(".")
        return
    for key, left, right in pairs:
        yield from differences(left, right, f"{path}.{key}")


def test_the_command_line_builds_votes_and_tells(spare_lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(spare_lab.root)]
    assert main([*root, "up"]) == 0
    capsys.readouterr()

    assert main([*root, "build", "--extended"]) == 0
    full_hash = capsys.readouterr().out.strip()
    assert demo_report.labelled(spare_lab, "consistent") == full_hash
    assert main([*root, "vote", full_hash[:9], "scenario001", "fail"]) == 0
    assert main([*root, "vote", "consistent", "scenario002", "pass"]) == 0
    with spare_lab.dlrn_client() as client:
        votes = {vote.job: vote.success for vote in client.votes(client.consistent()) if vote.user == "ci"}
    assert votes == {
        "periodic-tripleo-ci-centos-7-scenario001-standalone-master": False,
        "periodic-tripleo-ci-centos-7-scenario002-standalone-master": True,
    }
    capsys.readouterr()

    assert main(["status", *root]) == 0
    out = capsys.readouterr().out
    assert full_hash in out
    assert "14 passed" in out
    for registry in spare_lab.registries:
        assert registry.url in out
        assert registry.password is None or registry.password not in out
    assert spare_lab.dlrn.password not in out


def test_a_build_that_fails_leaves_consistent_where_it_is(
    spare_lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    spare_lab.up()
    before = demo_report.labelled(spare_lab, "consistent")
    assert main(["--root", str(spare_lab.root), "build", "--failed"]) == 0
    failed = capsys.readouterr().out.strip()
    assert failed != before
    assert demo_report.labelled(spare_lab, "consistent") == before
    # The same package builds again.
    spare_lab.add_build()
    assert demo_report.labelled(spare_lab, "consistent") != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vote", "nonsense", "scenario001", "pass"], "no build begins with 'nonsense'"),
        (["vote", "current-tripleo", "featureset", "pass"], "7 have 'featureset' in its name"),
        (["vote", "current-tripleo", "nothing", "pass"], "none has 'nothing' in its name"),
        (["ci", "--scenario", "nothing"], "no scenario 'nothing'"),
    ],
)
def test_what_cannot_be_is_said(
    lab: Lab, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["--root", str(lab.root), *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [["status"], ["build"], ["vote", "x", "y", "pass"], ["ci"]])
def test_without_a_lab_it_says_how_to_get_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(["--root", str(tmp_path / "none"), *command]) == 1
    assert "run `python -m lab up`" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_down_without_a_lab_is_done_already(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path / "none"), "down"]) == 0


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["vote", "x"], ["ci", "--speed", "0"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m lab" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "down", "status", "build", "vote", "ci", "demo"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "--root" in out
    assert "Exit codes" in out
