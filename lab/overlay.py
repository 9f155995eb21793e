"""The project's release files as the lab needs them: the same stages, on the lab's own services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.scenario import Job, jobs_of
from lab.service import LabError

#: The project's release files.
RELEASES = Path(__file__).resolve().parent.parent / "include" / "releases"

#: Seconds; RDO's own are minutes, and nobody wants to watch those.
POLL = 5
RETRY_DELAY = 5

#: The release that the lab plays.
RELEASE = "master"


def releases_folder(root: Path) -> Path:
    """Return where the lab's release files are; the package finds them through RDO_PROMOTER_RELEASES."""
    return root / "releases"


def write(root: Path, *, repo_url: str, images: Path, mirror: Path, source: Path = RELEASES) -> Path:
    """Write the lab's release files and return their folder.

    :param repo_url: the lab's repository tree.
    :param images: the folder on the lab's image server that stands for ``/var/www/html/images``.
    :param mirror: the folder on the lab's mirror that stands for ``/builds``.
    :param source: the project's release files.
    """
    folder = releases_folder(root)
    (folder / "containers").mkdir(parents=True, exist_ok=True)
    for file in (source / "containers").glob("*.yaml"):
        _put(folder / "containers" / file.name, file.read_text())
    _put(folder / "defaults.yaml", (source / "defaults.yaml").read_text())
    # The lab has one DLRN, so it plays one release.
    name = f"{RELEASE}.yaml"
    data = yaml.safe_load((source / name).read_text())
    _put(folder / name, yaml.safe_dump(_moved(data, repo_url, images, mirror), sort_keys=False, width=100))
    return folder


def _moved(release: dict[str, Any], repo_url: str, images: Path, mirror: Path) -> dict[str, Any]:
    release["poll"] = f"{POLL}s"
    release["dlrn"]["repo_url"] = repo_url
    for server in release.get("image_servers", {}).values():
        server["path"] = str(mirror if _is_mirror(server) else images / "{release}" / "rdo_trunk")
    for stage in release["stages"]:
        for step in stage["steps"]:
            if "wait_for" in step:
                step["wait_for"]["retry_delay"] = f"{RETRY_DELAY}s"
    return release


def _is_mirror(server: Mapping[str, Any]) -> bool:
    return server.get("layout") == "by_label"


def _put(file: Path, text: str) -> None:
    """Replace a file whole and only when it differs: a running Airflow reads it."""
    if file.exists() and file.read_text() == text:
        return
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text)
    temporary.replace(file)


@dataclass(frozen=True, slots=True)
class LabRelease:
    """What the lab has to know of the release that it plays.

    :param name: the release, for example ``master``.
    :param dag_id: the id of its Dag.
    :param candidate: the label that hands a build to CI.
    :param promoted: the label that the first stage promotes to.
    :param jobs: the first stage's CI jobs, build jobs first.
    :param namespaces: the namespace of the containers by the registry's name in the release file.
    :param prefix: what all containers' names begin with.
    :param containers: the containers' names with their prefix, without namespace.
    :param images: the image files of a build.
    :param mirrored: their names on the mirror, in the same order.
    """

    name: str
    dag_id: str
    candidate: str
    promoted: str
    jobs: tuple[Job, ...]
    namespaces: Mapping[str, str]
    prefix: str
    containers: tuple[str, ...]
    images: tuple[str, ...]
    mirrored: tuple[str, ...]

    @property
    def short_names(self) -> list[str]:
        """The containers' names without their prefix."""
        return [name.removeprefix(self.prefix) for name in self.containers]

    def job(self, name: str) -> Job:
        """Return a job by its name, or by a part of it that no other job has.

        :raises LabError: when there is none, or more than one.
        """
        exact = [job for job in self.jobs if job.name == name]
        found = exact or [job for job in self.jobs if name in job.name]
        if len(found) != 1:
            what = "none has" if not found else f"{len(found)} have"
            names = "\n".join(f"  {job.name}" for job in (found or self.jobs))
            raise LabError(f"{what} {name!r} in its name, of these jobs:\n{names}")
        return found[0]


def read(source: Path = RELEASES) -> LabRelease:
    """Read the release that the lab plays.

    The package's own loader is not used: the lab has to serve a release that the package reads wrongly.
    """
    defaults = yaml.safe_load((source / "defaults.yaml").read_text()) or {}
    release = yaml.safe_load((source / f"{RELEASE}.yaml").read_text())
    distro = defaults.get("distro", {}) | release.get("distro", {})
    labels = {
        kind: body["label"]
        for step in reversed(release["stages"][0]["steps"])
        for kind, body in step.items()
        if kind in ("candidate", "promote")
    }
    return LabRelease(
        name=release["release"],
        dag_id=f"{distro['name']}{distro['version']}-{release['release']}",
        candidate=labels["candidate"],
        promoted=labels["promote"],
        jobs=jobs_of(release, labels["candidate"]),
        namespaces={name: settings["namespace"] for name, settings in release["registries"].items()},
        prefix=release["containers"]["prefix"],
        containers=_containers(release["containers"], source),
        images=tuple(release["images"]),
        mirrored=tuple(_mirrored(release)),
    )


def _mirrored(release: Mapping[str, Any]) -> Iterator[str]:
    (mirror,) = (server for server in release["image_servers"].values() if _is_mirror(server))
    for image in release["images"]:
        yield mirror.get("names", {}).get(image, image)


def _containers(settings: Mapping[str, Any], source: Path) -> tuple[str, ...]:
    entries = yaml.safe_load((source / settings["list"]).read_text())
    if isinstance(entries, dict):
        entries = [item["imagename"] for item in entries["container_images"]]
    prefix, excluded = settings["prefix"], set(settings.get("exclude", ()))
    names: dict[str, None] = {}
    for entry in entries:
        path = entry.rpartition(":")[0] or entry
        name = path.rpartition("/")[2]
        if not {name, name.removeprefix(prefix), "/".join(path.split("/")[-2:])} & excluded:
            names[prefix + name.removeprefix(prefix)] = None
    return tuple(names)
