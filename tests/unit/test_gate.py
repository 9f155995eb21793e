"""When a gate has something to decide, what it asks, and what an answer leaves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.decisions import WAIVER_TIME, Answer, Answered, Decisions, Waived, in_force
from rdo_promoter.model.order import Standing
from rdo_promoter.model.votes import Vote
from rdo_promoter.operators.gate_question import entries, question, why_not
from rdo_promoter.operators.question import WAIT_ON, Reply, read_reply
from rdo_promoter.triggers.gate import Call, GateTrigger, call
from rdo_promoter.triggers.outcome import Finding, Known, Labels, Votes, find
from tests.unit.terms import WITHIN, terms
from tests.unit.test_decisions import answered, waived
from tests.unit.test_job_trigger import OTHER, OURS, SINCE, vote

EARLY, LATE = SINCE + 60, SINCE + WITHIN
BUG = "https://bugs.launchpad.net/bugs/1800000"
TWO: dict[str, Any] = {"jobs": ("a", "b"), "alternatives": {"b": ("other",)}}
PASS = [vote("a", True), vote("b", True)]


def finding(
    rows: list[Vote], now: int = EARLY, decisions: Decisions = Decisions.NONE, **changes: Any
) -> Finding:
    labels = changes.pop("labels", Labels())
    known = Known(Votes(tuple(rows), now, Standing(OURS, SINCE)), labels, decisions)
    return find(terms(**{**TWO, **changes}), OURS, SINCE, known)


def called(found: Finding, *, doomed_said: bool = True, **changes: Any) -> Call | None:
    return call(terms(**{**TWO, **changes}), found, late=found.late, doomed_said=doomed_said)


@pytest.mark.parametrize(
    ("rows", "now", "woken"),
    [
        ([], EARLY, None),
        (PASS[:1], EARLY, None),
        (PASS, EARLY, Call.MET),
        (PASS, LATE, Call.MET),
        ([PASS[0], vote("other", True)], EARLY, Call.MET),
        (PASS[:1], LATE - 1, None),
        (PASS[:1], LATE, Call.LATE),
        ([vote("a", False)], EARLY, None),
        ([vote("a", False), vote("a", True, EARLY + 1), PASS[1]], EARLY, Call.MET),
    ],
)
def test_when_a_gate_is_woken(rows: list[Vote], now: int, woken: Call | None) -> None:
    assert called(finding(rows, now)) == woken


def test_a_build_that_has_lost_wakes_the_gate_even_when_it_passed() -> None:
    found = finding(PASS, labels=Labels(None, Standing(OTHER, SINCE + 1)))
    assert called(found) is Call.LOST
    assert found.lost is not None
    assert OTHER.full_hash in found.lost[1]


@pytest.mark.parametrize(
    ("rows", "fail_fast", "said", "woken"),
    [
        ([vote("a", False)], False, False, Call.DOOMED),
        ([vote("a", False)], False, True, None),
        ([vote("a", False)], True, True, Call.DOOMED),
        ([vote("b", False)], True, False, None),
        ([vote("b", False), vote("other", False)], True, False, Call.DOOMED),
    ],
)
def test_doom_is_said_once_and_ends_what_fails_fast(
    rows: list[Vote], fail_fast: bool, said: bool, woken: Call | None
) -> None:
    assert called(finding(rows), doomed_said=said, fail_fast=fail_fast) is woken


@pytest.mark.parametrize(("now", "met"), [(SINCE + 299, False), (SINCE + 300, True)])
def test_soaking(now: int, met: bool) -> None:
    found = finding(PASS, now, soak=300)
    assert (found.met, found.verdict.met) == (met, True)
    assert ("; soaking until 2023-11-14 22:18:20Z" in found.summary()) is not met


def test_a_waiver_lets_a_build_pass() -> None:
    entry = waived(job="b", full_hash=OURS.full_hash, expires=LATE)
    assert called(finding(PASS[:1], decisions=in_force([entry]))) is Call.MET
    assert called(finding(PASS[:1], LATE, decisions=in_force([entry]))) is Call.LATE


def test_a_person_moves_the_deadline() -> None:
    longer = answered(Answer.WAIT, 910, until=LATE + 100, full_hash=OURS.full_hash, task_id=terms().gate)
    assert called(finding([], LATE + 99, decisions=in_force([longer]))) is None
    late = finding([], LATE + 100, decisions=in_force([longer]))
    assert (called(late), late.until) == (Call.LATE, LATE + 100)


passes = st.lists(st.builds(vote, st.sampled_from(["a", "b", "other", "x"]), st.booleans()), max_size=8)


@given(passes, st.integers(SINCE, LATE + 10), st.booleans(), st.booleans())
def test_what_is_met_is_never_late_or_doomed(rows: list[Vote], now: int, fast: bool, said: bool) -> None:
    found = finding(rows, now)
    assert (called(found, fail_fast=fast, doomed_said=said) is Call.MET) == found.verdict.met


def test_a_gates_trigger_is_made_again_from_what_it_serializes() -> None:
    made = GateTrigger(
        terms=terms().to_json(), build=OURS.to_json(), since=SINCE, until=LATE, doomed_said=True
    )
    path, settings = made.serialize()
    assert path == f"{GateTrigger.__module__}.{GateTrigger.__qualname__}"
    assert GateTrigger(**json.loads(json.dumps(settings))).serialize() == (path, settings)


def test_what_is_asked() -> None:
    rows = [Vote("a", False, EARLY, "https://logs/a"), Vote("b", False, EARLY, "javascript:alert(1)")]
    asked = question(OURS, finding(rows, LATE), within=86_400)
    assert asked.subject == f"{OURS.full_hash}: 2 of 2 jobs have not passed"
    lines = asked.body.splitlines()
    assert "- a: failed, [its log](<https://logs/a>)" in lines
    assert "- b: failed" in lines
    assert "At 2023-11-14 23:13:20Z these jobs" in asked.body
    assert "open for 24 h" in asked.body
    assert set(asked.form) == {"reason", "hours"}


@pytest.mark.parametrize("hostile", ["<script>x</script>", "[a](javascript:b)", "a\n# b", "`x`", "a|b"])
def test_names_of_jobs_cannot_draw_anything(hostile: str) -> None:
    asked = question(OURS, finding([], LATE, jobs=(hostile,), alternatives={}), within=86_400)
    (line,) = (line for line in asked.body.splitlines() if line.endswith(": missing"))
    for character in "<>[]()`#|":
        assert line.count(character) == line.count("\\" + character)


def reply(answer: Answer, **fields: Any) -> Reply:
    return Reply(**{"answer": answer, "by": "ada", "at": 1_000, "reason": "bug", **fields})


def left(answer: Reply) -> list[Any]:
    return list(
        entries(answer, ["a", "b"], dag_id="centos7-x", build=OURS, run="run 1", gate="up.gate", now=2_000)
    )


def test_what_an_answer_leaves() -> None:
    first, second, last = left(reply(Answer.WAIVE))
    for job, entry in zip("ab", (first, second), strict=True):
        assert isinstance(entry, Waived)
        assert (entry.job, entry.full_hash, entry.by) == (job, OURS.full_hash, "ada")
        assert entry.expires == 2_000 + WAIVER_TIME
    assert isinstance(last, Answered)
    assert (last.answer, last.until, last.run_id, last.task_id) == (Answer.WAIVE, None, "run 1", "up.gate")
    (waits,) = left(reply(Answer.WAIT, seconds=60))
    assert (waits.answer, waits.until) == (Answer.WAIT, 2_060)
    (gives_up,) = left(reply(Answer.REJECT))
    assert (gives_up.answer, gives_up.until) == (Answer.REJECT, None)
    assert left(reply(Answer.WAIVE)) == left(reply(Answer.WAIVE)), "a retry leaves the same entries"


class User:
    """A user as some versions of Airflow hand one over."""

    def __init__(self) -> None:
        self.id, self.name = "7", "ada"


MOMENT = datetime(2019, 3, 14, 15, 9, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "read"),
    [
        ({"call": "late"}, None),
        (
            {
                "chosen_options": ["Wait on"],
                "params_input": {"reason": None, "hours": 0.5},
                "responded_at": MOMENT,
                "responded_by_user": {"id": "7", "name": "ada"},
            },
            Reply(Answer.WAIT, "ada", 1_552_576_166, "", 1_800),
        ),
        (
            {
                "chosen_options": ["Waive these jobs"],
                "params_input": {"reason": " bug ", "hours": None},
                "responded_at": MOMENT.isoformat(),
                "responded_by_user": User(),
            },
            Reply(Answer.WAIVE, "ada", 1_552_576_166, "bug", WAIT_ON),
        ),
    ],
)
def test_what_airflow_hands_over(event: dict[str, Any], read: Reply | None) -> None:
    assert read_reply(event) == read


@pytest.mark.parametrize(
    ("hours", "seconds"),
    [
        (None, WAIT_ON),
        ("", WAIT_ON),
        (0.5, 1_800),
        ("2", 7_200),
        (720, 30 * 86_400),
        (720.1, None),
        (2_000_000, None),
        (0, None),
        (-1, None),
        ("x", None),
        ("nan", None),
        ("inf", None),
        ([1], None),
    ],
)
def test_hours_that_are_none_are_told(hours: object, seconds: int | None) -> None:
    """Airflow's API stores whatever is sent as the form's fields."""
    read = read_reply(
        {
            "chosen_options": ["Wait on"],
            "params_input": {"hours": hours},
            "responded_at": MOMENT,
            "responded_by_user": {"id": "7", "name": "ada"},
        }
    )
    assert read is not None
    assert read.seconds == seconds
    assert (why_not(read) is None) == (seconds is not None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": Answer.WAIVE, "reason": ""}, "'' is no reason to waive a job: write the link of a bug"),
        ({"answer": Answer.WAIVE, "reason": "flaky"}, "'flaky' is no reason to waive a job"),
        ({"answer": Answer.WAIVE, "reason": "javascript:x"}, "is no reason to waive a job"),
        ({"answer": Answer.WAIVE, "reason": BUG, "by": "Anonymous"}, "Anonymous is nobody who could waive"),
        ({"answer": Answer.WAIVE, "reason": BUG}, None),
        ({"answer": Answer.WAIT, "seconds": None}, "hours: write how long to wait on, as a number up to 720"),
        ({"answer": Answer.REJECT, "reason": ""}, None),
    ],
)
def test_which_answers_count(changes: dict[str, Any], said: str | None) -> None:
    problem = why_not(reply(**changes))
    assert problem is None if said is None else said in str(problem)


def test_builds_of_others_are_untouched() -> None:
    other = DlrnHash("e" * 40, "f" * 40)
    decisions = in_force(left(reply(Answer.WAIVE)))
    assert decisions.waivers_for(other.full_hash, now=1_500) == ()
