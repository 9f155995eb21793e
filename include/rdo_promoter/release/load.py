"""Release files from a folder: read, laid over the defaults, checked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rdo_promoter.errors import ConfigError
from rdo_promoter.files.document import Document, Problem, merge
from rdo_promoter.files.folder import ENVIRONMENT, named, releases_folder
from rdo_promoter.files.reader import read_document
from rdo_promoter.files.waivers import waivers_of
from rdo_promoter.model.text import one_line
from rdo_promoter.release.checks import check
from rdo_promoter.release.containers import container_names
from rdo_promoter.release.models import Release, ReleaseFile
from rdo_promoter.release.shape import shape_problems
from rdo_promoter.steps import Candidate, Promote

DEFAULTS = "defaults.yaml"


@dataclass(frozen=True)
class BrokenRelease:
    """A release file that cannot be used.

    :param file: the file as messages name it.
    :param error: what is wrong with it, one line a problem.
    """

    file: str
    error: ConfigError

    @property
    def dag_id(self) -> str:
        """The id of the Dag that shows the error: ``broken-<file>``, other suffixes than .yaml included."""
        name = Path(self.file).name.removesuffix(".yaml")
        return "broken-" + re.sub(r"[^A-Za-z0-9_.-]", lambda match: f"-{ord(match[0]):x}-", name)[:200]


def load_release(path: Path) -> Release:
    """Read and check a release file.

    ``defaults.yaml`` of its folder is laid under it: mappings are merged, everything else is replaced.

    :param path: the file.
    :raises ConfigError: with one line a problem: ``file:line: key: what is wrong and what to write``.
    """
    folder = path.parent
    documents = [read_document(path, named(path, folder))]
    document = documents[0]
    if document.value is None:
        raise ConfigError(f"{document.file}:1: empty: a release file begins with `release: <name>`")
    if not isinstance(document.value, dict):
        raise ConfigError(f"{document.file}:1: no mapping: a release file begins with `release: <name>`")
    document = _with_defaults(document, folder, documents)
    try:
        spec = ReleaseFile.model_validate(document.value)
    except ValidationError as error:
        # What could not be read as YAML was read as empty: that it is empty is no news.
        unread = [problem.path for problem in document.problems]
        shape = [problem for problem in shape_problems(error, document) if problem.path not in unread]
        raise ConfigError(document.describe([*document.problems, *shape])) from error
    problems = [*document.problems, *check(spec)]
    lines = [document.describe(problems)] if problems else []
    names = _read_containers(spec, document, folder, documents, lines)
    _read_waivers(spec, document, folder, lines)
    if lines:
        raise ConfigError("\n".join(lines))
    digest = hashlib.sha256()
    for each in documents:
        digest.update(hashlib.sha256(each.data).digest())
    # The fields were validated above: a second validation would refuse what the first made of them.
    return Release.model_construct(
        **dict(spec), file=document.file, digest=digest.hexdigest(), container_names=names
    )


def load_releases(folder: Path | None = None) -> list[Release | BrokenRelease]:
    """Read all release files of a folder; one that is broken does not stop the others.

    :param folder: the folder, `releases_folder` without it; one that cannot be read is a broken release, so
        that the Dag file shows it like any other mistake.
    """
    folder = releases_folder() if folder is None else folder
    try:
        paths = sorted(path for path in folder.iterdir() if is_release_file(path))
    except OSError as error:
        message = f"the releases folder {folder} cannot be read: {error.strerror}; name it in {ENVIRONMENT}"
        return [BrokenRelease(one_line(str(folder)), ConfigError(one_line(message)))]
    return load_files(paths)


def load_files(paths: Iterable[Path]) -> list[Release | BrokenRelease]:
    """Read release files; one that is broken does not stop the others.

    Two that share a Dag id, a label of one repository tree, or a link on an image server, are both broken.

    :param paths: the files.
    """
    return _without_duplicates([_load(path) for path in paths])


def _load(path: Path) -> Release | BrokenRelease:
    try:
        return load_release(path)
    except ConfigError as error:
        return BrokenRelease(named(path, path.parent), error)


def _without_duplicates(loaded: Sequence[Release | BrokenRelease]) -> list[Release | BrokenRelease]:
    """Break every release that shares with another one what may have one owner alone."""
    owners: dict[str, list[str]] = {}
    for each in loaded:
        for owned, _ in _owned(each):
            owners.setdefault(owned, []).append(each.file)
    result: list[Release | BrokenRelease] = []
    for each in loaded:
        lines = []
        for owned, remedy in _owned(each):
            same = [file for file in owners[owned] if file != each.file]
            if same and isinstance(each, Release):
                lines.append(f"{each.file}:1: {owned} is also that of {', '.join(same)}: {remedy}")
        result.append(BrokenRelease(each.file, ConfigError("\n".join(lines))) if lines else each)
    return result


def _owned(each: Release | BrokenRelease) -> Iterator[tuple[str, str]]:
    """Yield what only one release may have, and what to change when two have it."""
    yield f"Dag id {each.dag_id!r}", "change release or distro in one of them"
    if isinstance(each, Release):
        for stage in each.stages:
            for step in stage.steps:
                if isinstance(step, Candidate | Promote):
                    label = f"label {step.label!r} in {each.dlrn.repo_url}"
                    yield (
                        label,
                        "they would move it in turns; change the label or dlrn.repo_url in one of them",
                    )
                if isinstance(step, Promote):
                    for server in (*step.link_on, *step.mirror_to):
                        connection, path = each.image_servers[server].connection, each.image_root(server)
                        yield (
                            f"link {path}/{step.label} at Connection {connection!r}",
                            f"they would move it in turns; change image_servers.{server}.path in one of them",
                        )


def is_release_file(path: Path) -> bool:
    """Tell whether something is a release by its name: YAML, not hidden, not the defaults.

    A folder with such a name is one that cannot be read, and is shown like any other mistake.
    """
    return path.suffix in (".yaml", ".yml") and not path.name.startswith((".", "_")) and path.name != DEFAULTS


def _with_defaults(document: Document, folder: Path, documents: list[Document]) -> Document:
    path = folder / DEFAULTS
    # A link to nothing exists in this sense: without its defaults a release would be another one.
    if not os.path.lexists(path):
        return document
    defaults = read_document(path, named(path, folder))
    if defaults.problems:
        raise ConfigError(defaults.describe(defaults.problems))
    if defaults.value is not None and not isinstance(defaults.value, dict):
        raise ConfigError(
            f"{defaults.file}:1: no mapping: write keys of a release file, for example `poll: 60s`"
        )
    documents.append(defaults)
    return merge(defaults, document)


def _read_containers(
    spec: ReleaseFile, document: Document, folder: Path, documents: list[Document], lines: list[str]
) -> tuple[str, ...]:
    if spec.containers is None:
        return ()
    path = folder / spec.containers.list_file
    try:
        listing = read_document(path, named(path, folder))
    except ConfigError as error:
        lines += [document.describe([Problem(("containers", "list"), str(error))])]
        return ()
    documents.append(listing)
    names, problems = container_names(listing, spec.containers)
    of_release = [problem for problem in problems if problem.path[:1] == ("exclude",)]
    of_list = [*listing.problems, *(problem for problem in problems if problem not in of_release)]
    if of_list:
        lines.append(listing.describe(of_list))
    if of_release:
        lines.append(document.describe([Problem(("containers", *p.path), p.message) for p in of_release]))
    return names


def _read_waivers(spec: ReleaseFile, document: Document, folder: Path, lines: list[str]) -> None:
    """Check the reviewed waivers; what they say is read anew whenever it counts."""
    if spec.waivers is None:
        return
    path = folder / spec.waivers
    try:
        reviewed = read_document(path, named(path, folder))
    except ConfigError as error:
        lines.append(document.describe([Problem(("waivers",), str(error))]))
        return
    try:
        waivers_of(reviewed)
    except ConfigError as error:
        lines.append(str(error))
