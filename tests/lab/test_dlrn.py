"""The lab's DLRN behaves as a builder and a server would."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import requests

from lab import dlrn
from lab.dlrn_env import LOCK, environment_python
from lab.lab import PROJECT
from lab.service import LabError, wait_for
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AuthError
from rdo_promoter.model.build import DlrnHash
from tests.clients.dlrn_lab import LabDlrn, start_dlrn

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab

# Prints what DLRN itself calls each build's directory.
DIRECTORIES = """
import json, sys
from dlrn.db import Commit
json.dump([Commit(**build).getshardedcommitdir() for build in json.load(sys.stdin)], sys.stdout)
"""


def fetch(lab: LabDlrn, path: str) -> str:
    answer = requests.get(f"{lab.facts.repo_url}/{path}", timeout=10)
    answer.raise_for_status()
    return answer.text


def test_builds_are_named_as_dlrn_names_them(lab_dlrn: LabDlrn) -> None:
    extended = [None, "a" * 40, f"{'a' * 40}_{'b' * 40}", "20180115", "x.y-z_1"]
    extended += [("0123456789abcdefghijklmnopqrstuvwxyz._-" * 3)[:length] for length in range(1, 100)]
    builds = [
        DlrnHash(f"{number:040x}", f"{number * 7:040x}", text, component)
        for number, text in enumerate(extended)
        for component in (None, "compute")
    ]
    done = subprocess.run(
        [str(environment_python(lab_dlrn.root)), "-I", "-c", DIRECTORIES],
        input=json.dumps([build.to_json() for build in builds]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [build.path for build in builds]


def test_build_leaves_what_the_builder_leaves(lab_dlrn: LabDlrn, label: str) -> None:
    when = int(time.time()) - 3600
    build = dlrn.add_build(lab_dlrn.root, when=when, extended=True, project=label)
    assert build == DlrnHash(build.commit_hash, build.distro_hash, build.extended_hash)
    repo = fetch(lab_dlrn, f"{build.path}/delorean.repo")
    assert f"baseurl={lab_dlrn.facts.repo_url}/{build.path}\n" in repo
    assert fetch(lab_dlrn, "consistent/delorean.repo") == fetch(lab_dlrn, "current/delorean.repo") == repo
    head, *lines = fetch(lab_dlrn, "current/versions.csv").splitlines()
    assert head.startswith("Project,Source Repo,Source Sha,Dist Repo,Dist Sha,Status,")
    [line] = [line.split(",") for line in lines if line.startswith(f"{label},")]
    assert len(line) == len(head.split(","))
    assert (line[2], line[4], line[5], line[6], line[8]) == (
        *(build.commit_hash, build.distro_hash),
        *("SUCCESS", str(when), build.extended_hash),
    )
    assert f"{label},{build.commit_hash}," in fetch(lab_dlrn, "status_report.csv")
    assert "SUCCESS" in fetch(lab_dlrn, f"{build.path}/rpmbuild.log")


def test_package_that_fails_holds_consistent_until_it_builds(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str
) -> None:
    good = lab_dlrn.add()
    failed = lab_dlrn.add(project=label, failed=True)
    assert client.consistent() == client.label_hash("current") == good
    other = lab_dlrn.add()
    assert client.label_hash("current") == other
    assert client.consistent() == good, "another package still fails"
    assert client.votes(other) == []
    assert f"{label},{failed.commit_hash},{failed.distro_hash},None,None,FAILED" in fetch(
        lab_dlrn, "status_report.csv"
    )
    fixed = lab_dlrn.add(project=label)
    assert client.consistent() == client.label_hash("current") == fixed


def test_hashes_follow_from_the_name(lab_dlrn: LabDlrn) -> None:
    one, same, other = (dlrn.NewBuild(1, extended=True, name=name) for name in ("a", "a", "b"))
    assert one.extended_hash == same.extended_hash != other.extended_hash
    name = uuid.uuid4().hex
    build = lab_dlrn.add(name=name)
    extended = lab_dlrn.add(name=name, extended="x")
    assert (build.commit_hash, build.distro_hash) == (extended.commit_hash, extended.distro_hash)
    assert build != extended
    with pytest.raises(LabError):
        lab_dlrn.add(name=name)


def test_nobody_reads_the_passwords(lab_dlrn: LabDlrn) -> None:
    folder = lab_dlrn.root / "dlrn"
    secrets = folder / "secrets.json"
    assert secrets.stat().st_mode & 0o777 == 0o600
    passwords = json.loads(secrets.read_text())
    assert set(passwords) == {"promoter", "ci", "reader"}
    api, tree = dlrn.services(lab_dlrn.root)
    texts = [
        file.read_text(errors="replace")
        for place in (folder, lab_dlrn.root / "run")
        for file in place.iterdir()
        if file.is_file() and file != secrets
    ]
    for service in (api, tree):
        process = service.process()
        assert process is not None
        texts += [*process.cmdline(), *process.environ().values()]
    assert not [text for text in texts for password in passwords.values() if password in text]


def test_stage_twice_changes_nothing(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    build = lab_dlrn.build()
    client.promote(build, label)
    before = dlrn.facts(lab_dlrn.root)
    dlrn.stage(lab_dlrn.root)
    assert dlrn.facts(lab_dlrn.root) == before
    assert client.label_hash(label) == build
    client.check_credentials()
    database = sqlite3.connect(lab_dlrn.root / "dlrn" / "commits.sqlite")
    users = dict(database.execute("select username, password from users").fetchall())
    database.close()
    assert set(users) == {"promoter", "ci", "reader"}
    assert all(hashed.startswith("$6$") for hashed in users.values())


def test_second_lab_beside_it_and_a_server_that_was_killed(
    lab_dlrn: LabDlrn, label: str, tmp_path: Path
) -> None:
    running = start_dlrn(tmp_path / "second")
    second = next(running)
    try:
        assert {second.facts.api_url, second.facts.repo_url}.isdisjoint(
            {lab_dlrn.facts.api_url, lab_dlrn.facts.repo_url}
        )
        assert second.facts.password != lab_dlrn.facts.password
        build = second.add()
        with second.client() as client:
            row = client.promote(build, label)
            assert lab_dlrn.client().promotions(label) == []
            api, _ = dlrn.services(second.root)
            process = api.process()
            assert process is not None
            os.killpg(process.pid, signal.SIGKILL)
            wait_for(lambda: api.process() is None, "the API is gone")
            api.start()
            api.wait_ready()
            assert client.current(label) == row
            assert client.label_hash(label) == build
    finally:
        running.close()
    assert all(service.process() is None for service in dlrn.services(second.root))


def test_lab_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="stage"):
        dlrn.facts(tmp_path)
    with pytest.raises(LabError, match="ensure_environment"):
        dlrn.services(tmp_path)


def test_environment_is_made_once_by_many(tmp_path: Path) -> None:
    # One small package of DLRN's: all of them take long to install.
    pins = LOCK.read_text()
    start = pins.index("\nsix==") + 1
    small = tmp_path / "small.lock"
    small.write_text(pins[start : pins.index("    #", start)])
    make = (
        "import sys; from pathlib import Path; from lab.dlrn_env import ensure_environment;"
        "print(ensure_environment(*map(Path, sys.argv[1:])))"
    )
    shared = tmp_path / "shared"
    # What a call that was killed leaves behind.
    half = shared / hashlib.sha256(small.read_bytes()).hexdigest()[:12] / "bin"
    half.mkdir(parents=True)
    (half / "python").write_text("half a Python")
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", make, str(tmp_path / f"lab{number}"), str(shared), str(small)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    answers = [caller.communicate(timeout=100)[0].strip() for caller in callers]
    assert answers == [str(half / "python")] * 3
    subprocess.run([answers[0], "-I", "-c", "import six"], check=True)
    assert all(environment_python(tmp_path / f"lab{number}") == half / "python" for number in range(3))


def test_environment_takes_nothing_but_what_is_pinned(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.lock"
    wrong.write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(LabError, match=r"(?i)hash"):
        dlrn.ensure_environment(tmp_path / "lab", tmp_path / "shared", wrong)
    with pytest.raises(LabError, match="ensure_environment"):
        environment_python(tmp_path / "lab")


def test_pinned_requirements_have_hashes() -> None:
    lines = LOCK.read_text().splitlines()
    pins = [number for number, line in enumerate(lines) if line and not line.startswith(("#", " "))]
    assert len(pins) > 20
    for number in pins:
        assert "==" in lines[number]
        assert lines[number + 1].strip().startswith("--hash=sha256:")


def test_history_of_the_past(lab_dlrn: LabDlrn, client: DlrnClient, label: str) -> None:
    new = [dlrn.NewBuild(when=1_700_000_000 + number, name=f"{label}-{number}") for number in range(2)]
    first, second = (build.build for build in new)
    dlrn.add_history(
        lab_dlrn.root,
        new,
        [dlrn.PastVote(first, "job-a", False, "https://logs.example.org/1", 1_700_000_100)],
        [dlrn.PastPromotion(build, label, 1_700_000_200) for build in (first, second)],
    )
    assert [row.build for row in client.promotions(label)] == [second, first]
    assert client.label_hash(label) == second
    assert [(vote.job, vote.timestamp) for vote in client.votes(first)] == [
        ("consistent", 1_700_000_000),
        ("job-a", 1_700_000_100),
    ]


@pytest.mark.parametrize("moved", [False, True], ids=["candidate", "promoted"])
def test_a_reader_logs_in_and_promotes_nothing(
    lab_dlrn: LabDlrn, client: DlrnClient, label: str, moved: bool
) -> None:
    old, new = lab_dlrn.build(), lab_dlrn.build()
    if moved:
        client.promote(old, label)
    rows, link = client.promotions(label), client.label_hash(label)
    facts = lab_dlrn.facts
    with lab_dlrn.client(username=facts.reader_username, password=facts.reader_password) as reader:
        reader.check_credentials()
        with pytest.raises(AuthError, match=r"403.*'reader' is not allowed to do this\); let DLRN's admin"):
            reader.promote(new, label)
    assert (client.promotions(label), client.label_hash(label)) == (rows, link)
    batch = [{**fields(build), "promote_name": label} for build in (old, new)]
    url, login = f"{facts.api_url}/api/promote-batch", (facts.reader_username, facts.reader_password)
    assert requests.post(url, json=batch, auth=login, timeout=10).status_code == 403
    assert requests.post(url, json=batch, auth=(login[0], "guessed"), timeout=10).status_code == 401
    assert (client.promotions(label), client.label_hash(label)) == (rows, link)
    assert (
        requests.post(url, json=batch, auth=(facts.username, facts.password), timeout=10).status_code == 201
    )
    assert client.label_hash(label) == new


def fields(build: DlrnHash) -> dict[str, str]:
    return {"commit_hash": build.commit_hash, "distro_hash": build.distro_hash}


def test_a_lab_from_before_there_were_readers_gets_one(tmp_path: Path) -> None:
    dlrn.ensure_environment(tmp_path)
    dlrn.stage(tmp_path)
    secrets = tmp_path / "dlrn" / "secrets.json"
    passwords = json.loads(secrets.read_text())
    del passwords["reader"]
    secrets.write_text(json.dumps(passwords))
    assert dlrn.lacks_users(tmp_path)
    dlrn.stage(tmp_path)
    assert not dlrn.lacks_users(tmp_path)
    assert json.loads(secrets.read_text()).items() > passwords.items()
