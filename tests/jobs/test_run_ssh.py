"""A command on another machine, on a real sshd, by the provider's operator and trigger."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lab.service import wait_for
from lab.ssh_machine import SshMachineFacts
from rdo_promoter.errors import ServiceError
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.jobs import ID_NAME, TESTED, TOLD
from rdo_promoter.operators.ssh import RunSshOperator
from tests.jobs.desk import Ballot, Desk

pytestmark = pytest.mark.lab

MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk(services: ConnectionServices, machine: SshMachineFacts, ballot: Ballot) -> MakeDesk:
    def make(*words: str, dry_run: bool = False, **changes: Any) -> Desk:
        settings: dict[str, Any] = {
            "conn_id": "ssh_jobs",
            "words": words,
            "told": TOLD,
            "line": TESTED,
            "tested_label": "ci-testing",
            "within": 600,
            "poll": 1,
            **changes,
        }
        task = Desk(
            lambda: RunSshOperator(task_id="run", services=services, **settings),
            ballot.build,
            dry_run=dry_run,
        )
        task.ti.run_id = f"manual__{ballot.job}"
        return task

    return make


def folder(machine: SshMachineFacts, task: Desk) -> Path:
    return machine.home / ".rdo-promoter" / "jobs" / task.id


def test_a_command_is_told_the_build_and_its_end_becomes_a_vote(
    desk: MakeDesk, machine: SshMachineFacts, ballot: Ballot, capsys: pytest.CaptureFixture[str]
) -> None:
    script = 'echo "$@"; env | grep ^RDO_ | sort; echo "tested $RDO_FULL_HASH"'
    task = desk(
        "bash", "-c", script, "x", "{distro_hash}", "it's; {label} $HOME `id`", report_vote=ballot.job
    )
    assert task.run()["end"] == "passed"
    build, said = ballot.build, capsys.readouterr().out
    assert f"[SSH job] {build.distro_hash} it's; ci-testing $HOME `id`" in said
    assert f"RDO_COMMIT_HASH={build.commit_hash}" in said
    assert f"RDO_REPO_URL={ballot.lab.dlrn.repo_url}/{build.path}" in said
    (vote,) = ballot.votes()
    assert vote.success
    assert vote.url == task.ti.log_url
    assert vote.notes == f"{ID_NAME}={task.id}"
    assert not folder(machine, task).exists()


def test_it_waits_in_the_triggerer_for_a_command_that_takes_its_time(
    desk: MakeDesk, machine: SshMachineFacts
) -> None:
    go = machine.home / "go"
    task = desk("bash", "-c", f'until [ -e {go} ]; do sleep 0.05; done; echo "tested $RDO_FULL_HASH"')
    task.execute()
    assert task.waiting is not None
    assert type(task.waiting.trigger).__module__.startswith("airflow.providers.ssh.")
    try:
        assert task.go_on(between=go.touch)["end"] == "passed"
    finally:
        go.unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bash", "-c", 'echo "tested $RDO_FULL_HASH"; exit 3'), "failed: ended with 3"),
        (("true",), "doubtful: ended with 0, but its output does not name the build"),
        (("echo", "tested", "deadbeef"), "ended with 0, but its output names deadbeef, and this run carries"),
        (("printf", "tested {full_hash}\\ntested 77\\n"), "names (77, .*|.*, 77), and this run carries"),
        (("echo", "not tested {full_hash}"), "does not name the build"),
        (("no-such-program-here",), "doubtful: ended with 127"),
        (("exit", "0"), "doubtful: ended with 127"),
    ],
)
def test_what_did_not_pass_for_this_build_fails_the_task(
    desk: MakeDesk, ballot: Ballot, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(AirflowFailException, match=said):
        desk(*words, report_vote=ballot.job).run()
    assert [vote.success for vote in ballot.votes()] == ([False] if "failed:" in said else [])


def test_a_command_that_was_killed_says_nothing_about_the_build(
    desk: MakeDesk, machine: SshMachineFacts, ballot: Ballot
) -> None:
    task = desk("sleep", "60", report_vote=ballot.job)
    task.execute()
    files = folder(machine, task)
    wait_for(lambda: any(files.glob("*/pid")), "the job has written its number")
    (pid,) = files.glob("*/pid")
    os.killpg(int(pid.read_text()), signal.SIGKILL)
    with pytest.raises(AirflowFailException, match="aborted: killed on ssh_jobs, or the"):
        task.execute()
    assert ballot.votes() == []


def test_a_job_whose_folder_is_gone_is_lost(desk: MakeDesk, machine: SshMachineFacts) -> None:
    task = desk("sleep", "60")
    task.execute()
    files = folder(machine, task)
    wait_for(lambda: any(files.glob("*/pid")), "the job has written its number")
    (pid,) = files.glob("*/pid")
    os.killpg(int(pid.read_text()), signal.SIGKILL)
    files.rename(files.with_name("gone"))
    with pytest.raises(AirflowFailException, match="lost: its folder is not on ssh_jobs any more"):
        task.execute()


def test_a_claim_without_a_job_is_given_up_after_ten_minutes(
    desk: MakeDesk, machine: SshMachineFacts, forward: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = desk("true", within=3600)
    # As after a machine that went down between the two.
    monkeypatch.setattr("rdo_promoter.operators.ssh.SSHRemoteJobOperator.execute", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        task.execute()
    folder(machine, task).mkdir(parents=True)
    with pytest.raises(ServiceError, match="has not begun yet"):
        task.execute()
    forward(601)
    with pytest.raises(AirflowFailException, match="lost: it has never begun on ssh_jobs"):
        task.execute()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"host_key": None}, "is not known: extra 'host_key' of Connection 'ssh_jobs' is missing"),
        ({"no_host_key_check": True}, "has 'no_host_key_check', but host keys are always checked"),
        ({"allow_host_key_change": True}, "has 'allow_host_key_change', but host keys are always checked"),
        ({"host_key": "AAAAC3NzaC1lZDI1NTE5AAAAIJ"}, "has to begin with the key's type"),
        ({"key_file": None}, "holds nothing to log in with"),
    ],
)
def test_a_machine_that_cannot_be_trusted_is_refused(
    desk: MakeDesk,
    machine: SshMachineFacts,
    connect: Callable[[str, dict[str, Any]], None],
    extra: dict[str, Any],
    said: str,
) -> None:
    content: Any = machine.connection()
    connect("ssh_jobs", {**content, "extra": {**content["extra"], **extra}})
    with pytest.raises(AirflowFailException, match=said):
        desk("true").run()


def test_another_machines_key_is_refused(
    desk: MakeDesk, machine: SshMachineFacts, connect: Callable[[str, dict[str, Any]], None]
) -> None:
    content: Any = machine.connection()
    other = (machine.home.parent / "sshd" / "id_ed25519.pub").read_text().strip()
    connect("ssh_jobs", {**content, "extra": {**content["extra"], "host_key": other}})
    with pytest.raises(AirflowFailException, match="showed another host key than the one"):
        desk("true").run()


def test_a_dry_run_logs_in_and_starts_nothing(
    desk: MakeDesk, machine: SshMachineFacts, ballot: Ballot, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = machine.home / "begun"
    assert desk("touch", str(begun), "{full_hash}", dry_run=True).run() == {"dry_run": True}
    assert not begun.exists()
    said = f"{ballot.build.short} dry run: would start touch {begun} {ballot.build.full_hash} on ssh_jobs"
    assert said in capsys.readouterr().out


def test_a_word_like_a_file_of_a_template_is_only_a_word(desk: MakeDesk, machine: SshMachineFacts) -> None:
    script = machine.home / "run.sh"
    script.write_text('#!/bin/sh\necho "{{ 1 + 1 }} $1"\necho "tested $RDO_FULL_HASH"\n')
    script.chmod(0o755)
    assert desk("./run.sh").run()["end"] == "passed"


def test_of_two_that_start_the_same_job_at_once_one_does(
    desk: MakeDesk, machine: SshMachineFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = machine.home / "twice", machine.home / "go-twice"
    script = f'echo x >> {begun}; until [ -e {go} ]; do sleep 0.05; done; echo "tested $RDO_FULL_HASH"'
    task, zombie = desk("bash", "-c", script), desk("bash", "-c", script)
    real = RunSshOperator.find
    # Airflow gave up the first one too early: both have looked before either starts.
    monkeypatch.setattr(RunSshOperator, "find", lambda *_: None)
    zombie.execute()
    wait_for(begun.exists, "the job has begun")
    try:
        with pytest.raises(ServiceError, match="has not begun yet"):
            task.execute()
        monkeypatch.setattr(RunSshOperator, "find", real)
        task.execute()
        assert task.waiting is not None
    finally:
        go.touch()
    assert task.go_on()["end"] == "passed"
    assert begun.read_text() == "x\n"
    begun.unlink()
    go.unlink()
