"""The table that says why a build is not promoted, whatever others have written into it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.ci import CiJob, CiState
from rdo_promoter.model.unblock import smallest_set
from rdo_promoter.model.verdict import Criteria, judge
from rdo_promoter.model.votes import Vote
from rdo_promoter.model.waivers import Waiver
from rdo_promoter.model.why import Health, Judged, Row, Why, at, explain, rerun_change

FULL_HASH = f"{'1' * 40}_{'2' * 8}"
T = 1_552_576_166
CRITERIA = Criteria(
    ("build", "standalone", "scenario1", "scenario2", "featureset1", "featureset2"),
    {"scenario1": ("shared",), "scenario2": ("shared", "own"), "featureset1": ("featureset1-internal",)},
)


def vote(job: str, *, success: bool = True, **more: Any) -> Vote:
    return Vote(job, success, T, **({"url": f"https://logs/{job}/1234567/"} | more))


def why(votes: list[Vote], ci: dict[str, CiJob] | None = None, **more: Any) -> Why:
    waivers = more.pop("waivers", ())
    judged = Judged(CRITERIA, judge(CRITERIA, votes, waivers), more.pop("by_votes", True))
    rows, unblock, rerun = explain({"tests": judged}, ci or {}, more.pop("past", {}))
    fields: dict[str, Any] = {
        "stage": "upstream",
        "full_hash": FULL_HASH,
        "label": "ci-testing",
        "since": T - 60,
    }
    return Why(**(fields | more), steps=rows, unblock=unblock, rerun=rerun)


PRINTED = f"""\
stage upstream: {FULL_HASH} (ci-testing since 2019-03-14 15:08:26Z)
  tests: not met, 3 of 6 jobs
    !  running   standalone   2019-03-14 15:09:26Z  +-+++  flaky    \
running in CI, about until 2019-03-14 15:19:26Z (inferred)  https://logs/s/
    !  failed    scenario1    2019-03-14 15:09:26Z  -----  broken   \
timed out; shared may stand in  https://logs/scenario1/abcdef0/
    !  lost      scenario2    2019-03-14 15:09:26Z  -               \
passed in CI, but its vote was lost  https://logs/2/
       passed    build        2019-03-14 15:09:26Z  +++++  passing  https://logs/build/1234567/
       replaced  featureset1  2019-03-14 15:09:26Z                  \
featureset1-internal stands in  https://logs/featureset1-internal/1234567/
       waived    featureset2                                        \
waived by rover until 2019-03-15 15:09:26Z: https://bugs/7
  in the way: current is held by rover
  note: a note\\nof two lines
  -> have to pass, and CI may still let them: standalone
  -> have to pass, and need a rerun: shared
     to rerun on this build, in .zuul.yaml of a testproject change:

