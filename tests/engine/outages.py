"""A run of a release, phase by phase, whose clients reach each service over a proxy that can be broken.

Many such runs share a world: builds in stock, the containers and images of the build that was promoted
before, a proxy a service. A run has labels and a build of its own in it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from rdo_promoter.model.layout import BY_HASH

from lab import dlrn as lab_dlrn
from lab import image_server
from lab.certificates import server_files
from lab.images import push_build
from lab.lab import Lab
from lab.outage import Outage, before
from lab.service import HOST
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.http import TIMEOUT, make_session
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry, tag_all
from rdo_promoter.clients.ssh import connect
from rdo_promoter.engine import promote
from rdo_promoter.engine.candidate import CandidateRules, admit, newest_build, tag_candidate
from rdo_promoter.engine.services import Services
from rdo_promoter.model.build import CONSISTENT, Build, DlrnHash
from rdo_promoter.model.order import Wait
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.model.verdict import Criteria, judge
from tests.engine.rdo import CONTAINERS, IMAGES, MIRROR, Rdo

SOURCE = "rdo"
TARGETS = ("dockerhub", "quay")
REGISTRIES = (SOURCE, *TARGETS)
SERVERS = ("images", "rh1")

#: Each service that a run asks, by the name of its proxy.
API, TREE, TOKENS = "dlrn-api", "dlrn-repo", "tokens"
ALL = frozenset({API, TREE, TOKENS, *REGISTRIES, *SERVERS})

#: Containers that are pushed for CI already; the others are left to the promotion.
CANDIDATES = CONTAINERS[:2]

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

    def run(self) -> Run:
        """Return a new run, with a build that CI has built and tested."""
        if not self._stock:
            self._fill()
        new, name = self._stock.pop()
        rdo = Corner(self.lab, name, self.dlrn, world=self)
        rdo.ci_builds(new)
        for registry in REGISTRIES:
            rdo.tag(registry, self.old, rdo.label)
        for root, folder in ((rdo.image_root, ""), (rdo.mirror_root, ".builds/")):
            (root / rdo.label).symlink_to(f"{folder}{self.old.full_hash}")
        return Run(rdo, self.old, new, {build.full_hash: rdo.uploaded(build) for build in (self.old, new)})

    def _fill(self) -> None:
        """Make builds, and labels' histories for the runs that will carry them."""
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

    def promotion(self, build: DlrnHash) -> Promotion:
        return Promotion(
            build=build,
            label=self.label,
            candidate_label=self.candidate_label,
            source=SOURCE,
            containers=CONTAINERS,
            tag_in=(SOURCE,),
            push_to=TARGETS,
            images=IMAGES,
            link_on=("images",),
            mirror_to=("rh1",),
        )

    def ci_builds(self, build: DlrnHash, *, images: bool = True) -> None:
        with self.registry(SOURCE) as registry:
            push_build(registry, self.namespace(SOURCE), CONTAINERS, build.full_hash, prefix="")
        if images:
            image_server.put_images(
                self.lab.root, self.world.namespace, build.full_hash, dict.fromkeys(IMAGES, 20_000)
            )
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
        patience = {"handshake_timeout": 4 * IMPATIENT, "answer_timeout": 4 * IMPATIENT}
        with connect(
            facts.host,
            self._outages[name].port,
            facts.username,
            key_file=facts.key_file,
            host_key=facts.host_key,
            name=f"image server {name}",
            **(patience if name == self._impatient else {}),
        ) as sftp:
            yield ImageServer(sftp, root=str(root), name=name, layout=layout)


@dataclass(frozen=True)
class Phase:
    """A part of a run that is one task, or several that differ in the service alone.

    :param asks: the services that it cannot do without.
    :param changes: those of them that it has something stored in.
    """

    name: str
    asks: frozenset[str]
    changes: frozenset[str]
    do: Callable[[Services], object]


