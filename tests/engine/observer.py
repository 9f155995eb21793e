"""What readers of the services find: read beside the clients and the engine, and not over any proxy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab import dlrn as lab_dlrn
from lab.images import build_image
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.layout import BY_HASH
from tests.engine.phases import CANDIDATES, Run
from tests.engine.rdo import CONTAINERS, IMAGES, MIRROR
from tests.engine.world import REGISTRIES, SOURCE

#: Registry -> container -> tag -> digest, None for a tag that does not exist.
Tags = Mapping[str, Mapping[str, Mapping[str, str | None]]]


@dataclass(frozen=True)
class Snapshot:
    """Everything that a run may change, by the names that its test gives: `label`, `new` and so on.

    :param rows: label -> full hashes of the builds in DLRN's rows, newest first.
    :param tree: label -> the build's directory that DLRN's link names.
    :param tags: what the tags in registries name.
    :param links: image server -> link -> the folder that it names.
    :param files: image server -> build -> file -> md5.
    """

    rows: Mapping[str, tuple[str, ...]]
    tree: Mapping[str, str | None]
    tags: Tags
    links: Mapping[str, Mapping[str, str | None]]
    files: Mapping[str, Mapping[str, Mapping[str, str]]]


def look(run: Run) -> Snapshot:
    """Read everything."""
    rdo, labels = run.rdo, _labels(run)
    builds = {"old": run.old.full_hash, "new": run.new.full_hash}
    tree = lab_dlrn.tree_folder(rdo.lab.root)
    roots = {"images": (rdo.image_root, ""), "rh1": (rdo.mirror_root, ".builds")}
    return Snapshot(
        rows={
            name: tuple(row.build.full_hash for row in rdo.dlrn.promotions(label))
            for name, label in labels.items()
        },
        tree={name: _target(tree / label) for name, label in labels.items()},
        tags={
            name: {
                container: {
                    each: _tag(run, name, container, tag) for each, tag in {**labels, **builds}.items()
                }
                for container in CONTAINERS
            }
            for name in REGISTRIES
        },
        links={
            server: {name: _target(root / label) for name, label in labels.items()}
            for server, (root, _) in roots.items()
        },
        files={
            server: {name: _files(root / hidden / build) for name, build in builds.items()}
            for server, (root, hidden) in roots.items()
        },
    )


def promoted(run: Run) -> Snapshot:
    """Return what is to be found after a run, and nothing else."""
    old, new = run.old.full_hash, run.new.full_hash
    digests = {"old": _digests(run.old), "new": _digests(run.new)}

    def tags(registry: str, container: str) -> dict[str, str | None]:
        candidate = registry == SOURCE or (registry == "dockerhub" and container in CANDIDATES)
        named = {"label": "new", "previous": None, "candidate": "new" if candidate else None}
        named |= {"old": "old", "new": "new"}
        return {name: digests[build][container] if build else None for name, build in named.items()}

    links = {"label": new, "previous": old, "candidate": None}
    hidden = {name: f".builds/{build}" if build else None for name, build in links.items()}
    return Snapshot(
        rows={"label": (new, old), "previous": (old,), "candidate": (new, old)},
        tree={"label": run.new.path, "previous": run.old.path, "candidate": run.new.path},
        tags={name: {each: tags(name, each) for each in CONTAINERS} for name in REGISTRIES},
        links={"images": links, "rh1": hidden},
        files={
            server: {name: images(run, build, server) for name, build in (("old", run.old), ("new", run.new))}
            for server in ("images", "rh1")
        },
    )


def check(run: Run, found: Snapshot, first: Snapshot, *, planned: bool, copied: bool) -> None:
    """Check what has to be true at any time.

    :param found: what there is now.
    :param first: what there was before the run.
    :param planned: whether everything that is needed was found to exist.
    :param copied: whether it was found in place everywhere.
    """
    _check_label(run, found)
    _check_readers(run, found, first)
    if not planned:
        # Nothing but what CI tests may have changed.
        assert _but_candidates(found) == _but_candidates(first)
    if not copied:
        for registry in REGISTRIES:
            for container in CONTAINERS:
                assert found.tags[registry][container]["label"] == first.tags[registry][container]["label"]
        assert found.links == first.links


def _check_label(run: Run, found: Snapshot) -> None:
    """DLRN's label names a build of which everything is in place everywhere."""
    holder = {run.old.full_hash: "old", run.new.full_hash: "new"}[found.rows["label"][0]]
    build = run.old if holder == "old" else run.new
    assert found.tree["label"] == build.path
    for registry in REGISTRIES:
        for container, digest in _digests(build).items():
            named = found.tags[registry][container]
            assert named[holder] == digest, f"{registry}: {container} under the hash"
            # Tags and links move before DLRN's label does, and never after it.
            assert holder == "old" or named["label"] == digest, f"{registry}: {container} under the label"
    for server in ("images", "rh1"):
        assert found.files[server][holder] == images(run, build, server)
        link = found.links[server]["label"]
        assert holder == "old" or (link is not None and link.endswith(build.full_hash))


