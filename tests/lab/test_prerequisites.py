"""What is missing is installed where that is allowed, and named exactly where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import prerequisites
from lab.prerequisites import PROGRAMS, Program, ensure, missing
from lab.service import LabError

ABSENT = (Program("no-such-registry", "docker-registry"), Program("no-such-sshd", "openssh-server"))

WAIT = "-o DPkg::Lock::Timeout=300"


@pytest.fixture
def apt_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that writes down how it was called; a second file says what it does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n. {tmp_path}/behaviour\n'
        f"[ -e {tmp_path}/policy-rc.d ] && echo guarded >> {tmp_path}/calls\nexit $code\n"
    )
    (folder / "apt-get").chmod(0o755)
    (tmp_path / "behaviour").write_text("code=0\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(prerequisites, "SEARCH_PATH", str(folder))
    monkeypatch.setattr(prerequisites, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def test_what_is_there_is_not_installed() -> None:
    assert missing() == []
    assert ensure() == []
    assert [program.package for program in PROGRAMS] == ["docker-registry", "openssh-server"]


def test_root_installs_what_is_missing_without_starting_it(apt_get: Path) -> None:
    (apt_get / "behaviour").write_text(
        f"for name in no-such-registry no-such-sshd; do\n"
        f"  printf '#!/bin/sh\\n' > {apt_get}/bin/$name; chmod 755 {apt_get}/bin/$name\ndone\ncode=0\n"
    )
    assert ensure(ABSENT) == ["docker-registry", "openssh-server"]
    calls = (apt_get / "calls").read_text().splitlines()
    assert calls == [f"{WAIT} install -y --no-install-recommends docker-registry openssh-server", "guarded"]
    assert not (apt_get / "policy-rc.d").exists()
    assert ensure(ABSENT) == []


def test_without_package_lists_it_fetches_them_first(apt_get: Path) -> None:
    (apt_get / "behaviour").write_text("code=100\n")
    with pytest.raises(LabError, match="did not bring no-such-registry, no-such-sshd; it ended with 100"):
        ensure(ABSENT)
    calls = (apt_get / "calls").read_text().splitlines()
    assert [call.split()[2] for call in calls if call != "guarded"] == ["install", "update", "install"]
    assert not (apt_get / "policy-rc.d").exists()


def test_a_machines_own_policy_is_kept(apt_get: Path) -> None:
    policy = apt_get / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    (apt_get / "behaviour").write_text("code=1\n")
    with pytest.raises(LabError):
        ensure(ABSENT)
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_the_policy_of_a_killed_installation_is_removed(apt_get: Path) -> None:
    policy = apt_get / "policy-rc.d"
    (apt_get / "behaviour").write_text(f"cp {policy} {apt_get}/left\ncode=1\n")
    with pytest.raises(LabError):
        ensure(ABSENT)
    policy.write_text((apt_get / "left").read_text())
    with pytest.raises(LabError):
        ensure(ABSENT)
    assert (apt_get / "calls").read_text().splitlines()[-1] == "guarded"
    assert not policy.exists()


def test_who_is_not_root_is_told_the_command(apt_get: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError) as told:
        ensure(ABSENT)
    command = f"apt-get {WAIT} install -y --no-install-recommends docker-registry openssh-server"
    assert command in str(told.value)
    assert not (apt_get / "calls").exists()


def test_without_apt_get_the_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="docker-registry openssh-server"):
        ensure(ABSENT)
