"""Aggregates: DLRN's own rule for what they are known by, and which rows tell of them."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.aggregate import Aggregate, aggregate_of, hash_of
from rdo_promoter.model.build import AggregateHash, DlrnHash
from rdo_promoter.model.promotions import PromotionRow, aggregate_rows

BUILD = AggregateHash("a" * 32)
COMMON = DlrnHash("1" * 40, "2" * 40, component="common")
COMPUTE = DlrnHash("3" * 40, "4" * 40, "20180115", "compute")
SINGLE = DlrnHash("5" * 40, "6" * 40)

components = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
repos = st.dictionaries(components, st.binary(max_size=40), min_size=1, max_size=6)


def member(component: str) -> DlrnHash:
    return DlrnHash(hashlib.sha1(component.encode()).hexdigest(), "2" * 40, component=component)


def test_members_stand_in_the_order_of_their_components() -> None:
    aggregate = Aggregate(BUILD, (COMPUTE, COMMON))
    assert aggregate.members == (COMMON, COMPUTE)
    assert aggregate.components == ("common", "compute")
    assert aggregate == Aggregate(BUILD, (COMMON, COMPUTE))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ((), "made of nothing"),
        ((SINGLE,), "these are of None"),
        ((COMMON, SINGLE), "these are of common, None"),
        ((COMMON, DlrnHash("7" * 40, "2" * 40, component="common")), "one build of each component"),
    ],
)
def test_what_is_no_aggregate(members: tuple[DlrnHash, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Aggregate(BUILD, members)


@pytest.mark.parametrize(
    ("files", "md5"),
    [
        # Printed by aggregate_repo_files of dlrn 0.26.1.
        ({"common": b"[a]\n"}, "7d96afe9fb847e5ac1046ea7fd4cbe07"),
        ({"compute": b"[b]\n", "common": b"[a]\n"}, "195ee6982ab26ad17e723e5d21d2fc60"),
        (
            {"network": b"", "compute": b"[b]\nname=\xc3\xa9\n", "common": b"[a]\n"},
            "cafb1ebaf7be1180cf003ab5c948d706",
        ),
    ],
)
def test_hashes_that_dlrn_gives(files: dict[str, bytes], md5: str) -> None:
    assert aggregate_of(files) == AggregateHash(md5)


@given(repos, st.randoms())
def test_an_aggregate_is_known_by_all_of_its_components_in_their_order(
    files: dict[str, bytes], chance: random.Random
) -> None:
    shuffled = list(files.items())
    chance.shuffle(shuffled)
    whole = b""
    for component in sorted(files):
        whole += files[component] + b"\n"
    assert aggregate_of(dict(shuffled)) == hash_of(whole)
    members = [member(component) for component, _ in shuffled]
    assert Aggregate(hash_of(whole), tuple(members)).components == tuple(sorted(files))


@given(repos, st.data())
def test_another_file_or_another_number_of_them_is_another_aggregate(
    files: dict[str, bytes], data: st.DataObject
) -> None:
    component = data.draw(st.sampled_from(sorted(files)))
    whole = aggregate_of(files)
    assert aggregate_of(files | {component: files[component] + b"x"}) != whole
    assert aggregate_of({name: file for name, file in files.items() if name != component}) != whole


@given(st.lists(st.lists(components, min_size=1, max_size=4, unique=True), max_size=5))
def test_one_row_a_promotion(promotions: list[list[str]]) -> None:
    rows: list[PromotionRow] = []
    for number, names in enumerate(promotions):
        *others, last = [PromotionRow("current", member(name), 1000 + number, "promoter") for name in names]
        made = f"{number:032x}"
        rows += [*others, PromotionRow("current", last.build, last.timestamp, "promoter", made)]
    reduced = list(aggregate_rows(reversed(rows)))
    assert [row.build for row in reduced] == [
        AggregateHash(f"{number:032x}") for number in reversed(range(len(promotions)))
    ]
    assert [row.timestamp for row in reduced] == [1000 + n for n in reversed(range(len(promotions)))]
    assert {(row.label, row.user) for row in reduced} <= {("current", "promoter")}
