"""What many runs share: builds in stock, the build that was promoted before them, a proxy a service.

A run has labels and a build of its own in it, and clients that reach each service over its proxy, which can
be broken.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from lab import dlrn as lab_dlrn
from lab import image_server
from lab.certificates import server_files
from lab.lab import Lab
from lab.outage import Outage, before
from lab.service import HOST
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.http import TIMEOUT, make_session
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry, tag_all
from rdo_promoter.clients.ssh import ANSWER_TIMEOUT, HANDSHAKE_TIMEOUT, connect
from rdo_promoter.engine import promote
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.layout import BY_HASH
from tests.engine.rdo import CONTAINERS, IMAGES, MIRROR, PUSH_TO, Rdo

SOURCE = "rdo"
TARGETS = PUSH_TO
REGISTRIES = (SOURCE, *TARGETS)
SERVERS = ("images", "rh1")

#: Each service that a run asks, by the name of its proxy.
API, TREE, TOKENS = "dlrn-api", "dlrn-repo", "tokens"
ALL = frozenset({API, TREE, TOKENS, *REGISTRIES, *SERVERS})

#: Seconds for which an answer is awaited that will not come; who is not broken has all the time.
IMPATIENT = 0.25

#: Retries that an outage has to outlast.
RETRIES = 1

JOBS = ("build", "test")
_STOCK = 16


@dataclass(frozen=True)
class World:
    """What runs share.

    :param namespace: of its registries and image folders.
    :param outages: what stands before each service.
    :param old: the build that every run finds promoted.
    """

    lab: Lab
    namespace: str
    dlrn: DlrnClient
    outages: Mapping[str, Outage]
    old: DlrnHash
    _stock: list[tuple[DlrnHash, str]] = field(default_factory=list)
    _number: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def take(self) -> tuple[Corner, DlrnHash]:
        """Return a corner where the old build is promoted, and a build that CI has voted on for it."""
        if not self._stock:
            self._fill()
        new, name = self._stock.pop()
        return Corner(self.lab, name, self.dlrn, world=self), new

    def _fill(self) -> None:
        """Make builds, and the histories that labels and votes have when a run begins to carry one."""
        now = int(time.time())
        names = [f"{self.namespace}r{next(self._number)}" for _ in range(_STOCK)]
        builds = [lab_dlrn.NewBuild(now, extended=bool(number % 2)) for number in range(_STOCK)]
        past = lab_dlrn.PastPromotion
        lab_dlrn.add_history(
            self.lab.root,
            builds,
            [
                lab_dlrn.PastVote(build.build, f"{name}-{job}", True, "https://logs.example.org/1", now)
                for build, name in zip(builds, names, strict=True)
                for job in JOBS
            ],
            [
                each
                for build, name in zip(builds, names, strict=True)
                for each in (
                    past(self.old, f"{name}-ci-testing", now - 7200),
                    past(self.old, f"{name}-current", now - 5400),
                    past(build.build, f"{name}-source", now - 600),
                )
            ],
        )
        self._stock.extend(zip((build.build for build in builds), names, strict=True))


@contextmanager
def open_world(lab: Lab, namespace: str) -> Iterator[World]:
    """Make a world, and end its proxies afterwards."""
    with ExitStack() as stack:
        dlrn = stack.enter_context(lab.dlrn_client())
        outages = {name: stack.enter_context(outage) for name, outage in _outages(lab).items()}
        old = lab_dlrn.add_build(lab.root, when=int(time.time()))
        world = World(lab, namespace, dlrn, outages, old)
        rdo = Corner(lab, namespace, dlrn, world=world)
        rdo.ci_builds(old)
        for name in TARGETS:
            promote.copy_to(rdo.promotion(old), rdo, name, None)
        promote.mirror_to(rdo.promotion(old), rdo, "rh1", None)
        yield world


def _outages(lab: Lab) -> dict[str, Outage]:
    api, tree = lab_dlrn.services(lab.root)
    quay = lab.registries.quay
    assert quay.issuer is not None
    tokens = Outage(HOST, quay.issuer.service.port, server_files(quay.folder))
    realm = quay.issuer.realm
    return {
        API: Outage(HOST, api.port),
        TREE: Outage(HOST, tree.port),
        TOKENS: tokens,
        "rdo": before(lab.registries.rdo),
        "dockerhub": before(lab.registries.dockerhub),
        # The registry names its token server itself.
        "quay": Outage(
            HOST, quay.service.port, server_files(quay.folder), names={realm: f"{tokens.url}/token"}
        ),
        "images": Outage(HOST, lab.images.port, http=False),
        "rh1": Outage(HOST, lab.mirror.port, http=False),
    }


@dataclass(frozen=True)
class Corner(Rdo):
    """A run's corner: labels of its own, in namespaces and folders that it shares. Not behind the proxies."""

    world: World = field(kw_only=True)

    @property
    def image_root(self) -> Path:
        return Path(self.lab.images.path(self.world.namespace))

    @property
    def mirror_root(self) -> Path:
        return self.lab.mirror.images / self.world.namespace

    def namespace(self, name: str) -> str:
        return f"{self.world.namespace}{name}"

    def ci_images(self, build: DlrnHash) -> None:
        folder = self.world.namespace
        image_server.put_images(self.lab.root, folder, build.full_hash, dict.fromkeys(IMAGES, 20_000))
        self.mirror_root.mkdir(exist_ok=True)

    def uploaded(self, build: DlrnHash) -> dict[str, str]:
        """Return the md5 of each image that CI has uploaded."""
        folder = self.image_root / build.full_hash
        return {image: hashlib.md5((folder / image).read_bytes()).hexdigest() for image in IMAGES}

    def tag(self, name: str, build: DlrnHash, tag: str) -> None:
        """Let a tag name a build's containers, as a promotion does."""
        with self.registry(name) as registry:
            repositories = [f"{self.namespace(name)}/{container}" for container in CONTAINERS]
            digests = {each: registry.head(each, build.full_hash) for each in repositories}
            tag_all(registry, {each: found.digest for each, found in digests.items() if found}, tag)