def _check_readers(run: Run, found: Snapshot, first: Snapshot) -> None:
    """Links are never missing and name a whole build; tags name what the source has."""
    for server, links in found.links.items():
        linked = str(links["label"]).removeprefix(".builds/")
        build = {run.old.full_hash: run.old, run.new.full_hash: run.new}[linked]
        assert found.files[server]["old" if build == run.old else "new"] == images(run, build, server)
    for containers in found.tags.values():
        for container, named in containers.items():
            old, new = _digests(run.old)[container], _digests(run.new)[container]
            assert named["new"] in (None, new)
            assert named["old"] == old
            assert named["label"] in (old, new)
            assert named["candidate"] in (None, new)


def _but_candidates(found: Snapshot) -> object:
    """Return what candidates are not free to change: all but what is under their label and their hash."""
    free = ("candidate", "new")
    return (
        {name: rows for name, rows in found.rows.items() if name not in free},
        {name: target for name, target in found.tree.items() if name not in free},
        [
            (registry, container, {name: digest for name, digest in named.items() if name not in free})
            for registry, containers in found.tags.items()
            for container, named in containers.items()
        ],
        found.links,
        found.files,
    )


def _labels(run: Run) -> dict[str, str]:
    rdo = run.rdo
    return {"label": rdo.label, "previous": f"previous-{rdo.label}", "candidate": rdo.candidate_label}


def _tag(run: Run, name: str, container: str, tag: str) -> str | None:
    """Read a tag where distribution keeps it."""
    storage = getattr(run.rdo.lab.registries, name).folder / "storage" / "docker" / "registry" / "v2"
    repository = storage / "repositories" / run.rdo.namespace(name) / container
    link = repository / "_manifests" / "tags" / tag / "current" / "link"
    return link.read_text() if link.exists() else None


def _target(link: Path) -> str | None:
    return link.readlink().as_posix() if link.is_symlink() else None


def _files(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.md5(file.read_bytes()).hexdigest()
        for file in (folder.iterdir() if folder.is_dir() else ())
        if not file.name.startswith(".")
    }


def images(run: Run, build: DlrnHash, server: str) -> dict[str, str]:
    """Return the md5 of each file that a build has on a server."""
    layout, found = {"images": BY_HASH, "rh1": MIRROR}[server], {}
    for image in IMAGES:
        name, md5 = layout.file(image), run.md5s[build.full_hash][image]
        found[name] = md5
        found[f"{name}.md5"] = hashlib.md5(f"{md5}  {name}\n".encode()).hexdigest()
    return found


@cache
def _digests(build: DlrnHash) -> dict[str, str]:
    return {name: build_image(name, build.full_hash).manifest.digest for name in CONTAINERS}
