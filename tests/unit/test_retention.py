"""Which builds an image server need not keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.retention import outdated

ages = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 5), max_size=12)


@pytest.mark.parametrize(
    ("builds", "keep", "spared", "removed"),
    [
        ({}, 1, "", ""),
        ({"a": 1, "b": 2}, 2, "", ""),
        ({"a": 1, "b": 2, "c": 3}, 5, "", ""),
        ({"c": 3, "a": 1, "b": 2}, 1, "", "ab"),
        ({"c": 3, "a": 1, "b": 2}, 2, "", "a"),
        ({"a": 1, "b": 2, "c": 3}, 1, "a", "b"),
        ({"a": 1, "b": 2, "c": 3}, 1, "abc", ""),
        # What is named counts among those that are kept, where it is young enough.
        ({"a": 1, "b": 2, "c": 3}, 2, "c", "a"),
        ({"a": 1, "b": 2, "c": 2}, 1, "", "a"),
        ({"a": 1, "b": 1, "c": 1}, 1, "", ""),
        ({"b": 1, "a": 1, "c": 2}, 1, "", "ab"),
    ],
)
def test_what_is_removed(builds: dict[str, int], keep: int, spared: str, removed: str) -> None:
    assert outdated(builds, keep=keep, spared=set(spared)) == tuple(removed)


@given(builds=ages, keep=st.integers(1, 5), data=st.data())
def test_what_a_link_names_and_the_newest_ones_always_stay(
    builds: dict[str, int], keep: int, data: st.DataObject
) -> None:
    spared = data.draw(st.sets(st.sampled_from(sorted(builds)))) if builds else set()
    removed = outdated(builds, keep=keep, spared=spared)
    stay = builds.keys() - set(removed)
    assert set(removed) <= builds.keys() - spared
    assert len(stay) >= min(keep, len(builds))
    # Nothing that is removed is as young as one of the newest.
    newest = sorted(builds.values(), reverse=True)[:keep]
    assert all(builds[name] < min(newest) for name in removed)
    assert outdated({name: builds[name] for name in stay}, keep=keep, spared=spared) == ()
