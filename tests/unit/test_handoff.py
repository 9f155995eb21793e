"""The record of a hand-off: one form in bytes, read back as it was, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.canonical import canonical, read_json
from rdo_promoter.model.handoff import (
    Approval,
    CiResult,
    Container,
    Envelope,
    Handoff,
    ImageFile,
    Package,
    WaivedJob,
    read_envelope,
    read_handoff,
)
from tests.unit.strategies import builds

#: As another implementation of RFC 8785 writes it.
KNOWN = (
    {"b": [True, False, None], "a": {"2": -1, "10": 2**53 - 1}, "": '"\\/\b\t\n\f\r\x01\x7f€😀'},
    '{"":"\\"\\\\/\\b\\t\\n\\f\\r\\u0001\x7f€😀","a":{"10":9007199254740991,"2":-1},"b":[true,false,null]}',
)

texts = st.text(max_size=20)
whole = st.integers(0, 2**53 - 1)
parts: dict[str, st.SearchStrategy[Any]] = {
    "packages": st.builds(Package, *[texts] * 7),
    "votes": st.builds(CiResult, whole, texts, st.booleans(), texts),
    "waivers": st.builds(WaivedJob, texts, texts, texts, whole),
    "approvals": st.builds(Approval, whole, texts, texts, texts),
    "containers": st.builds(Container, texts, texts),
    "images": st.builds(ImageFile, texts, texts, whole, texts),
}
plain = dict.fromkeys(("release", "label", "repo_url", "release_file", "release_digest"), texts)
handoffs: st.SearchStrategy[Handoff] = st.builds(
    Handoff,
    build=builds,
    promoted_at=whole,
    **plain,
    **{name: st.lists(part, max_size=3).map(tuple) for name, part in parts.items()},
)

ONE = Handoff(
    release="centos7-master",
    label="current-tripleo",
    build=DlrnHash("a" * 40, "b" * 40),
    repo_url="https://dlrn/aa/aa",
    promoted_at=1_552_576_166,
    release_file="releases/master.yaml",
    release_digest="c" * 64,
    packages=(Package("nova", "https://nova", "1", "https://nova-distgit", "2", "nova-1-1", "SUCCESS"),),
    votes=(CiResult(1, "standalone", False, "https://logs/1"), CiResult(2, "other", True, "")),
    waivers=(WaivedJob("standalone", "ada", "https://bugs/1\nand more", 3),),
    approvals=(Approval(4, "bob", "osp.approve", ""),),
)


@given(handoffs)
def test_a_record_is_read_back_as_it_was(record: Handoff) -> None:
    content = canonical(record.to_json())
    again = read_handoff(read_json(content))
    assert again == record
    assert canonical(again.to_json()) == content
    assert again.key == record.key


@given(handoffs, handoffs)
def test_records_have_equal_bytes_exactly_when_they_are_equal(one: Handoff, other: Handoff) -> None:
    assert (canonical(one.to_json()) == canonical(other.to_json())) == (one == other)


@given(handoffs, texts, st.binary(max_size=64))
def test_an_envelope_is_read_back_as_it_was(record: Handoff, key_id: str, signature: bytes) -> None:
    envelope = Envelope(record.to_json(), key_id, signature)
    assert read_envelope(envelope.to_bytes()) == envelope


def test_the_bytes_are_those_of_the_rfc() -> None:
    value, text = KNOWN
    assert canonical(value) == text.encode()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": 1.0}, "a float has no one form"),
        ({"a": [{1}]}, "a set has no one form"),
        ({1: "a"}, "1 cannot be a key"),
        ({"é": "a"}, "'é' cannot be a key"),
        ({"a": 2**53}, "9007199254740992 is no number that everybody reads the same"),
        ({"a": "\ud800"}, "half a character"),
    ],
)
def test_what_has_no_one_form_is_refused(value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        canonical(value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"{", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"NaN", "NaN is no whole number"),
        (b"1.5", "1.5 is no whole number"),
        # One reader would see "a", the other "b".
        (b'{"label": "a", "label": "b"}', "a key stands twice: 'label'"),
        (b"[]", "it is a JSON list, and no envelope"),
        (b"{}", r"the envelope lacks \['key_id', 'record', 'signature'\]"),
        (b'{"key_id": "", "record": {}, "signature": "", "note": ""}', r"has \['note'\] besides"),
        (b'{"key_id": "", "record": {}, "signature": 7}', "signature is a int, expected str"),
        (b'{"key_id": "", "record": {}, "signature": "!"}', "its signature is no base64"),
    ],
)
def test_what_is_no_envelope_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_envelope(content)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("format",), "rdo-handoff/2", "format 'rdo-handoff/2', this version knows 'rdo-handoff/1'"),
        (("note",), "x", r"the record lacks \[\] and has \['note'\]"),
        (("promoted_at",), True, "record.promoted_at is a bool, expected int"),
        (("votes",), "x", "record.votes is no list"),
        (("votes", 0), 1, r"record.votes\[0\] is no object"),
        (("votes", 1, "success"), 1, r"record.votes\[1\].success is a int, expected bool"),
        (("build", "full_hash"), "d" * 40, "says something else of aaaa"),
    ],
)
def test_what_is_no_record_is_refused(path: tuple[Any, ...], value: object, said: str) -> None:
    data: Any = json.loads(canonical(ONE.to_json()))
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=said):
        read_handoff(data)


def test_a_record_says_what_it_says_in_lines_that_stay_lines() -> None:
    said = ONE.lines()
    assert said[0] == f"centos7-master: {ONE.build.full_hash}, current-tripleo since 2019-03-14 15:09:26Z"
    assert "2 votes, 1 of them failures" in said
    assert r"standalone waived by ada: https://bugs/1\nand more" in said
    assert all(line.isprintable() for line in said)


def test_another_fact_gives_another_key() -> None:
    assert ONE.key != replace(ONE, promoted_at=ONE.promoted_at + 1).key
