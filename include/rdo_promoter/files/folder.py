"""Where the files of the releases are, and how messages name them."""

from __future__ import annotations

import os
from pathlib import Path

import rdo_promoter
from rdo_promoter.model.text import one_line

ENVIRONMENT = "RDO_PROMOTER_RELEASES"


def releases_folder() -> Path:
    """Return the folder of the release files: of ``RDO_PROMOTER_RELEASES``, or beside the package."""
    if folder := os.environ.get(ENVIRONMENT):
        return Path(folder)
    return Path(rdo_promoter.__file__).parent.parent / "releases"


def named(path: Path, folder: Path) -> str:
    """Name a file by its folder's name, not by the machine's path: the name appears in Dags.

    :param path: the file.
    :param folder: the releases folder.
    """
    try:
        name = folder.resolve().name
    except (OSError, RuntimeError):  # links that lead to each other
        name = folder.name
    return one_line(f"{name}/{path.relative_to(folder)}")
