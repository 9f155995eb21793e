"""Which release and which stage the command line works on, and what is refused before anything is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rdo_promoter.cli import main
from rdo_promoter.release import ENVIRONMENT
from tests.unit.releases import GOOD, changed, write
from tests.unit.test_cli import INCLUDE

HASH = f"{'a' * 40}_{'b' * 8}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the release files: one is good."""
    path = write(tmp_path).parent
    monkeypatch.setenv(ENVIRONMENT, str(path))
    # What gets as far as a Connection finds none, and no database.
    for name in ("dlrn_good", "registry_rdo", "registry_quay", "images_rdo"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name.upper()}", raising=False)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what is said about words that are used wrongly."""
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("verb", ["plan", "promote", "verdict"])
def test_unknown_releases_are_named_with_the_nearest(
    folder: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    write(folder.parent, changed("within: 4h", "wihtin: 4h").replace("good", "bad"), name="bad.yaml")
    said = refused(capsys, verb, "centos9-god", "--hash", HASH, "--stage", "upstream")
    assert "no release 'centos9-god'; did you mean 'centos9-good'? known: centos9-good, good" in said
    assert "cannot be used: releases/bad.yaml" in said


def test_a_name_of_two_releases_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = changed("version: 9", "version: 8").replace("centos9-good", "centos8-good")
    write(folder.parent, text, name="other.yaml")
    said = refused(capsys, "plan", "good")
    assert "'good' is the name of more than one release: name one of centos9-good, centos8-good" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan"], "the following arguments are required: RELEASE"),
        (["verdict"], "the following arguments are required: RELEASE"),
        (["verdict", "good", "--stage", "upsteam"], "'upsteam' is no stage; did you mean 'upstream'?"),
        (["verdict", "good", "--hash", "abc"], "'abc' is no full hash: copy the build's directory name"),
        (["promote", "good"], "the following arguments are required: --hash, --stage"),
        (["promote", "good", "--hash", HASH], "the following arguments are required: --stage"),
        (["plan", "good", "--hash", "abc"], "'abc' is no full hash"),
        (["plan", "good", "--stage", "upstraem"], "'upstraem' is no stage; did you mean 'upstream'?"),
        (["plan", "good", "--password", "x"], "unrecognized arguments: --password x"),
    ],
)
def test_wrong_usage_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert said in refused(capsys, *words)


def test_a_stage_that_promotes_nothing_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = "  - name: phase2\n    source: current-good-rdo\n    steps: [wait_for: {jobs: [x], within: 2d}]\n"
    write(folder.parent, GOOD + last)
    said = refused(capsys, "plan", "good", "--stage", "phase2")
    assert "'phase2' promotes nothing; " in said


@pytest.mark.parametrize("name", ["bad", "broken-bad", "bad.yaml"])
@pytest.mark.parametrize("verb", ["plan", "promote", "verdict"])
def test_a_broken_release_is_refused_with_its_own_message(
    folder: Path, capsys: pytest.CaptureFixture[str], verb: str, name: str
) -> None:
    path = write(folder.parent, changed("within: 4h", "wihtin: 4h").replace("good", "bad"), name="bad.yaml")
    given = str(path) if name == path.name else name
    assert main([verb, given, "--hash", HASH, "--stage", "upstream"]) == 1
    assert "unknown key; did you mean 'within'?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["plan", "centos9-gut"], ["verdict", "good", "--stage", "x"], ["promote"]])
def test_who_misspells_a_name_does_not_wait_for_airflow(folder: Path, words: list[str]) -> None:
    code = (
        "import sys; from rdo_promoter.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as left: assert left.code == 2\n"
        "print([name for name in ('airflow', 'requests', 'paramiko', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={"PYTHONPATH": str(INCLUDE), ENVIRONMENT: str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "[]\n", done.stderr
