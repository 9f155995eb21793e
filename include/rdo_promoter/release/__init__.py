"""Releases: one YAML file each, read into frozen models and checked before anything runs."""

from __future__ import annotations

from rdo_promoter.release.load import (
    ENVIRONMENT,
    BrokenRelease,
    load_release,
    load_releases,
    releases_folder,
)
from rdo_promoter.release.models import (
    CONSISTENT,
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
    "CONSISTENT",
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
    "json_schema",
    "load_release",
    "load_releases",
    "releases_folder",
]
