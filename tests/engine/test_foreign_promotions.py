"""Somebody else moves the label in the middle of our promotion: noticed before the next write, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab import dlrn as lab_dlrn
from lab.faults import Fault
from lab.lab import Lab
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry, tag_all
from rdo_promoter.engine import promote
from rdo_promoter.engine.candidate import CandidateRules, admit
from rdo_promoter.errors import ConflictError
from rdo_promoter.model.build import DlrnHash
from tests.engine import observer
from tests.engine.alone import Alone
from tests.engine.phases import Run
from tests.engine.rdo import CONTAINERS
from tests.engine.world import REGISTRIES, SERVERS, World

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.fixture
def somebody(lab: Lab) -> Iterator[DlrnClient]:
    """Somebody else, whom DLRN knows as `ci`."""
    with lab.dlrn_client(ci=True) as client:
        yield client


def newer(run: Run, build: DlrnHash) -> None:
    """Let a build have become a candidate after ours."""
    run.rdo.dlrn.promote(build, run.rdo.candidate_label)


def older(run: Run, build: DlrnHash) -> None:
    """Let a build have been a candidate before any other."""
    past = lab_dlrn.PastPromotion(build, run.rdo.candidate_label, run.rdo.dlrn.now() - 86_400)
    lab_dlrn.add_promotions(run.rdo.lab.root, [past])


def moved(run: Run) -> list[str]:
    """Return the places where our labels are, as a message names them."""
    found = observer.look(run)
    new = {container: named["new"] for container, named in found.tags["rdo"].items()}
    tags = [
        f"registry {name}: {len(CONTAINERS)} of {len(CONTAINERS)} tags"
        for name in REGISTRIES
        if all(named["label"] == new[container] for container, named in found.tags[name].items())
    ]
    ours = run.new.full_hash
    links = [
        f"image server {name}: the link" for name in SERVERS if str(found.links[name]["label"]).endswith(ours)
    ]
    return tags + links


@pytest.mark.parametrize("other", [newer, older])
def test_between_any_two_phases(
    run: Run, world: World, somebody: DlrnClient, other: Callable[[Run, DlrnHash], None]
) -> None:
    _, foreign = world.take()
    label, phases = run.rdo.label, iter(run.phases())
    for phase in phases:
        run.go(phase)
        if phase.name == "preflight":
            break
    other(run, foreign)
    told = 0
    for phase in phases:
        ours = moved(run)
        somebody.promote(foreign, label)
        before = observer.look(run)
        if phase.name == "check copies":
            run.go(phase)  # it writes nothing, and the next one notices
        else:
            with pytest.raises(ConflictError) as conflict:
                run.go(phase)
            told += 1
            said = str(conflict.value)
            assert f"ci moved it to {foreign} meanwhile. Nothing more is changed" in said
            assert [line[4:] for line in said.splitlines() if line.startswith("  - ")] == ours
            assert f"If {foreign} is to stay, promote it in this Dag" in said
            assert "otherwise clear the whole promotion group" in said
        assert observer.look(run) == before, phase.name
        # They take it back; only then we go on.
        somebody.promote(run.new if phase.name == "verify" else run.old, label)
        run.go(phase)
    assert told == 10
    assert observer.look(run).rows["label"][0] == run.new.full_hash


def right_after(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    act: Callable[[], object],
    *,
    when: Callable[..., bool] = lambda *_, **__: True,
) -> None:
    """Let something happen right after each call of a function, which does its work as ever.

    :param when: called with the function's arguments; whether it happens after this call.
    """
    function = getattr(owner, name)

    def then(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if when(*args, **kwargs):
            act()
        return result

    monkeypatch.setattr(owner, name, then)


def test_between_the_last_question_of_a_phase_and_its_first_write(
    run: Run, world: World, somebody: DlrnClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With retries, minutes pass while a phase looks at what is to be done."""
    (_, foreign), label = world.take(), run.rdo.label
    last_questions: dict[str, tuple[object, str, Callable[..., bool]]] = {
        "tag in rdo": (promote, "_registry_plan", lambda *_: True),
        "tag in quay": (promote, "_registry_plan", lambda *_: True),
        "link on images": (promote, "_server_plan", lambda *_: True),
        "link on rh1": (ImageServer, "set_link", lambda _, link, __: link.startswith("previous-")),
        "commit": (DlrnClient, "_check_promotable", lambda _, build: build == run.new),
    }
    for phase in run.phases():
        if question := last_questions.get(phase.name):
            before = observer.look(run)
            owner, name, when = question
            with monkeypatch.context() as patch:
                right_after(patch, owner, name, lambda: somebody.promote(foreign, label), when=when)
                with pytest.raises(ConflictError, match=f"{foreign}"):
                    run.go(phase)
            after = observer.look(run)
            assert after.rows["label"] == (foreign.full_hash, *before.rows["label"])
            assert after.tags == before.tags
            assert [links["label"] for links in after.links.values()] == [
                links["label"] for links in before.links.values()
            ]
            somebody.promote(run.old, label)
        run.go(phase)
    assert observer.look(run).rows["label"][0] == run.new.full_hash


