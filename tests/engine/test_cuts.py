"""A promotion whose process dies before or after any single write, and is begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.lab import Lab
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.registry import Registry
from tests.engine.rdo import Rdo, State

pytestmark = pytest.mark.lab


class CutError(BaseException):
    """The process dies here; nothing catches it."""


class Knife:
    """Counts the calls of one kind of write and dies at one of them.

    :param write: the method.
    :param call: which call of it, from 0 on; None counts only.
    :param after: die after the call was carried out, not before.
    """

    def __init__(self, write: str, call: int | None, *, after: bool) -> None:
        self.write = write
        self.call = call
        self.after = after
        self.calls = 0

    def around(self, done: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method with the knife in it."""

        def call(*args: Any, **kwargs: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            if number == self.call and not self.after:
                raise CutError
            result = done(*args, **kwargs)
            if number == self.call:
                raise CutError
            return result

        return call


@contextmanager
def cut(monkeypatch: pytest.MonkeyPatch, knife: Knife) -> Iterator[None]:
    """Put the knife into the client that writes so."""
    owner = {"promote": DlrnClient, "set_link": ImageServer}.get(knife.write, Registry)
    with monkeypatch.context() as patch:
        patch.setattr(owner, knife.write, knife.around(getattr(owner, knife.write)))
        yield


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("write", "call"), [*(("promote", n) for n in (0, 1)), *(("set_link", n) for n in range(4)), ("tag", 2)]
)
def test_begun_again_it_ends_as_if_nothing_had_happened(
    rdo: Rdo, monkeypatch: pytest.MonkeyPatch, write: str, call: int, after: bool
) -> None:
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    with cut(monkeypatch, Knife(write, call, after=after)), pytest.raises(CutError):
        rdo.promote(new)
    between = rdo.state()
    if (write, call, after) != ("promote", 1, True):
        assert between.label == old.full_hash  # invariant 1: the label is the last that moves
    rdo.promote(new)
    # Rows: the old build's promotion, `previous-`, and the new one's; none twice.
    assert rdo.state() == State(
        label=new.full_hash,
        previous=old.full_hash,
        rows=3,
        tags=rdo.tags(new.full_hash),
        link=new.full_hash,
        previous_link=old.full_hash,
        mirror_link=new.full_hash,
        previous_mirror_link=old.full_hash,
    )


def test_the_knife_sees_every_write(rdo: Rdo, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above cannot pass by cutting nothing."""
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    knives = {write: Knife(write, None, after=False) for write in ("promote", "set_link", "tag")}
    with (
        cut(monkeypatch, knives["promote"]),
        cut(monkeypatch, knives["set_link"]),
        cut(monkeypatch, knives["tag"]),
    ):
        rdo.promote(new)
    assert {write: knife.calls for write, knife in knives.items()} == {"promote": 2, "set_link": 4, "tag": 12}