class Task:
    """The engine's services as one task has them: made anew for each try, each behind its proxy.

    :param impatient: a service whose answers are not awaited for long.
    """

    def __init__(self, rdo: Corner, *, impatient: str | None = None) -> None:
        self._rdo = rdo
        self._impatient = impatient
        self._outages = rdo.world.outages
        self._registries: dict[str, Registry] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dlrn.close()
        for registry in self._registries.values():
            registry.close()

    @cached_property
    def dlrn(self) -> DlrnClient:
        facts = self._rdo.lab.dlrn
        client = DlrnClient(
            self._outages[API].url,
            self._outages[TREE].url,
            username=facts.username,
            password=facts.password,
            retries=RETRIES,
            backoff=0.01,
            patience=0.3,
        )
        for name in (API, TREE):
            if name == self._impatient:
                # One session for both; the other one may take its time.
                session = make_session(timeout=(TIMEOUT[0], IMPATIENT), retries=RETRIES, backoff=0.01)
                client._session.mount(self._outages[name].url, session.get_adapter(self._outages[name].url))
        return client

    def registry(self, name: str) -> Registry:
        if name not in self._registries:
            lab = getattr(self._rdo.lab.registries, name)
            patience = IMPATIENT if self._impatient == name else TIMEOUT[1]
            client = Registry(
                self._outages[name].url,
                name=name,
                username=lab.username,
                password=lab.password,
                verify=str(lab.ca) if lab.ca else True,
                timeout=(TIMEOUT[0], patience),
                retries=RETRIES,
                backoff=0.01,
            )
            if (self._impatient, name) == (TOKENS, "quay"):
                session = make_session(
                    verify=str(lab.ca), timeout=(TIMEOUT[0], IMPATIENT), retries=RETRIES, backoff=0.01
                )
                client._transport._asking.mount("https://", session.get_adapter("https://"))
            self._registries[name] = client
        return self._registries[name]

    def namespace(self, name: str) -> str:
        return self._rdo.namespace(name)

    @contextmanager
    def server(self, name: str) -> Iterator[ImageServer]:
        lab, rdo = self._rdo.lab, self._rdo
        facts, root, layout = {
            "images": (lab.images, rdo.image_root, BY_HASH),
            "rh1": (lab.mirror, rdo.mirror_root, MIRROR),
        }[name]
        impatient = name == self._impatient
        with connect(
            facts.host,
            self._outages[name].port,
            facts.username,
            key_file=facts.key_file,
            host_key=facts.host_key,
            name=f"image server {name}",
            handshake_timeout=4 * IMPATIENT if impatient else HANDSHAKE_TIMEOUT,
            answer_timeout=4 * IMPATIENT if impatient else ANSWER_TIMEOUT,
        ) as sftp:
            yield ImageServer(sftp, root=str(root), name=name, layout=layout)
