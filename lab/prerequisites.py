"""What the lab and the tests need from the machine: packages of Debian."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.service import LabError

#: Where servers live; a user's PATH often leaves out the second half.
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"

#: Debian asks this program before it starts a service that a package brings.
POLICY = Path("/usr/sbin/policy-rc.d")

#: In a policy of ours, so that one that a killed installation has left is not taken for the machine's own.
_OURS = "# Written by the lab of rdo-promoter while it installs packages; may be removed.\n"


@dataclass(frozen=True, slots=True)
class Program:
    """A program and the Debian package that brings it."""

    name: str
    package: str

    @property
    def path(self) -> str | None:
        """Where it is, None when it is not installed."""
        return shutil.which(self.name, path=SEARCH_PATH)

    def require(self) -> str:
        """Return where it is.

        :raises LabError: when it is not installed, with the command that installs it.
        """
        if self.path is None:
            raise LabError(
                f"{self.name} is not installed: run `apt-get install --no-install-recommends {self.package}`"
            )
        return self.path


REGISTRY = Program("docker-registry", "docker-registry")
SSHD = Program("sshd", "openssh-server")
PROGRAMS = (REGISTRY, SSHD)

#: What the tests need beyond that: an independent checker of registries, a browser,
#: and containers.
CHROMIUM = Program("chromium", "chromium")
SKOPEO = Program("skopeo", "skopeo")
#: An engine that runs containers, and what runs in them.
PODMAN = Program("podman", "podman")
CRUN = Program("crun", "crun")
BUSYBOX = Program("busybox", "busybox-static")
TESTS = (SKOPEO, CHROMIUM, PODMAN, CRUN, BUSYBOX)


#: Seconds to wait for another apt-get, as a fresh machine runs one by itself.
_WAIT = ("-o", "DPkg::Lock::Timeout=300")


def missing(programs: Iterable[Program] = PROGRAMS) -> list[Program]:
    """Return the programs that are not installed."""
    return [program for program in programs if program.path is None]


def ensure(programs: Iterable[Program] = PROGRAMS) -> list[str]:
    """Install what is missing, where this user may; return the packages that were installed.

    :raises LabError: when it may not or cannot, with the command that somebody else has to run.
    """
    programs = tuple(programs)
    absent = missing(programs)
    if not absent:
        return []
    packages = sorted({program.package for program in absent})
    command = ["apt-get", *_WAIT, "install", "-y", "--no-install-recommends", *packages]
    names = ", ".join(program.name for program in absent)
    if shutil.which("apt-get") is None:
        raise LabError(
            f"the lab needs {names}, which this machine lacks and the lab cannot install without apt-get; "
            f"install what Debian calls {' '.join(packages)} (distribution 2.8, OpenSSH)"
        )
    if os.geteuid() != 0:
        raise LabError(f"the lab needs {names}; install them as root and come again:\n  {' '.join(command)}")
    with _no_services():
        # Fresh images carry no package lists, so the first try may fail for that reason alone.
        result = _run(command)
        if result.returncode != 0:
            _run(["apt-get", *_WAIT, "update", "-q"])
            result = _run(command)
    if result.returncode != 0 or (absent := missing(programs)):
        raise LabError(
            f"`{' '.join(command)}` did not bring {names}; it ended with {result.returncode} and said:\n"
            + "\n".join(result.stdout.splitlines()[-15:])
        )
    return packages


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep the packages from starting services of their own on ports 22 and 5000.

    The lab needs the programs, not an SSH server that lets the world in. Debian asks `policy-rc.d` before
    it starts anything, under systemd and without it; a machine that has one keeps its own.
    """
    if POLICY.exists() and _OURS not in POLICY.read_text():
        yield
        return
    POLICY.write_text(f"#!/bin/sh\n{_OURS}exit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