@pytest.mark.parametrize("taken_back", [False, True])
def test_while_tags_are_written(
    run: Run, world: World, somebody: DlrnClient, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    """The rest of the tags stays: here one thread writes, and it looks before each tag."""
    (_, foreign), label = world.take(), run.rdo.label
    phase = run.until("tag in rdo")

    def tag_them(*args: Any, **kwargs: Any) -> dict[str, bool]:
        try:
            return tag_all(*args, **kwargs)
        except ConflictError:
            if taken_back:
                somebody.promote(run.old, label)
            raise

    monkeypatch.setattr("rdo_promoter.engine.turn.EVERY", 0.0)
    monkeypatch.setattr(promote, "tag_all", tag_them)
    with run.task() as task, monkeypatch.context() as patch:
        task.registry("rdo").pool = 1
        right_after(patch, Registry, "put", lambda: somebody.promote(foreign, label))
        with pytest.raises(ConflictError, match=rf"\bci moved .*{foreign}") as conflict:
            phase.do(task)
    found = observer.look(run).tags["rdo"]
    assert [found[container]["label"] == found[container]["new"] for container in CONTAINERS] == [
        True,
        *([False] * (len(CONTAINERS) - 1)),
    ]
    said = str(conflict.value)
    assert "clear the whole promotion group to plan anew" in said
    assert (f"registry rdo: 1 of {len(CONTAINERS)} tags" in said) is not taken_back
    if not taken_back:
        somebody.promote(run.old, label)
    run.go(phase)


def test_while_a_build_is_looked_at_that_is_to_be_admitted(
    alone: Alone, world: World, somebody: DlrnClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, foreign), label = world.take(), alone.rdo.candidate_label
    right_after(
        monkeypatch,
        DlrnClient,
        "_check_promotable",
        lambda: somebody.promote(foreign, label),
        when=lambda _, build: build == alone.new,
    )
    with pytest.raises(ConflictError, match=f"{label} was moved to {foreign} by 'ci' since"):
        admit(alone.new, CandidateRules(label, ()), alone.dlrn)
    assert alone.builds(label) == [foreign, alone.old]
    assert alone.linked(label) == foreign.path


def test_while_the_previous_label_is_written(alone: Alone, world: World, somebody: DlrnClient) -> None:
    _, foreign = world.take()
    label = alone.rdo.label
    alone.api.add(
        Fault("/api/promote", "POST", through=True, effect=lambda: somebody.promote(foreign, label))
    )
    with pytest.raises(ConflictError, match=f"ci moved it to {foreign} meanwhile"):
        promote.commit(alone.promotion, alone, alone.old)
    assert alone.builds(label) == [foreign, alone.old]
    assert alone.builds(f"previous-{label}") == [alone.old]
    assert alone.linked(label) == foreign.path


def test_in_the_moment_between_the_last_look_and_the_write(
    run: Run, alone: Alone, world: World, somebody: DlrnClient
) -> None:
    """DLRN has no way to write only if nothing has changed: it is told as soon as it can be seen."""
    (_, foreign), label = world.take(), run.rdo.label
    run.until("commit")
    ours = moved(run)
    alone.api.add(
        Fault("/api/promote", "POST", through=True),
        Fault("/api/promote", "POST", through=True, effect=lambda: somebody.promote(foreign, label)),
    )
    with run.task() as task:
        task.dlrn = alone.dlrn
        with pytest.raises(ConflictError) as conflict:
            promote.commit(run.promotion, task, run.was)
    said = str(conflict.value)
    assert f"{label} was moved to {foreign} by 'ci' while {run.new} was being promoted to it" in said
    assert f"and names {run.new} now; look at both and promote the right one again" in said
    assert f"has moved elsewhere: {'; '.join(ours)}" in said
    assert "clear the whole promotion group" in said
    assert alone.builds(label) == [run.new, foreign, run.old]


def test_in_the_moment_in_which_a_build_is_admitted(alone: Alone, world: World, somebody: DlrnClient) -> None:
    _, foreign = world.take()
    label = alone.rdo.candidate_label
    alone.api.add(
        Fault("/api/promote", "POST", through=True, effect=lambda: somebody.promote(foreign, label))
    )
    with pytest.raises(ConflictError, match=f"{label} was moved to {foreign} by 'ci'"):
        admit(alone.new, CandidateRules(label, ()), alone.dlrn)
