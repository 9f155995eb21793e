"""DLRN's own Python environment: its pins clash with Airflow's, and it needs Python 3.11."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.service import LabError

LOCK = Path(__file__).with_name("requirements-dlrn.lock")

#: Environment variable that names the folder of the environments that several labs share.
SHARED = "RDO_LAB_ENV"
#: That folder when the variable is not set: beside the checkout's own `.venv`.
DEFAULT = Path(__file__).resolve().parent.parent / ".lab-env"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; other processes wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure_environment(root: Path, shared: Path | None = None, requirements: Path = LOCK) -> Path:
    """Make DLRN's environment unless it is there, and remember it for the lab; return its Python.

    It stands in ``shared``, else in the folder that `SHARED` names, in a folder of its own for each state
    of the pinned requirements: one that is in use never changes.

    :param root: the lab's folder.
    :param requirements: pinned packages, with hashes.
    :raises LabError: when it cannot be made.
    """
    folder = shared or Path(os.environ.get(SHARED) or DEFAULT) / "dlrn"
    venv = folder.resolve() / hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    complete = venv / "complete"
    with locked(folder / "lock"):
        if not complete.exists():
            _make(venv, requirements)
            complete.touch()
    note = _note(root)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(str(venv))
    return venv / "bin" / "python"


def environment_python(root: Path) -> Path:
    """Return the Python of the lab's DLRN.

    :raises LabError: when the lab has none yet.
    """
    try:
        return Path(_note(root).read_text()) / "bin" / "python"
    except FileNotFoundError:
        raise LabError(f"{root} has no DLRN environment yet: call ensure_environment first") from None


def _note(root: Path) -> Path:
    return root / "dlrn" / "environment"


def _make(venv: Path, requirements: Path) -> None:
    # The half of an environment that an interrupted call left is of no use.
    shutil.rmtree(venv, ignore_errors=True)
    python = sys.executable if sys.version_info[:2] == (3, 11) else "3.11"
    uv = _uv()
    _run(uv, "venv", "--quiet", "--python", python, str(venv))
    _run(
        *(uv, "pip", "install", "--quiet", "--python", str(venv / "bin" / "python")),
        *("--require-hashes", "--requirement", str(requirements)),
    )


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise LabError("uv is missing, it makes DLRN's environment: install it, or run `make venv`")
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"DLRN's environment: `{' '.join(command)}` failed:\n{done.stderr[-2000:]}")
