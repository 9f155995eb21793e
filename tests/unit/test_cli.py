"""The command line as people start it: in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import rdo_promoter
from rdo_promoter.cli import main
from rdo_promoter.cli.outlook import person
from rdo_promoter.release import ENVIRONMENT
from tests.unit.releases import GOOD, changed, write

INCLUDE = Path(rdo_promoter.__file__).parents[1]


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Start the command line, or Python code, as a person would."""
    environment = {key: value for key, value in os.environ.items() if key != ENVIRONMENT}
    environment |= {"PYTHONPATH": str(INCLUDE), "COLUMNS": "200"}
    start = ["-c", code] if code else ["-m", "rdo_promoter.cli"]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_projects_releases_are_validated_by_default() -> None:
    done = run("validate")
    assert done.stdout == "ok centos7-master (releases/master.yaml): 1 stage, 14 jobs, 96 containers\n"
    assert done.stderr == ""
    assert done.returncode == 0


def test_airflow_is_never_loaded() -> None:
    code = (
        "import sys; from rdo_promoter.cli import main; code = main(['validate']); "
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in "
        "('airflow', 'sqlalchemy', 'paramiko', 'requests'))); sys.exit(code)"
    )
    done = run(code=code)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.returncode == 0, done.stderr


def test_a_broken_release_is_refused_and_the_others_are_checked(tmp_path: Path) -> None:
    folder = write(tmp_path).parent
    write(
        tmp_path,
        changed("within: 4h", "wihtin: 4h").replace("release: good", "release: bad"),
        name="bad.yaml",
    )
    done = run("validate", str(folder))
    assert done.stdout == "ok centos9-good (releases/good.yaml): 2 stages, 5 jobs, 2 containers\n"
    assert done.stderr == (
        "releases/bad.yaml:24: stages[0].steps[1].wait_for.wihtin: unknown key; did you mean 'within'? "
        "known: alternatives, answer_within, evidence, fail_fast, jobs, name, on_missing, retry_delay, soak, "
        "within\n"
    )
    assert done.returncode == 1


def test_files_are_checked_one_by_one_and_against_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(write(tmp_path, name=name)) for name in ("a.yaml", "b.yaml")]
    assert main(["validate", paths[0]]) == 0
    assert main(["validate", *paths]) == 1
    assert "Dag id 'centos9-good' is also that of releases/b.yaml" in capsys.readouterr().err


def test_defaults_among_the_files_are_no_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(write(tmp_path, GOOD)), str(write(tmp_path, "poll: 1m\n", name="defaults.yaml"))]
    assert main(["validate", *paths]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("skipped defaults.yaml: it is no release")


def test_a_folder_without_releases_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{tmp_path}: no release file in this folder; add <release>.yaml\n"


def test_a_missing_default_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "nowhere"))
    assert main(["validate"]) == 1
    assert f"name it in {ENVIRONMENT}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["promot"], "invalid choice: 'promot'"),
        (["validate", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["validate", "--quiet"], "unrecognized arguments: --quiet"),
    ],
)
def test_wrong_usage_ends_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_the_version_is_the_packages() -> None:
    done = run("--version")
    assert (done.stdout, done.returncode) == (f"rdo-promoter {rdo_promoter.__version__}\n", 0)


def test_the_schema_is_json() -> None:
    done = run("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["title"] == "ReleaseFile"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m rdo_promoter.cli schema | head -c 1; exit ${{PIPESTATUS[0]}}"
    environment = os.environ | {"PYTHONPATH": str(INCLUDE)}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_whoever_has_no_name_on_a_machine_is_called_by_their_uid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a user of its own."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1_000_710_000)
    assert person() == f"uid1000710000@{socket.gethostname()}"
    monkeypatch.setenv("USER", "rover")
    assert person() == f"rover@{socket.gethostname()}"
