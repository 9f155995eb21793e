"""A test's own corner of the lab: builds, labels, namespaces, an image folder, and the engine's services."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lab import dlrn as lab_dlrn
from lab import image_server
from lab.images import push_build
from lab.lab import Lab
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry
from rdo_promoter.clients.ssh import connect
from rdo_promoter.engine import promote
from rdo_promoter.model.build import Build, DlrnHash
from rdo_promoter.model.layout import BY_HASH, by_label
from rdo_promoter.model.promotion import Promotion

#: Among them a manifest list, an OCI index and an OCI image.
CONTAINERS = ("mariadb", "ovn-sb-db-server", "nova-api", "cron")
IMAGES = ("overcloud-full.tar", "ironic-python-agent.tar")
#: Where promotions push to: basic authentication, and tokens.
PUSH_TO = ("dockerhub", "quay")
#: The layout of the mirror, where one image has another name.
MIRROR = by_label({"ironic-python-agent.tar": "ipa_images.tar"})


@dataclass(frozen=True)
class State:
    """Everything that a promotion may change, as plain values."""

    label: str | None
    previous: str | None
    rows: int
    tags: dict[str, dict[str, str | None]]
    link: str | None
    previous_link: str | None
    mirror_link: str | None
    previous_mirror_link: str | None


@dataclass(frozen=True)
class Rdo:
    """Services of one test.

    :param lab: the session's lab.
    :param namespace: a name that no other test has.
    """

    lab: Lab
    namespace_: str
    dlrn: DlrnClient
    _registries: dict[str, Registry] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def candidate_label(self) -> str:
        return f"{self.namespace_}-ci-testing"

    @property
    def label(self) -> str:
        return f"{self.namespace_}-current"

    @property
    def image_root(self) -> Path:
        return Path(self.lab.images.path(self.namespace_))

    @property
    def mirror_root(self) -> Path:
        return self.lab.mirror.images / self.namespace_

    def held(self, build: Build) -> Path:
        """Return the mirror's folder of a build."""
        return self.mirror_root / ".builds" / build.full_hash

    def registry(self, name: str) -> Registry:
        """Return the client of a registry, which keeps its connections and tokens for the test."""
        if name not in self._registries:
            self._registries[name] = getattr(self.lab.registries, name).client()
        return self._registries[name]

    def namespace(self, name: str) -> str:
        return f"{self.namespace_}{name}"

    @contextmanager
    def server(self, name: str) -> Iterator[ImageServer]:
        mirror = name == "rh1"
        facts = self.lab.mirror if mirror else self.lab.images
        root, layout = (self.mirror_root, MIRROR) if mirror else (self.image_root, BY_HASH)
        with connect(
            facts.host, facts.port, facts.username, key_file=facts.key_file, host_key=facts.host_key
        ) as sftp:
            yield ImageServer(sftp, root=str(root), name=name, layout=layout)

    def build(self, *, extended: bool = False) -> DlrnHash:
        """Let DLRN build; `consistent` may be moved by other tests at any time."""
        return lab_dlrn.add_build(self.lab.root, when=int(time.time()), extended=extended)

    def candidates(self, count: int = 2, *, label: str | None = None) -> list[DlrnHash]:
        """Make builds that entered the candidate label an hour apart, oldest first."""
        now = int(time.time()) - 3600 * (count + 1)
        builds = lab_dlrn.add_builds(
            self.lab.root, [lab_dlrn.NewBuild(now + n, extended=bool(n % 2)) for n in range(count)]
        )
        lab_dlrn.add_promotions(
            self.lab.root,
            [
                lab_dlrn.PastPromotion(build, label or self.candidate_label, now + 3600 * n)
                for n, build in enumerate(builds)
            ],
        )
        return builds

    def ci_builds(self, build: DlrnHash, *, images: bool = True) -> None:
        """Do what CI's build jobs do: push containers, upload images."""
        names = CONTAINERS
        push_build(self.registry("rdo"), self.namespace("rdo"), names, build.full_hash, prefix="")
        if images:
            self.ci_images(build)

    def ci_images(self, build: DlrnHash) -> None:
        """Do what CI's image job does; the mirror's folder was made by a person, once."""
        image_server.put_images(
            self.lab.root, self.namespace_, build.full_hash, dict.fromkeys(IMAGES, 20_000)
        )
        self.mirror_root.mkdir(exist_ok=True)

    def promotion(self, build: DlrnHash) -> Promotion:
        return Promotion(
            build=build,
            label=self.label,
            candidate_label=self.candidate_label,
            source="rdo",
            containers=CONTAINERS,
            tag_in=("rdo",),
            push_to=PUSH_TO,
            images=IMAGES,
            link_on=("images",),
            mirror_to=("rh1",),
        )

    def promote(self, build: DlrnHash, *, steps: int = 99) -> None:
        """Take the first steps of a promotion, all by default."""
        wanted = self.promotion(build)
        found = promote.preflight(wanted, self)
        actions: list[Callable[[], object]] = [
            *(partial(promote.copy_to, wanted, self, name, found.was) for name in PUSH_TO),
            lambda: promote.mirror_to(wanted, self, "rh1", found.was),
            lambda: promote.check_copies(wanted, self),
            *(partial(promote.tag_in, wanted, self, name, found.was) for name in PUSH_TO),
            lambda: promote.tag_in(wanted, self, "rdo", found.was),
            lambda: promote.link_on(wanted, self, "images", found.was),
            lambda: promote.link_on(wanted, self, "rh1", found.was),
            lambda: promote.commit(wanted, self, found.was),
            lambda: promote.verify(wanted, self),
        ]
        for step in actions[:steps]:
            step()

    def tags(self, tag: str) -> dict[str, dict[str, str | None]]:
        """Return what a tag names on each registry, by container."""
        found: dict[str, dict[str, str | None]] = {}
        for name in ("rdo", *PUSH_TO):
            registry = self.registry(name)
            heads = {c: registry.head(f"{self.namespace(name)}/{c}", tag) for c in CONTAINERS}
            found[name] = {c: head.digest if head else None for c, head in heads.items()}
        return found

    def state(self) -> State:
        """Read everything anew."""
        label, previous = self.dlrn.current(self.label), self.dlrn.current(f"previous-{self.label}")
        return State(
            label=label.build.full_hash if label else None,
            previous=previous.build.full_hash if previous else None,
            rows=len(self.dlrn.promotions(self.label)) + len(self.dlrn.promotions(f"previous-{self.label}")),
            tags=self.tags(self.label),
            link=_target(self.image_root / self.label),
            previous_link=_target(self.image_root / f"previous-{self.label}"),
            mirror_link=_target(self.mirror_root / self.label),
            previous_mirror_link=_target(self.mirror_root / f"previous-{self.label}"),
        )


def _target(link: Path) -> str | None:
    return link.readlink().as_posix().removeprefix(".builds/") if link.is_symlink() else None
