"""What has happened in the lab before anybody looks: a week of builds, votes and one promotion."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import dlrn, image_server, images
from lab.dlrn import NewBuild, PastPromotion, PastVote
from lab.overlay import LabRelease
from lab.registries import LabRegistries
from lab.scenario import Job, Kind
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


def builds(now: int) -> dict[str, NewBuild]:
    """Return the builds of the past by name.

    :param now: seconds since the epoch.
    """
    return {
        past.name: NewBuild(now - past.age, past.extended, past.project, name=past.name) for past in HISTORY
    }


def seed_dlrn(root: Path, release: LabRelease, made: Mapping[str, NewBuild]) -> None:
    """Add builds, votes and promotions to DLRN, whose services need not run."""
    rows: list[PastPromotion] = []
    votes: list[PastVote] = []
    holder: DlrnHash | None = None
    for past in HISTORY:
        if past.failed is None:
            continue
        build, built = made[past.name].build, made[past.name].when
        rows.append(PastPromotion(build, release.candidate, built + HOUR // 2))
        votes += _votes(past, build, built + HOUR, release.jobs)
        if past.promoted:
            if holder is not None:
                rows.append(PastPromotion(holder, f"previous-{release.promoted}", built + 8 * HOUR - 5))
            rows.append(PastPromotion(build, release.promoted, built + 8 * HOUR))
            holder = build
    dlrn.add_history(root, made.values(), votes, rows)


def _votes(past: Past, build: DlrnHash, start: int, jobs: Iterable[Job]) -> Iterator[PastVote]:
    for index, job in enumerate(jobs):
        success = not any(part in job.name for part in past.failed or ())
        # RDO's log server has removed such old logs long ago.
        url = f"https://logs.rdoproject.org/openstack-periodic/{job.name}/{past.name}"
        yield PastVote(build, job.name, success, url, start + (index + 1) * HOUR // 3)
        if not success and job.kind is not Kind.TEST:
            # Without containers or images there is nothing to test.
            return


def seed_containers(registries: LabRegistries, release: LabRelease, build: DlrnHash) -> None:
    """Push a build's containers to the RDO registry, label them, and let dockerhub have the same.

    :param registries: RDO's runs; dockerhub may run.
    """
    rdo, hub = registries.rdo, registries.dockerhub
    namespace = release.namespaces[rdo.name]
    with rdo.client() as client:
        digests = images.push_build(
            client, namespace, release.short_names, build.full_hash, prefix=release.prefix
        )
        repositories = {f"{namespace}/{release.prefix}{name}": digest for name, digest in digests.items()}
        for tag in (release.candidate, release.promoted):
            tag_all(client, repositories, tag)
    # A registry keeps everything in plain files, so a copy of them is a registry with the same content.
    # Pushing the same once more would take as long as all the rest of the seed.
    storage = Path("storage", "docker", "registry", "v2")
    source, target = rdo.folder / storage, hub.folder / storage
    shutil.copytree(source / "blobs", target / "blobs", dirs_exist_ok=True)
    shutil.copytree(
        source / "repositories" / namespace,
        target / "repositories" / release.namespaces[hub.name],
        dirs_exist_ok=True,
    )


def seed_images(root: Path, release: LabRelease, before: DlrnHash, last: DlrnHash) -> None:
    """Put the images of the promoted build and its predecessor on the image server, and link them."""
    for build in (before, last):
        put_images(root, release, build.full_hash)
    folder = Path(image_server.facts(root).path(release.name))
    for link, build in ((f"previous-{release.promoted}", before), (release.promoted, last)):
        with contextlib.suppress(FileExistsError):
            (folder / link).symlink_to(build.full_hash)


def seed_mirror(mirror: Path, images: Path, release: LabRelease, before: DlrnHash, last: DlrnHash) -> None:
    """Put the same images on the mirror, as promotions copy them there, and link them.

    :param mirror: the release's folder on the mirror.
    :param images: the release's folder on the image server.
    """
    for link, build in ((f"previous-{release.promoted}", before), (release.promoted, last)):
        held = mirror / ".builds" / build.full_hash
        held.mkdir(parents=True, exist_ok=True)
        for image, name in zip(release.images, release.mirrored, strict=True):
            uploaded = images / build.full_hash / image
            shutil.copyfile(uploaded, held / name)
            md5 = uploaded.with_name(f"{image}.md5").read_text().split()[0]
            (held / f"{name}.md5").write_text(f"{md5}  {name}\n")
        with contextlib.suppress(FileExistsError):
            (mirror / link).symlink_to(Path(".builds", build.full_hash))


def put_images(root: Path, release: LabRelease, full_hash: str) -> Path:
    """Put the image files of a build on the image server, as the image build job does."""
    files = {name: IMAGE_SIZES.get(name, OTHER_IMAGE) for name in release.images}
    return image_server.put_images(root, release.name, full_hash, files)
