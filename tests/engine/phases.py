"""A run of a release, phase by phase: what a task does at a time, on clients of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rdo_promoter.engine import promote
from rdo_promoter.engine.access import check_access
from rdo_promoter.engine.candidate import CandidateRules, admit, newest_build, tag_candidate
from rdo_promoter.engine.services import Services
from rdo_promoter.model.build import CONSISTENT, Build, DlrnHash
from rdo_promoter.model.order import Wait
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.model.verdict import Criteria, judge
from tests.engine.rdo import CONTAINERS
from tests.engine.world import (
    ALL,
    API,
    JOBS,
    REGISTRIES,
    SERVERS,
    SOURCE,
    TARGETS,
    TOKENS,
    TREE,
    Corner,
    Task,
    World,
)

#: Containers that are pushed for CI already; the others are left to the promotion.
CANDIDATES = CONTAINERS[:2]


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
            # Who does not answer is a note: it may be back when it is needed.
            self._phase("start", set(), set(), self._start),
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

    def _start(self, task: Services) -> None:
        assert check_access(task, REGISTRIES, SERVERS, [self.rdo.candidate_label]).problems == ()

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


def begin(world: World) -> Run:
    """Return a new run of a build that CI has built and tested, while the old build is promoted."""
    rdo, new = world.take()
    rdo.ci_builds(new)
    for registry in REGISTRIES:
        rdo.tag(registry, world.old, rdo.label)
    for root, folder in ((rdo.image_root, ""), (rdo.mirror_root, ".builds/")):
        (root / rdo.label).symlink_to(f"{folder}{world.old.full_hash}")
    uploaded = {build.full_hash: rdo.uploaded(build) for build in (world.old, new)}
    return Run(rdo, world.old, new, uploaded)
