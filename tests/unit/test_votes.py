"""Which of a job's votes counts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.votes import Vote, counting_votes

votes = st.lists(
    st.builds(
        Vote,
        job=st.sampled_from(["a", "b", "c"]),
        success=st.booleans(),
        timestamp=st.integers(0, 5),
        url=st.sampled_from(["", "https://logs.example.org/1"]),
        in_progress=st.booleans(),
        user=st.sampled_from(["", "ci"]),
        notes=st.sampled_from(["", "a rerun"]),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("rows", "passed"),
    [
        ([], None),
        ([(True, 1)], True),
        ([(False, 1)], False),
        ([(True, 1), (False, 2)], False),  # passed and later failed: failed
        ([(False, 1), (True, 2)], True),  # a rerun
        ([(True, 2), (False, 1)], True),  # rows come in any order
        ([(True, 1), (False, 1)], False),  # the same second: nobody knows, so not passed
        ([(False, 1), (True, 1)], False),
    ],
)
def test_newest_vote_counts(rows: list[tuple[bool, int]], passed: bool | None) -> None:
    newest = counting_votes(Vote("job", success, timestamp) for success, timestamp in rows)
    assert newest["job"].success is passed if passed is not None else newest == {}


def test_rows_in_progress_never_count() -> None:
    running = Vote("job", success=False, timestamp=9, in_progress=True)
    assert counting_votes([running]) == {}
    done = Vote("job", success=True, timestamp=1)
    assert counting_votes([done, running]) == {"job": done} == counting_votes([running, done])


@given(votes, st.randoms(use_true_random=False))
def test_one_result_a_job_whatever_the_order(rows: list[Vote], shuffler: random.Random) -> None:
    newest = counting_votes(rows)
    results = [row for row in rows if not row.in_progress]
    assert set(newest) == {row.job for row in results}
    for job, vote in newest.items():
        rivals = [row for row in results if row.job == job]
        assert vote in rivals
        assert vote.timestamp == max(row.timestamp for row in rivals)
        assert vote.success == all(row.success for row in rivals if row.timestamp == vote.timestamp)
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    assert counting_votes(shuffled) == newest
