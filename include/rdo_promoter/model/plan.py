"""From desired and observed to the changes that are left. Pure.

A plan is a set difference: what is in place needs no change, so a plan made after a crash, at whatever
point, is the rest of the plan made before it. Nothing that an earlier plan noted is trusted.

The order is part of the type: copies under the hash, then tags and links, then DLRN's labels
(`Plan.changes`). Of DLRN's two labels ``previous-<label>`` moves first: DLRN's promoted label is the
commit point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rdo_promoter.model.build import Build
from rdo_promoter.model.promotion import (
    DlrnState,
    Observed,
    Promotion,
    RegistryState,
    ServerState,
    previous_label,
)
from rdo_promoter.model.promotions import PromotionRow

_PREVIOUS = previous_label("")


@dataclass(frozen=True, slots=True)
class CopyContainer:
    """Copy a container from the source registry to another one, under the hash tag."""

    registry: str
    container: str
    digest: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}: copy {self.container}:{self.tag} {self.digest}"


@dataclass(frozen=True, slots=True)
class TagContainer:
    """Move a container's label tag to a digest that the registry holds."""

    registry: str
    container: str
    tag: str
    digest: str
    was: str | None

    def __str__(self) -> str:
        return f"{self.registry}: tag {self.container}:{self.tag} {self.was or 'nothing'} -> {self.digest}"


@dataclass(frozen=True, slots=True)
class CopyImage:
    """Copy an image from the server that the image job uploads to, into a mirror's folder of the build."""

    server: str
    image: str
    folder: str
    md5: str

    def __str__(self) -> str:
        return f"{self.server}: copy {self.folder}/{self.image} md5 {self.md5}"


@dataclass(frozen=True, slots=True)
class SetLink:
    """Move a link on an image server to another folder."""

    server: str
    link: str
    target: str
    was: str | None

    def __str__(self) -> str:
        return f"{self.server}: link {self.link} {self.was or 'nothing'} -> {self.target}"


@dataclass(frozen=True, slots=True)
class MoveLabel:
    """Promote a build to a label in DLRN."""

    label: str
    build: Build
    was: str | None

    def __str__(self) -> str:
        return f"DLRN: {self.label} {self.was or 'nothing'} -> {self.build.full_hash}"


Change = CopyContainer | CopyImage | TagContainer | SetLink | MoveLabel


