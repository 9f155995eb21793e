"""Releases: one YAML file each, read into frozen models and checked before anything runs."""

from __future__ import annotations

from rdo_promoter.files.folder import ENVIRONMENT, releases_folder
from rdo_promoter.release.load import (
    DEFAULTS,
    BrokenRelease,
    is_release_file,
    load_files,
    load_release,
    load_releases,
)
from rdo_promoter.release.models import (
    Containers,
    Distro,
    Dlrn,
    ImageServerSettings,
    RegistrySettings,
    Release,
    ReleaseFile,
    Stage,
)
from rdo_promoter.release.shape import json_schema

__all__ = [
    "DEFAULTS",
    "ENVIRONMENT",
    "BrokenRelease",
    "Containers",
    "Distro",
    "Dlrn",
    "ImageServerSettings",
    "RegistrySettings",
    "Release",
    "ReleaseFile",
    "Stage",
    "is_release_file",
    "json_schema",
    "load_files",
    "load_release",
    "load_releases",
    "releases_folder",
]
