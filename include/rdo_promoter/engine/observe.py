"""Read the present state of a promotion from DLRN, registries and image servers. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import heads
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import AnswerError, ConfigError, SupersededError
from rdo_promoter.model.build import Build, DlrnHash
from rdo_promoter.model.clock import is_from_the_future, utc
from rdo_promoter.model.order import Standing, first_entry, superseded
from rdo_promoter.model.promotion import (
    DlrnState,
    ImageState,
    Observed,
    Promotion,
    RegistryState,
    ServerState,
    previous_label,
)
from rdo_promoter.model.promotions import PromotionRow


def observe(promotion: Promotion, services: Services, *, checksums: bool = True) -> Observed:
    """Observe everything that a promotion needs or changes.

    :param checksums: read every image file whole and compare it with its ``.md5``; without, the files'
        presence alone is looked at.
    """
    names = promotion.registries
    if promotion.source is not None:
        names = tuple(dict.fromkeys((promotion.source, *names)))
    servers = {}
    for name in promotion.servers:
        with services.server(name) as server:
            servers[name] = observe_server(promotion, server, checksums=checksums)
    registries = {name: observe_registry(promotion, services, name) for name in names}
    # DLRN last: its label is what others move.
    return Observed(observe_dlrn(promotion, services.dlrn), registries, servers)


def observe_registry(promotion: Promotion, services: Services, name: str) -> RegistryState:
    """Read the digests under the hash tag and, where the label moves, under the label: by HEAD alone.

    :param name: the registry's name.
    """
    return RegistryState(
        by_hash=digests(services, name, promotion.containers, promotion.tag),
        # What the label named before, in whatever format, is only replaced.
        by_label=digests(services, name, promotion.containers, promotion.label, any_type=True)
        if name in promotion.registries
        else {},
    )


def digests(
    services: Services, name: str, containers: Iterable[str], tag: str, *, any_type: bool = False
) -> dict[str, str | None]:
    """Return the digest that a tag names in each container's repository, None where there is no such tag.

    :param name: the registry's name.
    :param containers: names without namespace.
    :param tag: hash tag or label.
    :param any_type: also that of what could not be copied or tagged, as it need not be.
    """
    namespace = services.namespace(name)
    repositories = {container: f"{namespace}/{container}" for container in containers}
    found = heads(services.registry(name), list(repositories.values()), tag, any_type=any_type)
    return {
        container: descriptor.digest if (descriptor := found[repository]) else None
        for container, repository in repositories.items()
    }


def observe_server(promotion: Promotion, server: ImageServer, *, checksums: bool) -> ServerState:
    """Read the build's folder and the label's links on an image server.

    :param checksums: read every image file whole; without, its presence alone is looked at.
    """
    problems: list[str] = []
    if server.layout.mirror and (problem := missing_root(server)):
        problems.append(problem)
    links = {}
    for name in (promotion.label, previous_label(promotion.label)):
        try:
            links[name] = server.link(name)
        except AnswerError as error:
            problems.append(str(error))
    link = links.get(promotion.label)
    return ServerState(
        images=observe_images(server, promotion.tag, promotion.images_on(server.name), checksums=checksums),
        link=link,
        link_exists=link is not None and server.files(link) is not None,
        previous=links.get(previous_label(promotion.label)),
        problems=tuple(problems),
    )


def missing_root(server: ImageServer) -> str | None:
    """Say what to do when the folder that we are to copy into does not exist, None when it does."""
    if server.exists():
        return None
    return (
        f"image server {server.name}: folder {server.root} does not exist; make it, owned by the "
        "login of the Connection"
    )


def observe_images(
    server: ImageServer, folder: str, names: Iterable[str], *, checksums: bool, filled_by_us: bool = False
) -> dict[str, ImageState]:
    """Read the image files in a build's folder.

    :param folder: the folder's name.
    :param names: the images as the release file names them.
    :param checksums: read every image file whole; without, its presence alone is looked at.
    :param filled_by_us: a file whose ``.md5`` is unusable is copied again: nobody else mends it.
    """
    files = server.files(folder) or {}
    images = {}
    for image in names:
        file = server.layout.file(image)
        size, declared, actual = files.get(file), None, None
        if size is not None:
            declared = _declared_md5(server, folder, file, filled_by_us=filled_by_us or server.layout.mirror)
            # Without a declared checksum there is nothing to compare with: the file is read for nothing.
            actual = server.md5(folder, file) if checksums and declared else declared
        images[image] = ImageState(size, declared, actual)
    return images


def _declared_md5(server: ImageServer, folder: str, file: str, *, filled_by_us: bool) -> str | None:
    try:
        return server.declared_md5(folder, file)
    except AnswerError:
        if filled_by_us:
            return None
        raise


def observe_dlrn(promotion: Promotion, dlrn: DlrnClient) -> DlrnState:
    """Read the promoted label and its ``previous-`` twin, and whether the builds still have directories."""
    build = single(promotion.build)
    holder = dlrn.current(promotion.label)
    in_tree = dlrn.label_hash(promotion.label) if holder else None
    return DlrnState(
        holder=holder,
        holder_exists=holder is not None and dlrn.has_directory(single(holder.build)),
        previous=dlrn.current(previous_label(promotion.label)),
        build_exists=dlrn.has_directory(build),
        in_tree=in_tree.full_hash if in_tree else None,
    )


def standing(dlrn: DlrnClient, build: Build, *, candidate_label: str, promoted_label: str) -> Standing | None:
    """Return a build's place in the order: its first entry into the candidate label.

    A build that somebody promoted by hand without testing has none; its first entry into the promoted
    label stands for it, so that nothing from before that hand's work replaces it.

    :param build: the build.
    :param candidate_label: the label that CI tests.
    :param promoted_label: the label that it is promoted to.
    """
    for label in (candidate_label, promoted_label):
        entered = first_entry(dlrn.entries(label, build), build)
        if entered is not None:
            return Standing(build, entered)
    return None


def place_problem(
    dlrn: DlrnClient,
    build: Build,
    holder: PromotionRow | None,
    *,
    candidate_label: str,
    promoted_label: str,
) -> str | None:
    """Say why a build has no place in the order of builds; None when it is newer than the label's holder.

    :param build: the build that is to be promoted.
    :param holder: the newest row of the promoted label.
    :param candidate_label: the label that CI tests.
    :param promoted_label: the label that it is promoted to.
    :raises SupersededError: when the holder is not older.
    """
    if holder is None or holder.build == build:
        return None
    labels = {"candidate_label": candidate_label, "promoted_label": promoted_label}
    ours = standing(dlrn, build, **labels)
    if ours is None:
        return (
            f"DLRN: the build never held {candidate_label}, so it has no place in the order of builds; "
            "run the stage's candidate step first"
        )
    theirs, now = standing(dlrn, holder.build, **labels), dlrn.now()
    if theirs is not None and is_from_the_future(theirs.entered, now=now):
        return _no_order(theirs, now, "have its administrators correct the time of that row in its database")
    if is_from_the_future(ours.entered, now=now):
        return _no_order(ours, now, "start a run for it with 'Test again' ticked: it gets a new entry")
    if superseded(ours, theirs):
        raise SupersededError(
            f"superseded by {holder.build.full_hash}, which holds {promoted_label} and is not older",
            by=holder.build.full_hash,
        )
    return None


def _no_order(place: Standing, now: int, remedy: str) -> str:
    return (
        f"DLRN: {place.build} has an entry of {utc(place.entered)}, which is in the future of DLRN's clock "
        f"({utc(now)}), so that clock was set back and nobody can tell which build is newer; {remedy}"
    )


def single(build: Build) -> DlrnHash:
    """Return the build when it is one of the single pipeline.

    :raises ConfigError: for an aggregate and for one of its components, which this version does not promote.
    """
    if isinstance(build, DlrnHash) and build.component is None:
        return build
    what = (
        f"a build of the component {build.component} alone" if isinstance(build, DlrnHash) else "an aggregate"
    )
    raise ConfigError(
        f"{build} is {what}; releases of the component pipeline are not supported yet: take a build of a "
        "release without components"
    )
