"""What tests/conftest.py does for every session."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.lab import PROJECT
from lab.proxy import bypass_proxy, no_proxy
from lab.service import HOST

TESTS = """
import pytest

def test_runs(): pass

@pytest.mark.skipif(True, reason="no such thing here")
def test_skipped(): pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_ci_fails_when_a_test_is_skipped(tmp_path: Path, ci: str, code: int, workers: str) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.no_skips",
        "-n",
        workers,
    ]
    done = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "-c", os.devnull, str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("CI skips no test, but skipped" in done.stdout) == bool(code)
    assert "1 passed, 1 skipped" in done.stdout


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    bypass_proxy()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == f"{HOST},localhost"
    monkeypatch.setenv("no_proxy", "example.org")
    assert no_proxy() == f"example.org,{HOST},localhost"


def test_the_lab_comes_up_behind_a_proxy(tmp_path: Path) -> None:
    """A proxy that nobody has started: whatever went through it would fail."""
    proxy = "http://127.0.0.1:9"
    env = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'include'}", "no_proxy": "", "NO_PROXY": ""}
    env |= {"http_proxy": proxy, "https_proxy": proxy, "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    lab = [sys.executable, "-m", "lab", "--root", str(tmp_path / "lab")]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*lab, *words], env=env, capture_output=True, text=True, check=False)

    try:
        for words in (["up", "--ci"], ["status"], ["vote", "consistent", "scenario001", "pass"]):
            done = run(*words)
            assert done.returncode == 0, done.stderr
    finally:
        run("down", "--purge")
