"""What has happened in the lab before anybody looks: a week of builds, votes and one promotion."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab import dlrn, image_server, images
from lab.dlrn import NewBuild, PastPromotion
from lab.overlay import LabRelease
from lab.registries import LabRegistries, LabRegistry
from lab.scenario import Kind
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.registry import tag_all
from rdo_promoter.model.build import DlrnHash

HOUR = 3600
DAY = 24 * HOUR

#: Bytes of the disk image in each image file; RDO's have hundreds of megabytes.
IMAGE_SIZES = {"overcloud-full.tar": 1_500_000, "ironic-python-agent.tar": 400_000}
OTHER_IMAGE = 100_000


@dataclass(frozen=True, slots=True)
class Past:
    """A build of the past and how far it came.

    :param name: the build's hashes follow from it.
    :param age: seconds since it was built.
    :param project: the package that was built.
    :param extended: an extended hash, see `NewBuild`.
    :param failed: the jobs that voted against it, by a part of their names; None: CI never had it.
    :param promoted: whether it held the promoted label.
    """

    name: str
    age: int
    project: str
    extended: bool | str = False
    failed: tuple[str, ...] | None = None
    promoted: bool = False


#: Oldest first. V held the promoted label before W; X is new and exists in DLRN alone.
HISTORY = (
    Past("seed-s", 7 * DAY, "openstack-keystone", failed=("featureset002", "scenario001")),
    Past("seed-t", 6 * DAY, "openstack-neutron", extended=True, failed=("scenario002",)),
    Past("seed-u", 5 * DAY, "openstack-glance"),
    Past("seed-v", 4 * DAY, "openstack-heat", failed=(), promoted=True),
    Past(
        "seed-y", 3 * DAY, "openstack-cinder", extended="extras", failed=("featureset020", "standalone-full")
    ),
    Past("seed-w", 2 * DAY, "openstack-ironic", extended=True, failed=(), promoted=True),
    Past("seed-z", 1 * DAY, "openstack-swift"),
    Past("seed-x", 20 * 60, "openstack-nova"),
)


def wipe(root: Path) -> None:
    """Remove what an interrupted seed has left in DLRN; registries and images are simply filled again."""
    shutil.rmtree(root / "dlrn" / "data", ignore_errors=True)
    for file in (root / "dlrn").glob("commits.sqlite*"):
        file.unlink()


def seed_dlrn(root: Path, release: LabRelease) -> dict[str, DlrnHash]:
    """Add builds and their promotions to DLRN, whose services need not run; return the builds by name."""
    now = int(time.time())
    new = [NewBuild(now - past.age, past.extended, past.project, name=past.name) for past in HISTORY]
    builds = dict(zip((past.name for past in HISTORY), dlrn.add_builds(root, new), strict=True))
    rows: list[PastPromotion] = []
    holder: DlrnHash | None = None
    for past in HISTORY:
        if past.failed is None:
            continue
        build, built = builds[past.name], now - past.age
        rows.append(PastPromotion(build, release.candidate, built + HOUR // 2))
        if past.promoted:
            if holder is not None:
                rows.append(PastPromotion(holder, f"previous-{release.promoted}", built + 8 * HOUR - 5))
            rows.append(PastPromotion(build, release.promoted, built + 8 * HOUR))
            holder = build
    dlrn.add_promotions(root, rows)
    return builds


@dataclass(frozen=True)
class Seed:
    """Fills the running services; done again, it changes nothing but adds the votes again.

    :param root: the lab's folder.
    :param release: the release that the lab plays.
    :param registries: the lab's registries.
    :param ci: a client with the CI's login.
    """

    root: Path
    release: LabRelease
    registries: LabRegistries
    ci: DlrnClient

    def run(self, builds: dict[str, DlrnHash]) -> None:
        """Report past votes, push W's containers to all registries and put images on the image server."""
        last, before = builds["seed-w"], builds["seed-v"]
        jobs: list[Callable[[], None]] = [lambda: self._votes(builds), lambda: self._images(before, last)]
        jobs += [lambda registry=registry: self._containers(registry, last) for registry in self.registries]
        with ThreadPoolExecutor(len(jobs)) as pool:
            for future in [pool.submit(job) for job in jobs]:
                future.result()

    def _votes(self, builds: dict[str, DlrnHash]) -> None:
        now = self.ci.now()
        for past in HISTORY:
            if past.failed is None:
                continue
            for index, job in enumerate(self.release.jobs):
                success = not any(part in job.name for part in past.failed)
                when = now - past.age + 2 * HOUR + index * 900
                self.ci.report_vote(
                    builds[past.name], job.name, success, log_url(job.name, past.name), timestamp=when
                )
                if not success and job.kind is not Kind.TEST:
                    # Without containers or images there is nothing to test.
                    break

    def _containers(self, registry: LabRegistry, build: DlrnHash) -> None:
        namespace = self.release.namespaces[registry.name]
        with registry.client() as client:
            digests = images.push_build(
                client, namespace, self.release.short_names, build.full_hash, prefix=self.release.prefix
            )
            by_repository = {
                f"{namespace}/{self.release.prefix}{name}": digest for name, digest in digests.items()
            }
            for tag in (self.release.candidate, self.release.promoted):
                tag_all(client, by_repository, tag)

    def _images(self, before: DlrnHash, last: DlrnHash) -> None:
        for build in (before, last):
            put_images(self.root, self.release, build.full_hash)
        folder = Path(image_server.facts(self.root).path(self.release.name))
        for link, build in ((f"previous-{self.release.promoted}", before), (self.release.promoted, last)):
            with contextlib.suppress(FileExistsError):
                (folder / link).symlink_to(build.full_hash)


def put_images(root: Path, release: LabRelease, full_hash: str) -> Path:
    """Put the image files of a build on the image server, as the image build job does."""
    files = {name: IMAGE_SIZES.get(name, OTHER_IMAGE) for name in release.images}
    return image_server.put_images(root, release.name, full_hash, files)


def log_url(job: str, run: str) -> str:
    """Return the address of an old job's log, which RDO's log server has removed long ago."""
    return f"https://logs.rdoproject.org/openstack-periodic/{job}/{run}"
