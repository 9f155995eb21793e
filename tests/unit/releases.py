"""A good release file for tests, and what is said about it when something in it is changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rdo_promoter.errors import ConfigError
from rdo_promoter.release import load_release

FOLDER = Path(__file__).parent / "data" / "releases"
GOOD = (FOLDER / "good.yaml").read_text()


def changed(old: str, new: str) -> str:
    """Return the good file with one passage changed; the passage has to be in it once."""
    assert GOOD.count(old) == 1, f"{old!r} is in the file {GOOD.count(old)} times"
    return GOOD.replace(old, new)


def write(folder: Path, text: str = GOOD, *, name: str = "good.yaml") -> Path:
    """Write a release file, and the list of containers that it names, into ``<folder>/releases``."""
    shutil.copytree(FOLDER / "containers", folder / "releases" / "containers", dirs_exist_ok=True)
    path = folder / "releases" / name
    path.write_text(text)
    return path


def problems(path: Path) -> list[str]:
    """Return the lines with which a release file is refused."""
    with pytest.raises(ConfigError) as refused:
        load_release(path)
    return str(refused.value).splitlines()