@dataclass(frozen=True)
class Plan:
    """The changes that are left, and what forbids to begin.

    :param copies: containers that a registry lacks under the hash tag.
    :param images: images that a mirror lacks in the build's folder.
    :param tags: label tags that name something else.
    :param links: links that name something else, ``previous-`` before the label's own.
    :param labels: DLRN's labels that name something else, ``previous-`` before the promoted one.
    :param problems: what is missing or wrong; with one of these nothing may be changed.
    :param notes: what a person should know, though it forbids nothing.
    """

    copies: tuple[CopyContainer, ...] = ()
    images: tuple[CopyImage, ...] = ()
    tags: tuple[TagContainer, ...] = ()
    links: tuple[SetLink, ...] = ()
    labels: tuple[MoveLabel, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes in the order in which they may be made."""
        return (*self.copies, *self.images, *self.tags, *self.links, *self.labels)

    def __add__(self, other: Plan) -> Plan:
        return Plan(
            self.copies + other.copies,
            self.images + other.images,
            self.tags + other.tags,
            self.links + other.links,
            self.labels + other.labels,
            self.problems + other.problems,
            self.notes + other.notes,
        )

    def summary(self) -> str:
        """Say in one line how much is left to do."""
        counts = {
            "containers to copy": len(self.copies),
            "images to copy": len(self.images),
            "tags to move": len(self.tags),
            "links to move": len(self.links),
            "DLRN labels to move": len(self.labels),
        }
        left = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return left or "nothing left to do"


def plan(promotion: Promotion, observed: Observed) -> Plan:
    """Make the plan of a whole promotion."""
    result = Plan(problems=tuple(source_problems(promotion, observed.registries)))
    for name in promotion.registries:
        result += plan_registry(promotion, name, observed.registries)
    for name in promotion.servers:
        result += plan_server(promotion, name, observed.servers, observed.dlrn.holder)
    return result + plan_dlrn(promotion, observed.dlrn)


def is_untouched(made: Plan, promotion: Promotion, observed: Observed) -> bool:
    """Tell whether a plan is as it was made: nothing of it is in place yet.

    Where tags, links and labels were is not compared, for somebody else may have moved them. What
    ``previous-`` names does not count either: it is never the promotion's build.

    :param made: the plan.
    :param observed: how things are now; what is missing or wrong by now tells nothing, so that is False.
    """
    left = plan(promotion, observed)
    return _essence(made) <= _essence(left)


def _essence(made: Plan) -> set[Change]:
    tags = {replace(each, was=None) for each in made.tags}
    links = {replace(each, was=None) for each in made.links if not each.link.startswith(_PREVIOUS)}
    labels = {replace(each, was=None) for each in made.labels if not each.label.startswith(_PREVIOUS)}
    return {*made.copies, *made.images, *tags, *links, *labels}


def plan_registry(promotion: Promotion, name: str, registries: Mapping[str, RegistryState]) -> Plan:
    """Make one registry's part of the plan.

    :param registries: the observed states; the source's and this registry's are read.
    """
    if promotion.source is None:
        return Plan()
    source, target = registries[promotion.source], registries[name]
    copies: list[CopyContainer] = []
    tags: list[TagContainer] = []
    problems: list[str] = []
    for container in promotion.containers:
        digest = source.by_hash.get(container)
        if digest is None:
            continue  # named once, by `source_problems`
        here = target.by_hash.get(container)
        if here != digest:
            if name in promotion.push_to:
                copies.append(CopyContainer(name, container, digest, promotion.tag))
            else:
                problems.append(
                    f"registry {name}: {container}:{promotion.tag} is {here or 'missing'}, expected {digest} "
                    f"as in {promotion.source}; push it there, or name {name} under push_to"
                )
        was = target.by_label.get(container)
        if was != digest:
            tags.append(TagContainer(name, container, promotion.label, digest, was))
    return Plan(copies=tuple(copies), tags=tuple(tags), problems=tuple(problems))


def plan_server(
    promotion: Promotion, name: str, servers: Mapping[str, ServerState], holder: PromotionRow | None
) -> Plan:
    """Make one image server's part of the plan.

    :param name: the image server's name.
    :param servers: what they hold; this one's is read and, for a mirror, that of the images' source.
    :param holder: the newest row of the promoted label in DLRN.
    """
    state = servers[name]
    if name in promotion.mirror_to:
        found = _plan_mirror(promotion, name, servers)
    else:
        found = Plan(problems=tuple(image_problems(promotion, name, state)))
    if state.problems:
        return found + Plan(problems=state.problems)
    return found + _plan_links(promotion, name, state, holder)


def _plan_mirror(promotion: Promotion, name: str, servers: Mapping[str, ServerState]) -> Plan:
    """Name the images that a mirror lacks; those that their source lacks are a problem of the source.

    An image is in place when it has the source's size and the ``.md5`` beside it says what the source's
    does: a mirror gets its ``.md5`` when the content was read back.
    """
    assert promotion.mirror_source is not None
    source, mirror = servers[promotion.mirror_source], servers[name]
    return Plan(
        images=tuple(
            CopyImage(name, image, promotion.tag, wanted.declared)
            for image in promotion.images_on(name)
            if (wanted := source.images[image]).problem is None
            and wanted.declared is not None
            and mirror.images[image] != wanted
        )
    )


def _plan_links(promotion: Promotion, name: str, state: ServerState, holder: PromotionRow | None) -> Plan:
    """Name the links that are to move.

    ``previous-<label>`` is to name what the link named before. When the link is not where DLRN's label is,
    an earlier promotion was given up half-way; if ``previous-`` then names the build that DLRN's label
    names, it stays: what was never promoted is no place to go back to.
    """
    if state.link == promotion.tag:
        return Plan()
    links = [SetLink(name, promotion.label, promotion.tag, state.link)]
    notes: tuple[str, ...] = ()
    promoted = holder.build.full_hash if holder and holder.build != promotion.build else None
    given_up = promoted is not None and state.link != promoted and state.previous == promoted
    if state.link is not None and state.link != state.previous and not given_up:
        previous = previous_label(promotion.label)
        if state.link_exists:
            links.insert(0, SetLink(name, previous, state.link, state.previous))
        else:
            notes = (f"image server {name}: {previous} stays, the folder {state.link} is gone",)
    return Plan(links=tuple(links), notes=notes)


def plan_dlrn(promotion: Promotion, state: DlrnState) -> Plan:
    """Make DLRN's part of the plan."""
    build, label = promotion.build, promotion.label
    if not state.build_exists:
        missing = (
            f"DLRN: {build.full_hash} has no directory below the release's repo_url: it was purged, was "
            "never built, or is of another release; take a newer build, or mend repo_url"
        )
        return Plan(problems=(missing,))
    holder = state.holder.build if state.holder else None
    if holder == build and state.in_tree == build.full_hash:
        return Plan()
    labels = [MoveLabel(label, build, holder.full_hash if holder else None)]
    notes: tuple[str, ...] = ()
    previous = state.previous.build if state.previous else None
    if holder is not None and holder not in (build, previous):
        if state.holder_exists:
            was = previous.full_hash if previous else None
            labels.insert(0, MoveLabel(previous_label(label), holder, was))
        else:
            notes = (f"DLRN: {previous_label(label)} stays, {holder.full_hash} was purged",)
    return Plan(labels=tuple(labels), notes=notes)


def image_problems(promotion: Promotion, name: str, state: ServerState) -> Iterator[str]:
    """Name each image that the image job did not upload, or not whole."""
    for image in promotion.images_on(name):
        if (problem := state.images[image].problem) is not None:
            yield f"image server {name}: {promotion.tag}/{image} {problem}; let the image job upload it again"


def source_problems(promotion: Promotion, registries: Mapping[str, RegistryState]) -> Iterator[str]:
    """Name each container that the build job did not push."""
    if promotion.source is None:
        return
    by_hash = registries[promotion.source].by_hash
    for container in promotion.containers:
        if by_hash.get(container) is None:
            yield (
                f"registry {promotion.source}: {container}:{promotion.tag} does not exist; "
                "let the containers build job push it"
            )