@dataclass
class Run:
    """A run of a release.

    :param rdo: its corner.
    :param old: the build that holds the promoted label.
    :param new: the build that the run carries.
    :param md5s: full hash -> image -> md5 of what CI has uploaded.
    :param was: the build that held the label when the promotion was planned; a task hands it to the next.
    """

    rdo: Corner
    old: DlrnHash
    new: DlrnHash
    md5s: Mapping[str, Mapping[str, str]]
    was: Build | None = None

    @property
    def promotion(self) -> Promotion:
        return self.rdo.promotion(self.new)

    @property
    def criteria(self) -> Criteria:
        return Criteria(tuple(f"{self.rdo.namespace_}-{job}" for job in JOBS))

    def task(self, *, impatient: str | None = None) -> Task:
        """Return what a task works with."""
        return Task(self.rdo, impatient=impatient)

    def phases(self) -> list[Phase]:
        """Return the run's phases in their order."""
        wanted = self.promotion
        phases = [
            self._phase("pin", {API, TREE}, set(), self._pin),
            self._phase("find", {TREE}, set(), self._find),
            self._phase("admit", {API, TREE}, {API}, self._admit),
            self._phase("tag for CI", {API, SOURCE}, {SOURCE}, self._tag_candidate),
            self._phase("push for CI", {API, SOURCE, "dockerhub"}, {"dockerhub"}, self._push_candidate),
            self._phase("judge", {API}, set(), self._judge),
            # It asks DLRN to promote a build that does not exist, to find out whether it may.
            self._phase("preflight", ALL, {API}, self._preflight),
        ]
        phases += [
            self._phase(f"copy to {name}", {API, SOURCE, name}, {name}, self._for(promote.copy_to, name))
            for name in TARGETS
        ]
        phases += [
            self._phase("mirror to rh1", {API, *SERVERS}, {"rh1"}, self._for(promote.mirror_to, "rh1")),
            self._phase("check copies", ALL, set(), lambda task: promote.check_copies(wanted, task)),
        ]
        phases += [
            self._phase(f"tag in {name}", {API, SOURCE, name}, {name}, self._for(promote.tag_in, name))
            for name in REGISTRIES
        ]
        return [
            *phases,
            self._phase("link on images", {API, "images"}, {"images"}, self._for(promote.link_on, "images")),
            self._phase("link on rh1", {API, *SERVERS}, {"rh1"}, self._for(promote.link_on, "rh1")),
            self._phase("commit", ALL, {API}, lambda task: promote.commit(wanted, task, self.was)),
            self._phase("verify", ALL, set(), lambda task: promote.verify(wanted, task)),
        ]

    def until(self, name: str) -> Phase:
        """Go through all phases before the one with this name, undisturbed, and return that one."""
        for phase in self.phases():
            if phase.name == name:
                return phase
            self.go(phase)
        raise AssertionError(f"there is no phase {name!r}")

    def go(self, phase: Phase, *, impatient: str | None = None) -> None:
        """Go through a phase as a task does."""
        with self.task(impatient=impatient) as task:
            phase.do(task)

    def _phase(
        self, name: str, asks: set[str] | frozenset[str], changes: set[str], do: Callable[[Services], object]
    ) -> Phase:
        both = asks | ({TOKENS} if "quay" in asks else set())
        return Phase(name, frozenset(both), frozenset(changes), do)

    def _for(
        self, step: Callable[[Promotion, Services, str, Build | None], object], name: str
    ) -> Callable[[Services], object]:
        """Return a step of the promotion for one registry or image server."""
        return lambda task: step(self.promotion, task, name, self.was)

    def _pin(self, task: Services) -> None:
        # `consistent` is moved by other tests, and is a link alone; the other label has rows.
        newest_build(task.dlrn, CONSISTENT, self.rdo.candidate_label)
        found = newest_build(task.dlrn, f"{self.rdo.namespace_}-source", self.rdo.candidate_label)
        assert (found.build, found.nothing_new) == (self.new, None)

    def _find(self, task: Services) -> None:
        assert task.dlrn.find(self.new.full_hash) == self.new

    def _admit(self, task: Services) -> None:
        rules = CandidateRules(self.rdo.candidate_label, (Wait(self.criteria, 3600),))
        admission = admit(self.new, rules, task.dlrn)
        assert admission.entry is not None, admission.refused

    def _tag_candidate(self, task: Services) -> None:
        wanted = Promotion(self.new, self.rdo.candidate_label, self.rdo.candidate_label, SOURCE, CONTAINERS)
        assert tag_candidate(wanted, task, SOURCE, push=False).note is None

    def _push_candidate(self, task: Services) -> None:
        wanted = Promotion(self.new, self.rdo.candidate_label, self.rdo.candidate_label, SOURCE, CANDIDATES)
        assert tag_candidate(wanted, task, "dockerhub", push=True).note is None

    def _judge(self, task: Services) -> None:
        assert judge(self.criteria, task.dlrn.votes(self.new)).met
        promote.check_order(self.promotion, task)

    def _preflight(self, task: Services) -> None:
        self.was = promote.preflight(self.promotion, task).was
