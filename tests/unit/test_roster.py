"""Releases that come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.roster import Known, gone, read_roster, report, update

MASTER, PIKE = Known("centos7-master", "releases/master.yaml"), Known("centos7-pike", "releases/pike.yaml")
PRESENT = {MASTER.dag_id: MASTER.file, PIKE.dag_id: PIKE.file}


def test_a_release_that_is_there_is_known() -> None:
    assert update([], PRESENT, [], now=7) == (MASTER, PIKE)


def test_a_release_without_its_file_is_gone_since_it_was_first_missed() -> None:
    first = update([MASTER, PIKE], {MASTER.dag_id: MASTER.file}, [], now=7)
    later = update(first, {MASTER.dag_id: MASTER.file}, [], now=99)
    assert gone(later) == (Known(PIKE.dag_id, PIKE.file, 7),)
    assert gone(update(later, PRESENT, [], now=100)) == ()


def test_a_release_whose_file_is_broken_is_not_gone() -> None:
    missed = update([PIKE], {}, [], now=7)
    assert gone(update(missed, {}, [PIKE.file], now=9)) == ()
    assert read_roster([each.to_json() for each in missed]) == missed


def test_the_report_says_whether_the_file_is_gone_or_makes_another_dag() -> None:
    said = report(PIKE, {MASTER.dag_id: MASTER.file}, 1)
    assert said.startswith(
        "centos7-pike: releases/pike.yaml is gone, and 1 run of it is frozen; put the file"
    )
    said = report(PIKE, {"centos7-stable": PIKE.file}, 3)
    assert "releases/pike.yaml makes centos7-stable now, and 3 runs of it are frozen; name it" in said


def test_what_is_no_roster_is_an_empty_one() -> None:
    assert read_roster(None) == read_roster({"a": 1}) == read_roster([1, {"dag_id": 2}]) == ()


ids = st.sampled_from("abcd")
files = st.dictionaries(ids, ids.map(lambda name: f"{name}.yaml"))


@given(known=st.dictionaries(ids, files), present=files, broken=st.sets(ids.map(lambda n: f"{n}.yaml")))
def test_nothing_that_was_known_is_forgotten(
    known: dict[str, object], present: dict[str, str], broken: set[str]
) -> None:
    before = [Known(dag_id, f"{dag_id}.yaml") for dag_id in known]
    after = update(before, present, broken, now=1)
    assert {each.dag_id for each in after} == {*known, *present}
    assert len(after) == len({each.dag_id for each in after})
    assert not {each.dag_id for each in gone(after)} & set(present)
    assert not {each.file for each in gone(after)} & broken
