"""Wrong decisions of the script that came before this package, by number: none may come back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients.dlrn_answers import commit_yaml, promotion_row, promotion_rows, votes
from rdo_promoter.engine.observe import single
from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import DlrnHash, build_from_json
from rdo_promoter.model.order import InCi, Standing, Wait, first_entry, refuse_admission, superseded
from rdo_promoter.model.plan import plan, plan_dlrn
from rdo_promoter.model.promotion import DlrnState, Observed, Promotion, previous_label
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.verdict import Criteria, JobState, judge
from rdo_promoter.model.votes import Vote, VotePolicy
from rdo_promoter.release import load_release
from rdo_promoter.steps import WaitFor
from tests.unit.releases import write
from tests.unit.strategies import build_number, builds, observations, promotions

LABEL, PREVIOUS = "current-tripleo", "previous-current-tripleo"
OLD, NEW = build_number(1), build_number(2)


def test_01_a_job_that_was_replaced_for_one_build_is_required_of_the_next(tmp_path: Path) -> None:
    """The alternative that stood in for a job was written into the criteria that all candidates shared.

    A candidate that was judged later and had passed every job itself lacked the alternative: it was rejected.
    """
    release = load_release(write(tmp_path))
    wait = release.stages[0].steps[4]
    assert isinstance(wait, WaitFor)
    criteria = wait.criteria(VotePolicy.NEWEST)
    replaced = [Vote("standalone", True, 1), Vote("scenario001-internal", True, 1)]
    itself = [Vote("standalone", True, 1), Vote("scenario001", True, 1)]
    for order in itertools.permutations([replaced, itself, replaced, itself]):
        for rows in order:
            verdict = judge(criteria, rows)
            assert verdict.met
            second = JobState.PASSED if rows is itself else JobState.REPLACED
            assert [result.state for result in verdict.results] == [JobState.PASSED, second]
    assert (
        criteria
        == wait.criteria(VotePolicy.NEWEST)
        == Criteria(("standalone", "scenario001"), {"scenario001": ("scenario001-internal",)})
    )


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.text(max_size=5))
def test_02_a_build_is_the_same_whenever_it_was_promoted(one: int, other: int, user: str) -> None:
    """Hashes were compared with the times of their rows.

    So a build was never found to hold a label already, was listed twice, and the second label of a run always
    ended in "hash changed".
    """
    row, again = PromotionRow(LABEL, NEW, one), PromotionRow("other", NEW, other, user)
    assert row.build == again.build
    assert len({row.build, again.build}) == 1
    promotion = Promotion(NEW, LABEL, "tripleo-ci-testing")
    assert plan_dlrn(promotion, DlrnState(holder=row, in_tree=NEW.full_hash)).changes == ()
    assert not superseded(Standing(row.build, one), Standing(again.build, other))
    waits, rows = (Wait(Criteria(("job",)), 10**10),), (InCi(row, ()), InCi(again, ()))
    assert refuse_admission(NEW, rows, waits, now=0, max_in_ci=1, min_gap=0) is None


@given(promotions, observations(whole=True), st.none() | builds.map(lambda build: build.full_hash))
def test_02_the_previous_label_never_names_what_the_label_names(
    promotion: Promotion, observed: Observed, in_tree: str | None
) -> None:
    """As a build at another time was another build, ``previous-X`` was set to the build that X named."""
    found = plan(promotion, replace(observed, dlrn=replace(observed.dlrn, in_tree=in_tree)))
    for change in found.labels:
        if change.label == previous_label(promotion.label):
            assert change.build != promotion.build
    for link in found.links:
        if link.link == previous_label(promotion.label):
            assert link.target != promotion.tag


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.lists(st.integers(1, 10**6), max_size=5))
def test_03_an_older_build_never_replaces_a_newer_one(older: int, later: int, again: list[int]) -> None:
    """When the label's build was not among the newest candidates, whatever of those had passed was promoted.

    What is newer is told by the builds' own entries, however many others came since, and being given to CI
    again makes no build younger.
    """
    rows = [PromotionRow("tripleo-ci-testing", OLD, older + later + time) for time in again]
    rows += [
        PromotionRow("tripleo-ci-testing", NEW, older + later),
        PromotionRow("tripleo-ci-testing", OLD, older),
    ]
    ours, holder = first_entry(rows, OLD), first_entry(rows, NEW)
    assert ours is not None
    assert holder is not None
    assert superseded(Standing(OLD, ours), Standing(NEW, holder))
    assert not superseded(Standing(NEW, holder), Standing(OLD, ours))


@pytest.mark.parametrize("alternatives", [{}, {"job": ("other",)}])
def test_04_a_job_that_passed_and_then_failed_has_failed(alternatives: dict[str, tuple[str, ...]]) -> None:
    """One pass was enough for ever: nobody looked whether a later run of the job had failed."""
    criteria = Criteria(("job",), alternatives)
    name = "other" if alternatives else "job"
    rows = [Vote(name, True, 1), Vote(name, False, 2)]
    for order in itertools.permutations(rows):
        verdict = judge(criteria, order)
        assert not verdict.met
        expected = JobState.MISSING if alternatives else JobState.FAILED
        assert [result.state for result in verdict.results] == [expected]
    assert judge(criteria, [*rows, Vote(name, True, 3)]).met


HASHES: dict[str, Any] = {"commit_hash": "a" * 40, "distro_hash": "b" * 40}
PROMOTED: dict[str, Any] = {**HASHES, "promote_name": LABEL, "timestamp": 1, "user": "promoter"}
VOTED: dict[str, Any] = {**HASHES, "job_id": "job", "success": True, "timestamp": 1, "url": ""}
#: DLRN has no extended hash for most builds, and three ways to say so.
NOTHING: tuple[dict[str, Any], ...] = (
    {},
    {"extended_hash": None},
    {"extended_hash": "None"},
    {"extended_hash": ""},
)


@pytest.mark.parametrize("nothing", NOTHING)
def test_06_a_build_without_an_extended_hash_is_a_build(nothing: dict[str, Any]) -> None:
    """A missing extended hash ended the run with a traceback."""
    build = DlrnHash("a" * 40, "b" * 40)
    assert build.full_hash == f"{'a' * 40}_bbbbbbbb"
    assert DlrnHash("a" * 40, "b" * 40, nothing.get("extended_hash")) == build
    assert promotion_row({**PROMOTED, **nothing}, "DLRN").build == build
    assert votes([{**VOTED, **nothing}], "DLRN", build) == [Vote("job", True, 1)]
    lines = "".join(
        f"  {key}: {value}\n" for key, value in {**HASHES, **nothing}.items() if value is not None
    )
    assert commit_yaml("commits:\n-" + lines[1:], "DLRN") == build
    assert build_from_json(build.to_json()) == build
    whole = DlrnState(holder=PromotionRow(LABEL, build, 1), in_tree=build.full_hash)
    assert plan_dlrn(Promotion(build, LABEL, "tripleo-ci-testing"), whole).changes == ()


def test_10_the_components_of_an_aggregate_are_no_candidates() -> None:
    """A promoted aggregate has a row for each of its components, and each was taken for a candidate.

    Aggregates are refused here as yet; their components have to be refused as well, wherever a row leads on.
    """
    answer = [
        {**PROMOTED, "component": component, "aggregate_hash": aggregate}
        for component, aggregate in (("tripleo", "c" * 32), ("compute", None))
    ]
    rows = promotion_rows(answer, "DLRN")
    assert [getattr(row.build, "component", None) for row in rows] == ["tripleo", "compute"]
    for row in rows:
        with pytest.raises(ConfigError, match=r"is a build of the component .* alone"):
            single(row.build)
