"""Ways to get something wrong around a promotion; each undoes what it did to the real services."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.faults import FaultProxy
from lab.prerequisites import REGISTRY, SKOPEO
from lab.service import HOST, Service
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.registry import Registry
from rdo_promoter.model.build import AggregateHash, DlrnHash
from rdo_promoter.model.promotion import Promotion
from tests.bad_input.world import Spoilt
from tests.engine.rdo import CONTAINERS, IMAGES, Rdo

#: A password that no service knows; no message may repeat it.
WRONG = "open-sesame"


@dataclass(frozen=True)
class World:
    """A label that was promoted twice, and a build that could be promoted next.

    :param rdo: the services; nothing is wrong with them.
    :param new: whole, and newer than what holds the label.
    :param stranger: DLRN knows it, CI never had it.
    :param purged: DLRN removed it and knows so.
    :param lost: its directory is gone, and DLRN does not know.
    :param folder: for files of a test.
    """

    rdo: Rdo
    new: DlrnHash
    stranger: DlrnHash
    purged: DlrnHash
    lost: DlrnHash
    folder: Path


#: What is promoted by which services, as long as it is spoilt.
Spoiler = Callable[[World], AbstractContextManager[tuple[Spoilt, Promotion]]]


def _spoilt(world: World, **changes: Any) -> Spoilt:
    fields = (field.name for field in dataclasses.fields(world.rdo) if field.init)
    kept = {name: getattr(world.rdo, name) for name in fields}
    return Spoilt(**{**kept, **changes})


def _own_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


# --- what is asked for ---


def promoting(**changes: Any) -> Spoiler:
    """Promote something else, or in another way."""

    @contextmanager
    def spoil(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
        yield _spoilt(world), dataclasses.replace(world.rdo.promotion(world.new), **changes)

    return spoil


def the_build(name: str) -> Spoiler:
    """Promote another one of the world's builds."""

    @contextmanager
    def spoil(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
        yield _spoilt(world), world.rdo.promotion(getattr(world, name))

    return spoil


#: As in the form of a run of the wrong release.
OTHER_RELEASES_BUILD = DlrnHash("0" * 40, "1" * 40)
AN_AGGREGATE = AggregateHash("2" * 32)
ONE_COMPONENT = DlrnHash("3" * 40, "4" * 40, component="compute")
MISSING_CONTAINER = (*CONTAINERS, "never-built")


# --- what stands on the image server ---


def image(name: str, content: bytes | None) -> Spoiler:
    """Put another content into one of the build's files, or remove the file."""

    @contextmanager
    def spoil(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
        file = world.rdo.image_root / world.new.full_hash / name
        right = file.read_bytes()
        file.unlink() if content is None else file.write_bytes(content)
        try:
            yield _spoilt(world), world.rdo.promotion(world.new)
        finally:
            file.write_bytes(right)

    return spoil


def link(target: str | None) -> Spoiler:
    """Let the label's link name something else, or put a folder in its place."""

    @contextmanager
    def spoil(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
        link = world.rdo.image_root / world.rdo.label
        right = link.readlink()
        link.unlink()
        link.mkdir() if target is None else link.symlink_to(target)
        try:
            yield _spoilt(world), world.rdo.promotion(world.new)
        finally:
            link.rmdir() if target is None else link.unlink()
            link.symlink_to(right)

    return spoil


def ssh(**changes: Any) -> Spoiler:
    """Log in to the image server with something else."""

    @contextmanager
    def spoil(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
        yield _spoilt(world, ssh=changes), world.rdo.promotion(world.new)

    return spoil


def other_host_key() -> str:
    """Return the public key of a host that nobody has."""
    return _own_key().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def other_login_key() -> str:
    """Return a private key that no server lets in."""
    return _own_key().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


# --- DLRN ---


def dlrn(user: str | None, password: str | None = None) -> Spoiler:
    """Log in to DLRN as somebody else.

    :param user: a user of the lab's DLRN, None for nobody.
    :param password: None for that user's own.
    """

    @contextmanager
    def spoil(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
        facts = world.rdo.lab.dlrn
        right = {facts.username: facts.password, facts.reader_username: facts.reader_password}
        client = DlrnClient(
            facts.api_url,
            facts.repo_url,
            username=user,
            password=password or right.get(user or ""),
            source="Connection 'dlrn_good'",
        )
        with client:
            yield _spoilt(world, dlrn=client), world.rdo.promotion(world.new)

    return spoil


@contextmanager
def another_tree(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
    """Look for the builds below the address of another release's tree."""
    facts = world.rdo.lab.dlrn
    client = DlrnClient(
        facts.api_url,
        f"{facts.repo_url}/elsewhere",
        username=facts.username,
        password=facts.password,
        patience=0.1,
    )
    with client:
        yield _spoilt(world, dlrn=client), world.rdo.promotion(world.new)


@contextmanager
def dlrn_behind_an_unknown_ca(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
    """Reach DLRN over a server whose certificate nobody knows."""
    facts, hub = world.rdo.lab.dlrn, world.rdo.lab.registries.dockerhub
    files = (hub.folder / "server.crt", hub.folder / "server.key")
    with FaultProxy(facts.api_url, tls=files) as proxy:
        client = DlrnClient(proxy.url, facts.repo_url, username=facts.username, password=facts.password)
        with client:
            yield _spoilt(world, dlrn=client), world.rdo.promotion(world.new)


# --- registries ---


def dockerhub(**changes: Any) -> Spoiler:
    """Reach the registry that containers are pushed to with something else."""

    @contextmanager
    def spoil(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
        with world.rdo.lab.registries.dockerhub.client(**changes) as registry:
            yield _spoilt(world, registries={"dockerhub": registry}), world.rdo.promotion(world.new)

    return spoil


@contextmanager
def schema1(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
    """Let one container of the source be of the format that registries convert for each answer."""
    with _old_registry(world) as host:
        for container in CONTAINERS:
            _push(world, host, container, world.new.full_hash, schema1=container == "nova-api")
        with Registry(f"http://{host}", name="rdo") as registry:
            yield _spoilt(world, registries={"rdo": registry}), world.rdo.promotion(world.new)


@contextmanager
def schema1_under_the_label(world: World) -> Iterator[tuple[Spoilt, Promotion]]:
    """Let the label, in the source, name one container of that format."""
    with _old_registry(world) as host:
        for container in CONTAINERS:
            _push(world, host, container, world.new.full_hash)
        _push(world, host, "nova-api", world.rdo.label, schema1=True)
        with Registry(f"http://{host}", name="rdo") as registry:
            yield _spoilt(world, registries={"rdo": registry}), world.rdo.promotion(world.new)


@contextmanager
def _old_registry(world: World) -> Iterator[str]:
    """Run a registry that takes images of format schema1; the lab's take no such image any more."""
    storage = {"filesystem": {"rootdirectory": str(world.folder / "schema1")}}

    def command(port: int) -> list[str]:
        configuration = {
            "version": 0.1,
            "storage": storage,
            "compatibility": {"schema1": {"enabled": True}},
            "http": {"addr": f"{HOST}:{port}"},
        }
        file = world.folder / "schema1.yml"
        file.write_text(yaml.safe_dump(configuration))
        return [REGISTRY.require(), "serve", str(file)]

    service = Service("registry-schema1", world.folder / "run", command)
    service.start()
    try:
        service.wait_ready()
        yield f"{HOST}:{service.port}"
    finally:
        service.stop()


def _push(world: World, host: str, container: str, tag: str, *, schema1: bool = False) -> None:
    """Copy a container from the lab's source registry to another one."""
    image = f"{world.rdo.namespace('rdo')}/{container}:{tag}"
    source = world.rdo.lab.registries.rdo.host
    skopeo = [SKOPEO.require(), "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
    how = ["--format", "v2s1"] if schema1 else ["--all"]
    subprocess.run(
        [*skopeo, *how, f"docker://{source}/{image}", f"docker://{host}/{image}"],
        check=True,
        capture_output=True,
    )


#: An image that a page of the web server took the place of, and the md5 of nothing.
PAGE = b"<html>404 Not Found</html>"
EMPTY_MD5 = f"d41d8cd98f00b204e9800998ecf8427e  {IMAGES[0]}\n".encode()
