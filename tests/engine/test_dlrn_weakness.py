"""Where a real DLRN is weak, and that the engine lives with it.

1. A promotion removes the label's link and makes it anew: for a moment there is none.
2. Promotions of one label at the same time disturb each other: some are answered 500.
3. After a 5xx the link may have moved without a row, or both, or nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from lab import dlrn as lab_dlrn
from lab.faults import Fault
from lab.lab import Lab
from lab.service import wait_for
from rdo_promoter.clients.dlrn_read import build_fields
from rdo_promoter.engine import promote
from rdo_promoter.engine.candidate import CandidateRules, admit
from rdo_promoter.engine.observe import observe_dlrn
from rdo_promoter.errors import ConflictError, ServiceError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.promotions import PromotionRow
from tests.engine.alone import Alone
from tests.engine.world import World

pytestmark = pytest.mark.lab

#: What DLRN has done when it answers 500.
NOTHING, LINK, BOTH = "nothing", "the link alone", "both"


class Loop:
    """Does something again and again beside the test, until its block ends."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._do()

    def __enter__(self) -> Loop:
        self._work = self._pool.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._work.result()


def test_rule_1_reads_of_a_label_do_not_fail_while_it_is_promoted(alone: Alone, lab: Lab) -> None:
    label, pair, facts = alone.rdo.label, (alone.new, alone.old), lab.dlrn
    link = lab_dlrn.tree_folder(lab.root) / label
    turn, missing, read = iter(range(100_000)), 0, 0

    def move(session: requests.Session) -> None:
        body = {**build_fields(pair[next(turn) % 2]), "promote_name": label}
        session.post(f"{facts.api_url}/api/promote", json=body, timeout=30).raise_for_status()

    def look_at_the_link() -> None:
        nonlocal missing
        missing += not link.is_symlink()

    def ask() -> None:
        nonlocal read
        assert alone.dlrn.label_hash(label) in pair
        state = observe_dlrn(alone.promotion, alone.dlrn)
        assert state.in_tree in {build.full_hash for build in pair}
        read += 2

    with requests.Session() as session:
        session.auth = (facts.username, facts.password)
        with Loop(lambda: move(session)), Loop(look_at_the_link), Loop(ask):
            wait_for(lambda: missing >= 20 and read >= 60, "the link was missing often", deadline=60)


def test_rule_2_those_who_promote_at_the_same_time_are_told_the_truth(
    alone: Alone, world: World, lab: Lab
) -> None:
    """Runs of this package do not: their labels have one holder. Others may."""
    label, builds = alone.rdo.label, [world.take()[1] for _ in range(4)]

    def move(build: DlrnHash) -> list[PromotionRow | ConflictError | ServiceError]:
        ends: list[PromotionRow | ConflictError | ServiceError] = []
        with lab.dlrn_client() as client:
            for _ in range(6):
                try:
                    ends.append(client.promote(build, label))
                except (ConflictError, ServiceError) as error:
                    ends.append(error)
        return ends

    with ThreadPoolExecutor(len(builds)) as pool:
        ends = dict(zip(builds, pool.map(move, builds), strict=True))
    for build, found in ends.items():
        assert all(end.build == build for end in found if isinstance(end, PromotionRow))
    assert any(isinstance(end, ConflictError) for found in ends.values() for end in found)
    # Whatever they have left: the next promotion puts it right.
    alone.dlrn.promote(alone.new, label)
    assert (alone.builds(label)[0], alone.linked(label)) == (alone.new, alone.new.path)


def fault(alone: Alone, done: str, label: str, build: DlrnHash, *, blind: bool) -> Fault:
    """Return a 500 to a promotion of which DLRN has done something.

    :param blind: the client cannot find out what: its question fails, and so does its retry.
    """

    def effect() -> None:
        if done == LINK:
            alone.move_link(label, build)
        if blind:
            alone.api.add(Fault("/api/promotions", answer=503, times=2))

    return Fault("/api/promote", "POST", answer=500, forward=done == BOTH, effect=effect)


BLIND = pytest.mark.parametrize("blind", [False, True], ids=["seen", "not seen"])
DONE = pytest.mark.parametrize("done", [NOTHING, LINK, BOTH])


@BLIND
@DONE
def test_rule_3_a_build_is_admitted_once(alone: Alone, done: str, blind: bool) -> None:
    label = alone.rdo.candidate_label
    rules = CandidateRules(label, ())
    alone.api.add(fault(alone, done, label, alone.new, blind=blind))
    if blind:
        with pytest.raises(ServiceError, match="what it did is not known"):
            admit(alone.new, rules, alone.dlrn)
    admission = admit(alone.new, rules, alone.dlrn)
    assert admission.entry == alone.rdo.dlrn.current(label)
    assert alone.builds(label) == [alone.new, alone.old]
    assert alone.linked(label) == alone.new.path
    assert len(alone.api.seen("POST", "/api/promote")) == (1 if done == BOTH else 2)


@BLIND
@DONE
@pytest.mark.parametrize("previous", [True, False], ids=["previous", "label"])
def test_rule_3_a_promotion_is_committed_once(alone: Alone, done: str, blind: bool, previous: bool) -> None:
    label = alone.rdo.label
    failing, build = (f"previous-{label}", alone.old) if previous else (label, alone.new)
    if not previous:
        alone.api.add(Fault("/api/promote", "POST", through=True))
    alone.api.add(fault(alone, done, failing, build, blind=blind))
    if blind:
        with pytest.raises(ServiceError, match="what it did is not known"):
            promote.commit(alone.promotion, alone, alone.old)
    row = promote.commit(alone.promotion, alone, alone.old)
    assert row == alone.rdo.dlrn.current(label)
    assert alone.builds(label) == [alone.new, alone.old]
    assert alone.builds(f"previous-{label}") == [alone.old]
    assert (alone.linked(label), alone.linked(f"previous-{label}")) == (alone.new.path, alone.old.path)
    assert len(alone.api.seen("POST", "/api/promote")) == (2 if done == BOTH else 3)
    promote.verify(alone.promotion, alone)


@DONE
def test_rule_3_a_build_is_tested_again_once(alone: Alone, done: str) -> None:
    """It holds the label before: neither its old row nor the link says whether CI was asked anew."""
    label = alone.rdo.candidate_label
    first = alone.rdo.dlrn.current(label)
    assert first is not None
    alone.api.add(fault(alone, done, label, alone.old, blind=False))
    admission = admit(alone.old, CandidateRules(label, ()), alone.dlrn, again=True)
    assert admission.entry == alone.rdo.dlrn.current(label)
    assert admission.entry is not None
    assert admission.entry.timestamp > first.timestamp
    assert alone.builds(label) == [alone.old, alone.old]
    assert len(alone.api.seen("POST", "/api/promote")) == (1 if done == BOTH else 2)
