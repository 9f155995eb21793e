"""What a promotion has moved, read from outside: plain HTTP, the file system, and hashes of our own.

Nothing of the package is used here, so that a mistake in it cannot hide itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests

from lab.lab import Lab
from lab.registries import LabRegistry

_TIMEOUT = 20
_MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be so after a promotion.

    :param what: what was looked at, and what was found.
    :param problems: what is not as it has to be.
    """

    what: str
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is as it has to be."""
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"  ok   {self.what}"
        more = f"\n         and {len(self.problems) - 3} more" if len(self.problems) > 3 else ""
        return f"  NOT  {self.what}" + "".join(f"\n         {line}" for line in self.problems[:3]) + more


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was read after a promotion.

    :param full_hash: the build that should hold the label.
    :param label: the label.
    :param containers: how many containers were compared.
    :param registries: on how many registries.
    :param links: links on image servers that were compared.
    """

    full_hash: str
    label: str
    containers: int
    registries: int
    links: int
    checks: tuple[Check, ...]

    @property
    def verified(self) -> bool:
        """Whether everything is as it has to be."""
        return all(check.ok for check in self.checks)

    def last_line(self, seconds: float) -> str:
        """Return what the demo says last.

        :param seconds: how long the run took.
        """
        verdict = "verified" if self.verified else "NOT VERIFIED"
        return (
            f"promoted {self.full_hash} to {self.label}: {self.containers} containers on {self.registries} "
            f"registries, {self.links} links, {verdict}, {seconds:.0f} s"
        )


def labelled(lab: Lab, label: str) -> str:
    """Return the full hash of the build that a DLRN label names, as yum would follow it."""
    answer = requests.get(f"{lab.dlrn.repo_url}/{label}/delorean.repo", timeout=_TIMEOUT)
    answer.raise_for_status()
    for line in answer.text.splitlines():
        key, _, value = line.partition("=")
        if key == "baseurl":
            return value.rstrip("/").rpartition("/")[2]
    raise ValueError(f"{answer.url} has no baseurl")


def inspect(lab: Lab, full_hash: str, previous: str) -> Report:
    """Look at everything that a promotion has to have moved.

    :param full_hash: the build that should hold the release's promoted label.
    :param previous: the build that held it before.
    """
    label, containers = lab.release.promoted, len(lab.release.containers)
    used = [registry for registry in lab.registries if registry.name in lab.release.namespaces]
    links = {label: full_hash, f"previous-{label}": previous}
    checks = [_guarded(f"DLRN: {name} is {build}", _dlrn(lab, build, name)) for name, build in links.items()]
    checks += [
        _guarded(
            f"{registry.name}: {containers} containers tagged {label} and {full_hash}, same bytes as built",
            _registry(lab, registry, full_hash, label),
        )
        for registry in used
    ]
    release, hidden = lab.release, Path(".builds")
    for name, build in links.items():
        uploaded = _link(lab.image_folder / name, Path(build), release.images)
        checks.append(_guarded(f"images: {name} -> {build}", uploaded))
    for name, build in links.items():
        copied = _link(lab.mirror_folder / name, hidden / build, release.mirrored)
        checks.append(_guarded(f"rh1: {name} -> {build}, {' and '.join(release.mirrored)}", copied))
    return Report(full_hash, label, containers, len(used), 2 * len(links), tuple(checks))


def _guarded(what: str, problems: Iterator[str]) -> Check:
    """Make a check; a service that does not answer is a problem, not the end of the report."""
    try:
        return Check(what, tuple(problems))
    except (requests.RequestException, OSError, ValueError, LookupError) as error:
        return Check(what, (f"cannot be read: {error}",))


def _dlrn(lab: Lab, full_hash: str, label: str) -> Iterator[str]:
    if (found := labelled(lab, label)) != full_hash:
        yield f"{lab.dlrn.repo_url}/{label} is the repository of {found}"
    url = f"{lab.dlrn.api_url}/api/promotions"
    answer = requests.get(url, params={"promote_name": label, "limit": "1"}, timeout=_TIMEOUT)
    answer.raise_for_status()
    row = answer.json()[0]
    commit, distro = full_hash.split("_")[:2]
    if row["commit_hash"] != commit or not row["distro_hash"].startswith(distro):
        yield f"the newest promotion is of {row['commit_hash']}_{row['distro_hash'][:8]}"


def _registry(lab: Lab, registry: LabRegistry, full_hash: str, label: str) -> Iterator[str]:
    """Compare both tags of each container with what CI pushed to the source registry under the hash."""
    source = _digests(lab, lab.registries.rdo, full_hash)
    for tag in (full_hash, label):
        for name, digest in _digests(lab, registry, tag).items():
            if digest is None or digest != source[name]:
                yield f"{name}:{tag} is {digest or 'missing'}, built was {source[name] or 'nothing'}"


def _digests(lab: Lab, registry: LabRegistry, tag: str) -> dict[str, str | None]:
    base = f"{registry.url}/v2/{lab.release.namespaces[registry.name]}"
    names = lab.release.containers
    with requests.Session() as session, ThreadPoolExecutor(8) as pool:
        session.trust_env = False
        session.verify = str(registry.ca) if registry.ca else True
        if registry.username and registry.password:
            session.auth = (registry.username, registry.password)
        found = pool.map(lambda name: _digest(session, f"{base}/{name}/manifests/{tag}"), names)
        return dict(zip(names, found, strict=True))


def _digest(session: requests.Session, url: str) -> str | None:
    answer = session.get(url, headers={"Accept": _MANIFESTS}, timeout=_TIMEOUT)
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return f"sha256:{hashlib.sha256(answer.content).hexdigest()}"


def _link(link: Path, target: Path, images: Iterable[str]) -> Iterator[str]:
    found = link.readlink()
    if found != target:
        yield f"{link} names {found}"
    for image in images:
        content = hashlib.md5((link / image).read_bytes(), usedforsecurity=False).hexdigest()
        declared = (link / f"{image}.md5").read_text().split()[0]
        if content != declared:
            yield f"{link / image} has md5 {content}, its .md5 says {declared}"
