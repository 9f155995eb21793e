"""Builds and labels: DLRN's own rule for names, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import (
    AggregateHash,
    DlrnHash,
    build_from_json,
    check_label,
    is_full_hash,
)

COMMIT = "11" + "c" * 38
DISTRO = "d" * 40
BASE = f"{COMMIT}_dddddddd"
A, B = "a" * 40, "b" * 40

hex40 = st.text("0123456789abcdef", min_size=40, max_size=40)
words = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", min_size=1, max_size=100)
extendeds = st.one_of(
    st.none(), hex40, st.builds("{}_{}".format, hex40, hex40), words.filter(lambda text: text != "None")
)
builds = st.builds(DlrnHash, hex40, hex40, extendeds, st.none() | st.sampled_from(["compute", "tripleo"]))
aggregates = st.text("0123456789abcdef", min_size=32, max_size=32).map(AggregateHash)


@pytest.mark.parametrize(
    ("extended", "directory"),
    [
        # Printed by getshardedcommitdir of dlrn 0.26.1.
        (None, f"11/cc/{BASE}"),
        ("", f"11/cc/{BASE}"),
        ("20180115", f"11/cc/{BASE}_20180115"),
        ("abcdef", f"11/cc/{BASE}_abcdef"),
        (A, f"11/cc/{BASE}_aaaaaaaa"),
        (f"{A}_{B}", f"11/cc/{BASE}_aaaaaaaa_bbbbbbbb"),
        ("a" * 48, f"11/cc/{BASE}_aaaaaaaa"),
        ("a" * 49, f"11/cc/{BASE}_aaaaaaaa_aaaaaaaa"),
        ("x.y-z_1", f"11/cc/{BASE}_x.y-z_1"),
        ("2018-01-15.1", f"11/cc/{BASE}_2018-01-"),
        ("0123456789" * 5, f"11/cc/{BASE}_01234567_12345678"),
    ],
)
def test_names_that_dlrn_gives(extended: str | None, directory: str) -> None:
    build = DlrnHash(COMMIT, DISTRO, extended)
    assert build.path == directory
    assert build.full_hash == directory.rpartition("/")[2] == str(build)
    assert build.short == COMMIT[:8]


def test_component_has_a_folder_of_its_own() -> None:
    assert DlrnHash(COMMIT, DISTRO, component="tripleo").path == f"component/tripleo/11/cc/{BASE}"
    assert DlrnHash(COMMIT, DISTRO, component="None").path == f"11/cc/{BASE}"


def test_none_as_a_string_is_no_extended_hash() -> None:
    assert DlrnHash(COMMIT, DISTRO, "None", "None") == DlrnHash(COMMIT, DISTRO)


@given(builds)
@example(DlrnHash(COMMIT, DISTRO, "a" * 48))
@example(DlrnHash(COMMIT, DISTRO, "a" * 49))
def test_full_hash_by_dlrns_rule(build: DlrnHash) -> None:
    # The rule as DLRN's db.py has it, with its own words.
    suffix = f"_{build.distro_hash[:8]}"
    if build.extended_hash:
        if len(build.extended_hash) < 49:
            suffix += f"_{build.extended_hash[:8]}"
        else:
            suffix += f"_{build.extended_hash[:8]}_{build.extended_hash[41:49]}"
    assert build.full_hash == build.commit_hash + suffix


@given(st.one_of(builds, aggregates))
def test_builds_are_told_by_their_name_and_survive_json(build: DlrnHash | AggregateHash) -> None:
    assert build_from_json(build.to_json()) == build
    assert is_full_hash(build.full_hash)
    # A registry takes it for a tag, an SSH server for a folder; no label can be mistaken for it.
    assert len(build.full_hash) <= 128
    assert "/" not in build.full_hash
    with pytest.raises(ConfigError):
        check_label(build.full_hash)


@given(builds, builds)
def test_different_commits_have_different_names(one: DlrnHash, other: DlrnHash) -> None:
    if one.commit_hash != other.commit_hash:
        assert one.full_hash != other.full_hash


def test_aggregate() -> None:
    build = AggregateHash("0123456789abcdef0123456789abcdef")
    assert build.full_hash == "0123456789abcdef0123456789abcdef"
    assert build.path == "01/23/0123456789abcdef0123456789abcdef"
    assert build.short == "01234567"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ((COMMIT[:39], DISTRO), "commit_hash"),
        ((COMMIT.upper(), DISTRO), "commit_hash"),
        ((f"{COMMIT}\n", DISTRO), "commit_hash"),
        (("", DISTRO), "commit_hash"),
        ((COMMIT, "g" * 40), "distro_hash"),
        ((COMMIT, DISTRO, "a/b"), "extended_hash"),
        ((COMMIT, DISTRO, "a b"), "extended_hash"),
        ((COMMIT, DISTRO, "é"), "extended_hash"),
    ],
)
def test_hashes_that_are_none(fields: tuple[str, ...], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        DlrnHash(*fields)


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "G" * 32, "a" * 40])
def test_aggregates_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="aggregate_hash"):
        AggregateHash(text)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"commit_hash": COMMIT},
        {"commit_hash": COMMIT, "distro_hash": 1},
        {"commit_hash": COMMIT, "distro_hash": DISTRO, "extended_hash": 5},
    ],
)
def test_json_that_names_no_build(data: object) -> None:
    with pytest.raises(ConfigError, match="names no build"):
        build_from_json(data)


@pytest.mark.parametrize(
    "label",
    [
        "current-tripleo",
        "tripleo-ci-testing",
        "current-tripleo-rdo-internal",
        "previous-current-tripleo",
        "current-podified",
        "puppet-passed-ci",
        "a",
        "9",
        "a.b_c-d",
        "a" * 127,
    ],
)
def test_labels(label: str) -> None:
    assert check_label(label) == label


@pytest.mark.parametrize("label", ["consistent", "current"])
def test_labels_of_the_builder(label: str) -> None:
    with pytest.raises(ConfigError, match="builder"):
        check_label(label)


@pytest.mark.parametrize(
    "label",
    [
        "",
        ".",
        "..",
        "a..b",
        "../x",
        "/etc/x",
        "a/b",
        "foo bar",
        "-rf",
        "_x",
        ".x",
        "a\n",
        "\na",
        "A",
        "ä",
        "a" * 128,
        A[:32],
        BASE,
        f"{BASE}_aaaaaaaa",
        f"{BASE}_aaaaaaaa_bbbbbbbb",
    ],
)
def test_labels_that_dlrn_or_a_registry_would_choke_on(label: str) -> None:
    with pytest.raises(ConfigError, match="cannot be promoted to"):
        check_label(label)


@given(st.text(max_size=60))
def test_whatever_passes_for_a_label_is_a_plain_name(label: str) -> None:
    try:
        check_label(label)
    except ConfigError:
        return
    assert label.isascii()
    assert not set(label) & set("/\\ \n\t:@")
    assert label == label.lower()
    assert ".." not in label
    assert label not in ("consistent", "current")