- project:
    check:
      jobs:
        - shared:
            vars:
              force_periodic: true
              featureset_override:
                dlrn_hash_tag: '{FULL_HASH}'"""


def test_the_table_as_it_is_printed() -> None:
    waiver = Waiver(
        job="featureset2",
        full_hash=None,
        reason="https://bugs/7",
        by="rover",
        expires=T + 86_400,
        origin="waivers.yaml:3",
    )
    found = why(
        [
            vote("build"),
            vote("scenario1", success=False, url="https://logs/scenario1/abcdef0/", notes="timed out"),
            vote("featureset1", success=False),
            vote("featureset1-internal"),
        ],
        {
            "standalone": CiJob("standalone", CiState.RUNNING, T, T + 600, "https://logs/s/", inferred=True),
            "scenario2": CiJob("scenario2", CiState.LOST, T, T, "https://logs/2/"),
        },
        past={
            "build": [True] * 9,
            "standalone": [True, False, True, True, True],
            "scenario1": [False] * 5,
            "scenario2": [False],
        },
        waivers=[waiver],
        obstacles=("current is held by rover",),
        notes=("a note\nof two lines",),
    )
    assert "\n".join(found.lines()) == PRINTED
    assert not found.met


def test_a_build_that_nothing_blocks() -> None:
    found = why([vote(job) for job in CRITERIA.jobs])
    assert found.met
    assert (found.unblock, found.rerun) == ((), ())
    assert list(found.lines())[-1] == "  -> nothing is in the way"
    held = why([vote(job) for job in CRITERIA.jobs], obstacles=("held",))
    assert not held.met
    assert list(held.lines())[-1] == "  in the way: held"


def test_a_stage_that_waits_for_nothing_says_nothing_of_a_build() -> None:
    assert not Why(stage="s", full_hash=FULL_HASH, label="l", since=None, steps={}).met


def test_a_job_of_a_buildset_cannot_be_rerun_alone() -> None:
    found = why([vote("build")], by_votes=False)
    assert found.unblock == ("standalone", "featureset1", "featureset2", "shared")
    assert found.rerun == ()


def test_the_change_reruns_each_job_on_the_build() -> None:
    for full_hash in (FULL_HASH, "1" * 40 + "_" + "2" * 8, "0e" + "1" * 30):
        change = yaml.safe_load("\n".join(rerun_change(["a", "b.c"], full_hash)))
        jobs = change[0]["project"]["check"]["jobs"]
        assert [list(job) for job in jobs] == [["a"], ["b.c"]]
        for job in jobs:
            (settings,) = job.values()
            assert settings["vars"]["force_periodic"] is True
            assert settings["vars"]["featureset_override"] == {"dlrn_hash_tag": full_hash}
    assert list(rerun_change([], FULL_HASH)) == []


@pytest.mark.parametrize(
    ("results", "health"),
    [
        ([], Health.UNKNOWN),
        ([False], Health.UNKNOWN),
        ([True, True], Health.PASSING),
        ([True, False], Health.FLAKY),
        ([False] * 5, Health.BROKEN),
    ],
)
def test_flaky_or_broken(results: list[bool], health: Health) -> None:
    assert Row("a", "failed", blocking=True, results=tuple(results)).health is health


def test_json_says_the_same() -> None:
    found = json.loads(json.dumps(why([vote("build")], past={"build": [True, False]}).to_json()))
    assert (found["stage"], found["hash"], found["met"]) == ("upstream", FULL_HASH, False)
    (step,) = found["steps"]
    assert step["name"] == "tests"
    assert step["jobs"][0] == {
        "job": "build",
        "state": "passed",
        "blocking": False,
        "since": "2019-03-14 15:09:26Z",
        "url": "https://logs/build/1234567/",
        "reason": "",
        "results": ["passed", "failed"],
        "health": "flaky",
        "under_way": False,
        "inferred": False,
    }
    assert found["rerun"] == found["unblock"] == ["standalone", "featureset1", "featureset2", "shared"]
    assert found["testproject"].startswith("- project:\n")


HOSTILE = "a\n  -> nothing is in the way\r\x1b[2J\u202e\u2028\x00b"
text = st.text(max_size=12) | st.just(HOSTILE)


@given(
    st.lists(
        st.builds(
            Vote,
            job=st.sampled_from(CRITERIA.jobs),
            success=st.booleans(),
            timestamp=st.integers(-(10**20), 10**20),
            url=text,
            notes=text,
        ),
        max_size=4,
    ),
    text,
    st.sampled_from(list(CiState)),
)
def test_whatever_others_wrote_a_job_is_one_line(votes: list[Vote], written: str, state: CiState) -> None:
    waiver = Waiver(job="build", full_hash=None, reason=written, by=written, expires=T, origin=written)
    ci = {job: CiJob(job, state, T, None, written, written) for job in CRITERIA.jobs}
    found = why(votes, ci, waivers=[waiver], obstacles=(written,), notes=(written,))
    lines = list(found.lines())
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith(("    !  ", "       ")) for line in lines[2:8]) == 6
    assert lines[-1] != "  -> nothing is in the way"
    json.dumps(found.to_json())


@pytest.mark.parametrize("seconds", [None, 10**18, -(10**18), 253402300800])
def test_a_time_that_is_none_is_left_out(seconds: int | None) -> None:
    assert at(seconds) is None


@pytest.mark.parametrize(
    ("blocking", "smallest"),
    [
        ({}, ()),
        ({"a": (), "b": ("x",)}, ("a", "b")),
        ({"a": ("x",), "b": ("x",)}, ("x",)),
        ({"a": ("x",), "b": ("x", "y"), "c": ("y",)}, ("c", "x")),
        ({"a": ("x",), "b": ("x", "y"), "c": ("y",), "d": ("y",)}, ("a", "y")),
        ({"a": ("x", "y"), "b": ("x",), "c": ("y", "z"), "d": ("z",)}, ("x", "z")),
    ],
)
def test_the_smallest_set(blocking: dict[str, tuple[str, ...]], smallest: tuple[str, ...]) -> None:
    assert smallest_set(blocking) == smallest


@given(
    st.dictionaries(
        st.sampled_from("abcde"), st.lists(st.sampled_from("vwxyz"), unique=True, max_size=3), max_size=5
    )
)
def test_no_smaller_set_unblocks(blocking: dict[str, list[str]]) -> None:
    def enough(passing: tuple[str, ...]) -> bool:
        return all(job in passing or set(others) & set(passing) for job, others in blocking.items())

    found = smallest_set(blocking)
    assert enough(found)
    every = sorted({*blocking, *(other for others in blocking.values() for other in others)})
    assert not any(enough(fewer) for fewer in itertools.combinations(every, max(0, len(found) - 1)) if found)
