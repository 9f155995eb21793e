"""Jobs that we start: what a try goes by, what a job is told, and what it says that it has tested."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import AggregateHash, DlrnHash
from rdo_promoter.model.jobs import (
    TESTED,
    TOLD,
    End,
    Ended,
    Memory,
    Told,
    doubt,
    job_id,
    named_hashes,
    read_memory,
    take_up,
)

BUILD = DlrnHash("a" * 40, "b" * 40, "Some-extended.hash")
HASH, OTHER = BUILD.full_hash, "c" * 40 + "_dddddddd"
REPO = "https://trunk.example.org/centos9-master"
TELL = Told(BUILD, "ci-testing", REPO)

FIRST = Memory(HASH, life=8, since=100, asked=101, handle="queue 7")


def after(end: End) -> Memory:
    return dataclasses.replace(FIRST, ended=Ended(end, "as it did", "http://logs"))


@pytest.mark.parametrize(
    ("memory", "life", "expected"),
    [
        pytest.param(None, 8, Memory(HASH, 8, 900), id="the first try"),
        pytest.param(FIRST, 8, FIRST, id="a retry while the job runs"),
        *(pytest.param(after(end), 8, after(end), id=f"a retry after {end}") for end in End),
        pytest.param(
            FIRST, 17, dataclasses.replace(FIRST, life=17, since=900), id="cleared while the job runs"
        ),
        pytest.param(
            after(End.PASSED),
            17,
            dataclasses.replace(after(End.PASSED), life=17, since=900),
            id="cleared after a pass",
        ),
        *(
            pytest.param(after(end), 17, Memory(HASH, 17, 900, 2), id=f"cleared after {end}")
            for end in End
            if end is not End.PASSED
        ),
        pytest.param(
            dataclasses.replace(FIRST, full_hash=OTHER), 8, Memory(HASH, 8, 900), id="another build's"
        ),
    ],
)
def test_what_a_try_goes_by(memory: Memory | None, life: int, expected: Memory) -> None:
    assert take_up(memory, HASH, life=life, now=900) == expected


@pytest.mark.parametrize("memory", [FIRST, after(End.FAILED), Memory(HASH, 8, 1)])
def test_what_is_remembered_survives_the_store(memory: Memory) -> None:
    assert read_memory(json.loads(json.dumps(memory.to_json()))) == memory
    assert read_memory(None) is None


@pytest.mark.parametrize(
    "stored", ["x", 7, [], {}, {**FIRST.to_json(), "end": "unknown"}, {**FIRST.to_json(), "life": "many"}]
)
def test_a_store_that_cannot_be_read_never_starts_anything(stored: object) -> None:
    with pytest.raises(ConfigError, match="look for it, then start a new run"):
        read_memory(stored)


def test_an_id_is_one_jobs_alone_and_fit_for_a_container_a_folder_and_a_parameter() -> None:
    run = "manual__2026-11-24T03:00:00+00:00"
    ids = {
        job_id(dag, run_id, task, memory)
        for dag in ("centos7-master", "centos9-master")
        for run_id in (run, "scheduled__x")
        for task in ("phase1.run_jenkins", "phase1.run_ssh")
        for memory in (FIRST, dataclasses.replace(FIRST, attempt=2), Memory(OTHER, 8, 1))
    }
    assert len(ids) == 24
    assert job_id("d", run, "t", FIRST) == job_id("d", run, "t", after(End.FAILED))
    longest = job_id("d" * 200, run, "t" * 250, FIRST)
    for each in (*ids, longest):
        assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,180}", each)


# --- what a job is told ---


def test_each_value_can_be_told() -> None:
    assert {name: TELL.fill(template) for name, template in TOLD.items()} == {
        "RDO_FULL_HASH": HASH,
        "RDO_COMMIT_HASH": "a" * 40,
        "RDO_DISTRO_HASH": "b" * 40,
        "RDO_LABEL": "ci-testing",
        "RDO_REPO_URL": f"{REPO}/aa/aa/{HASH}",
    }
    assert TELL.fill("{{{label}}} and $x") == "{ci-testing} and $x"


def test_an_aggregate_has_no_commit() -> None:
    told = dataclasses.replace(TELL, build=AggregateHash("e" * 32))
    assert told.fill("{full_hash} {repo_url}") == f"{'e' * 32} {REPO}/ci-testing/ee/ee/{'e' * 32}"
    with pytest.raises(ConfigError, match="has no commit_hash"):
        told.fill("{commit_hash}")


@pytest.mark.parametrize(
    "url", ["$(id)", "`id`", "a;b", "a b", "a'b", 'a"b', "a&b", "a|b", "a\nb", "a>b", "~", "*"]
)
def test_a_value_that_a_shell_could_understand_is_refused(url: str) -> None:
    told = dataclasses.replace(TELL, repo_url=f"https://x/{url}")
    with pytest.raises(ConfigError, match="has a character that means something to a shell"):
        told.fill("x {repo_url}")


@given(st.text(max_size=40))
def test_what_is_told_is_the_same_word_to_a_shell(url: str) -> None:
    told = dataclasses.replace(TELL, repo_url=url)
    try:
        filled = told.fill("{repo_url}")
    except ConfigError:
        return
    assert shlex.split(filled) == [filled]


# --- what a job says ---


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"tested {HASH}"], {HASH}),
        (["begin", f"tested {HASH}", f"tested {HASH}", "end"], {HASH}),
        ([f"tested {HASH}", f"tested {OTHER}"], {HASH, OTHER}),
        ([f"+ echo tested {HASH}", f"not tested {HASH}", f"tested {HASH} twice", f" tested {HASH}"], set()),
        ([f"tested {HASH}" + " " * 3000], set()),
        ([], set()),
    ],
)
def test_a_line_names_what_was_tested(lines: list[str], said: set[str]) -> None:
    assert named_hashes(lines, TESTED) == said


def test_every_hash_in_a_line_counts() -> None:
    assert named_hashes([f"on {HASH}, and on {OTHER}"], r"on (?P<hash>\w+)") == {
        HASH.partition("-")[0],
        OTHER,
    }


def test_a_group_that_took_no_part_names_nothing() -> None:
    assert named_hashes(["nothing"], r"nothing|(?P<hash>\w+)") == set()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([HASH], None),
        ([HASH, HASH], None),
        ([], f"the log does not name the build that was tested; it has to name {HASH}"),
        ([OTHER], f"the log names {OTHER}, and this run carries {HASH}"),
        ([HASH, OTHER], f"the log names {HASH}, {OTHER}, and this run carries {HASH}"),
        ([HASH[:-1]], f"the log names {HASH[:-1]}, and this run carries {HASH}"),
        ([HASH.upper()], f"the log names {HASH.upper()}, and this run carries {HASH}"),
    ],
)
def test_only_the_whole_hash_of_the_build_is_believed(said: list[str], why: str | None) -> None:
    assert doubt(said, BUILD, "the log") == why
