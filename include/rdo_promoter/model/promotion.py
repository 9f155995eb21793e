"""What a promotion wants, and what was observed of it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from rdo_promoter.model.build import Build
from rdo_promoter.model.promotions import PromotionRow

#: A container's name in the release's list, with the prefix: ``centos-binary-nova-api``.
Container = str
#: ``sha256:...`` of a manifest's exact bytes.
Digest = str


def previous_label(label: str) -> str:
    """Return the label that keeps what `label` named before its last promotion."""
    return f"previous-{label}"


def label_uri(dag_id: str, repo_url: str, label: str) -> str:
    """Return the URI of the asset that stands for a label: ``dlrn://<host>/<Dag id>/<label>``.

    :param repo_url: DLRN's repository tree.
    """
    return f"dlrn://{urlsplit(repo_url).netloc}/{dag_id}/{label}"


@dataclass(frozen=True)
class Promotion:
    """The desired state: label names build in DLRN, on every registry, on every image server.

    :param build: the build that the run carries.
    :param label: the promoted label, for example ``current-tripleo``.
    :param candidate_label: the label that CI tests; it gives builds their order.
    :param source: the registry that the build job pushed the containers to; None without containers.
    :param containers: repository names without namespace.
    :param tag_in: registries that hold the containers already and are tagged only.
    :param push_to: registries that get a copy under the hash tag first.
    :param images: image files in the build's folder, each with an ``.md5`` beside it.
    :param link_on: image servers that the image job uploads to, and whose link is moved.
    :param mirror_to: image servers that get a copy of the images first, and whose link is moved then.
    :param own_images: the image files on servers of `link_on` that hold others than `images`.
    """

    build: Build
    label: str
    candidate_label: str
    source: str | None = None
    containers: tuple[Container, ...] = ()
    tag_in: tuple[str, ...] = ()
    push_to: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    link_on: tuple[str, ...] = ()
    mirror_to: tuple[str, ...] = ()
    own_images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The hash tag in registries, and the hash folder on image servers."""
        return self.build.full_hash

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries whose label tag moves, in the file's order, each once."""
        return tuple(dict.fromkeys((*self.tag_in, *self.push_to)))

    @property
    def servers(self) -> tuple[str, ...]:
        """The image servers whose link moves, in the file's order."""
        return (*self.link_on, *self.mirror_to)

    @property
    def mirror_source(self) -> str | None:
        """The image server that mirrors are filled from; None when the image job uploads to none."""
        return self.link_on[0] if self.link_on else None

    def images_on(self, server: str) -> tuple[str, ...]:
        """Return the image files that a server has to hold; a mirror has to hold those of its source.

        :param server: the image server's name.
        """
        uploaded = self.mirror_source if server in self.mirror_to else server
        return self.own_images.get(uploaded or server, self.images)

    @property
    def subject(self) -> str:
        """What messages call it."""
        return f"{self.build.full_hash} to {self.label}"


@dataclass(frozen=True)
class RegistryState:
    """What a registry's tags name.

    :param by_hash: digest of each container under the hash tag; None when there is none.
    :param by_label: digest of each container under the label; None when there is none.
    """

    by_hash: Mapping[Container, Digest | None] = field(default_factory=dict)
    by_label: Mapping[Container, Digest | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image file in the build's folder.

    :param size: bytes; None when the file does not exist.
    :param declared: the md5 that its ``.md5`` file promises.
    :param actual: the md5 of its content, as far as it was read; otherwise what is declared.
    """

    size: int | None = None
    declared: str | None = None
    actual: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with it, None when it is whole."""
        if self.size is None:
            return "does not exist"
        if self.declared is None:
            return "has no .md5 file"
        if self.actual != self.declared:
            return f"has md5 {self.actual}, its .md5 file says {self.declared}"
        return None


@dataclass(frozen=True)
class ServerState:
    """What an image server holds.

    :param images: each image file in the build's folder, by the image's name in the release file.
    :param link: the folder that the label's link names, None when there is no link.
    :param link_exists: whether that folder exists.
    :param previous: the folder that ``previous-<label>`` names.
    :param problems: what keeps links from being moved there.
    """

    images: Mapping[str, ImageState] = field(default_factory=dict)
    link: str | None = None
    link_exists: bool = True
    previous: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class DlrnState:
    """What DLRN's labels name.

    :param holder: the newest row of the promoted label.
    :param holder_exists: whether that build's directory still exists.
    :param previous: the newest row of ``previous-<label>``.
    :param build_exists: whether our build's directory exists.
    :param in_tree: full hash of the build that the label's link in the repository tree names.
    """

    holder: PromotionRow | None = None
    holder_exists: bool = True
    previous: PromotionRow | None = None
    build_exists: bool = True
    in_tree: str | None = None


@dataclass(frozen=True)
class Observed:
    """Everything that a plan is made from.

    :param dlrn: DLRN's labels.
    :param registries: by the registry's name, the source among them.
    :param servers: by the image server's name.
    """

    dlrn: DlrnState
    registries: Mapping[str, RegistryState] = field(default_factory=dict)
    servers: Mapping[str, ServerState] = field(default_factory=dict)
