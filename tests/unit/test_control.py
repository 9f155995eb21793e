"""What people want decided: what is refused and how, what is written, what is in force then."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.control.dag import ActOperator, CheckOperator, control_dag
from rdo_promoter.control.decide import decide
from rdo_promoter.control.force import everything, liftable, report
from rdo_promoter.control.wish import TAKES, Act, Author, Wish, check, entries, labels_of, parse_time
from rdo_promoter.dag_factory import START_DATE
from rdo_promoter.errors import ConfigError, NotFoundError
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.clock import utc
from rdo_promoter.model.decisions import Decision, Decisions, Held, Lifted, MarkedBad, Waived, in_force
from rdo_promoter.model.waivers import Waiver
from rdo_promoter.release import Release, load_release
from tests.unit.releases import write
from tests.unit.strategies import build_number
from tests.unit.tasks import Ti, context

NOW = parse_time("2026-11-24T12:00Z")
LATER = "2026-12-01T12:00Z"
BUG = "https://bugs.launchpad.net/bugs/1"
HASH, OTHER = build_number(1).full_hash, build_number(2).full_hash
JANE = Author("jane", "command line", NOW)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return load_release(write(tmp_path_factory.mktemp("releases")))


def waive(**changes: Any) -> Wish:
    fields = {"jobs": ("standalone",), "full_hash": HASH, "reason": BUG, "until": LATER, **changes}
    return Wish(act=Act.WAIVE, **fields)


def hold(**changes: Any) -> Wish:
    return Wish(act=Act.HOLD, **{"label": "current-good", "reason": "CI is down", **changes})


def bad(**changes: Any) -> Wish:
    return Wish(act=Act.MARK_BAD, **{"full_hash": HASH, "reason": "breaks nova", **changes})


def lift(*what: str, **changes: Any) -> Wish:
    return Wish(act=Act.LIFT, lifts=what, **{"reason": "mended", **changes})


def reviewed(job: str, expires: int, origin: str) -> Waiver:
    return Waiver(job=job, full_hash=None, reason=BUG, by="joe", expires=expires, origin=origin)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (waive(jobs=()), "job: write a required job to waive; known: "),
        (waive(jobs=("standalnoe",)), "requires no such job; did you mean 'standalone'?"),
        (waive(jobs=("scenario001-internal",)), "requires no such job"),  # an alternative is not required
        (waive(full_hash=""), "build: write one build's full hash, or tick every build"),
        (waive(every_build=True), "not both"),
        (waive(full_hash="54480e71"), "'54480e71' is no full hash: copy the build's directory name"),
        (waive(reason="flaky"), "'flaky' is no link: a waiver needs the link of a bug"),
        (waive(reason=" "), "reason: is missing: a waiver needs the link of a bug"),
        (
            waive(until=""),
            "until: a waiver has an end: write date, time and time zone, for example 2026-12-01T",
        ),
        (waive(until="2026-12-01T12:00"), "is no time with a time zone"),
        (waive(until="tomorrow"), "is no time with a time zone"),
        (waive(until="2026-13-01T12:00Z"), "is no time: "),
        (waive(until="2026-11-24T12:00Z"), "until: 2026-11-24 12:00:00Z is over, it is 2026-11-24 12:00:00Z"),
        (waive(until="2027-12-01T12:00Z"), "is more than a year ahead"),
        (waive(label="current-good"), "label: this is for hold, not for waive: leave it empty"),
        (hold(label=""), "label: a hold names either a label or a build"),
        (hold(full_hash=HASH), "fill in one of them"),
        (hold(label="curent-good"), "moves no such label; did you mean 'current-good'?"),
        (hold(label="", full_hash="x"), "'x' is no full hash"),
        (hold(reason="  "), "reason: is missing: say why"),
        (hold(until="2019-03-14T15:00+01:00"), "until: 2019-03-14 14:00:00Z is over"),
        (hold(jobs=("standalone",)), "job: this is for waive, not for hold"),
        (bad(full_hash=""), "build: write the full hash of the build that is bad"),
        (bad(reason=""), "reason: is missing"),
        (bad(until=LATER), "until: this is for waive and hold, not for mark-bad"),
        (lift("current-good", reason=""), "reason: is missing"),
        (Wish(act=Act.SHOW, label="x"), "label: this is for hold, not for show"),
    ],
)
def test_what_cannot_be_written_down_is_refused_with_what_to_write(
    release: Release, wish: Wish, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(wish, release, now=NOW)
    assert said in str(refused.value)


def test_every_problem_is_told_at_once(release: Release) -> None:
    with pytest.raises(ConfigError) as refused:
        check(waive(jobs=("a", "b"), full_hash="x", reason="y", until="z"), release, now=NOW)
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == [
        "job",
        "job",
        "build",
        "reason",
        "until",
    ]


def test_an_act_becomes_entries_with_its_author(release: Release) -> None:
    common: dict[str, Any] = {"dag_id": release.dag_id, "at": NOW, "by": "jane", "via": "command line"}
    until = parse_time(LATER)
    made = entries(waive(jobs=("standalone", " scenario001 ")), release, Decisions.NONE, JANE)
    assert made == [
        Waived(**common, reason=BUG, job=job, full_hash=HASH, expires=until)
        for job in ("standalone", "scenario001")
    ]
    every = waive(full_hash="", every_build=True)
    assert [entry.to_json()["full_hash"] for entry in entries(every, release, Decisions.NONE, JANE)] == [None]
    assert entries(hold(), release, Decisions.NONE, JANE) == [
        Held(**common, reason="CI is down", label="current-good", full_hash=None, expires=None)
    ]
    assert entries(hold(label="", full_hash=HASH, until=LATER), release, Decisions.NONE, JANE) == [
        Held(**common, reason="CI is down", label=None, full_hash=HASH, expires=until)
    ]
    assert entries(bad(), release, Decisions.NONE, JANE) == [
        MarkedBad(**common, reason="breaks nova", full_hash=HASH)
    ]
    assert {"ci-testing", "current-good"} <= set(labels_of(release))


@pytest.mark.parametrize("wish", [waive(), hold(), hold(label="", full_hash=HASH), bad()])
def test_what_is_tried_again_is_decided_once_and_another_person_decides_anew(
    release: Release, wish: Wish
) -> None:
    made = entries(wish, release, Decisions.NONE, JANE)
    again = Author("jane", "command line", NOW + 60)
    assert entries(wish, release, in_force(made), again) == []
    assert len(entries(wish, release, in_force(made), Author("joe", "command line", NOW + 60))) == 1
    lifted = Lifted(
        dag_id=release.dag_id, at=NOW + 1, by="jane", via="airflow", reason="x", lifts=made[0].name
    )
    assert len(entries(wish, release, in_force([*made, lifted]), again)) == 1


def test_each_act_is_lifted_by_what_it_is_about_or_by_its_name(release: Release) -> None:
    for wish, word in (
        (waive(), "standalone"),
        (waive(), HASH),
        (hold(), "current-good"),
        (hold(label="", full_hash=HASH), HASH),
        (bad(), HASH),
    ):
        (made,) = entries(wish, release, Decisions.NONE, JANE)
        for what in (word, made.name):
            (lifted,) = entries(lift(what), release, in_force([made]), JANE)
            assert isinstance(lifted, Lifted)
            assert lifted.lifts == made.name
            assert everything(in_force([made, lifted])) == []


def test_what_may_mean_two_things_lifts_neither_and_names_both(release: Release) -> None:
    made: list[Decision] = [
        *entries(hold(), release, Decisions.NONE, JANE),
        *entries(hold(), release, Decisions.NONE, Author("joe", "airflow", NOW)),
    ]
    with pytest.raises(ConfigError) as refused:
        entries(lift("current-good"), release, in_force(made), JANE)
    said = str(refused.value)
    assert "'current-good' is the subject of 2 decisions: write the name of one" in said
    assert all(entry.name in said for entry in made)


def test_what_is_not_in_force_cannot_be_lifted(release: Release) -> None:
    with pytest.raises(ConfigError, match="nothing about 'current-good' is in force"):
        entries(lift("current-good"), release, Decisions.NONE, JANE)
    expired = entries(hold(until=LATER), release, Decisions.NONE, JANE)
    late = Author("jane", "airflow", parse_time(LATER))
    with pytest.raises(ConfigError, match="nothing about 'current-good' is in force"):
        entries(lift("current-good"), release, in_force(expired), late)
    there = reviewed("standalone", NOW + 9, "waivers/good.yaml:3")
    with pytest.raises(ConfigError, match=r"in the reviewed file \(waivers/good.yaml:3\): change it there"):
        entries(lift("standalone"), release, Decisions(waivers=(there,)), JANE)
    with pytest.raises(ConfigError, match="name what to lift"):
        entries(lift(), release, Decisions.NONE, JANE)


def test_the_report_tells_what_counts_what_is_over_and_what_never_counts(release: Release) -> None:
    there = reviewed("standalone", NOW + 9, "waivers/good.yaml:3")
    gone = reviewed("renamed-job", NOW + 9, "waivers/good.yaml:9")
    over = reviewed("scenario001", NOW, "waivers/good.yaml:5")
    made = entries(hold(), release, Decisions.NONE, JANE)
    found = report(in_force(made, (there, gone, over)), release.jobs, labels_of(release), now=NOW).lines()
    assert found == [
        "in force:",
        f"  standalone is waived for every build by joe until {utc(NOW + 9)}: {BUG} [waivers/good.yaml:3]",
        f"  current-good is held by jane since {utc(NOW)} until it is lifted: CI is down [{made[0].name}]",
        "expired:",
        f"  scenario001 is waived for every build by joe until {utc(NOW)}: {BUG} [waivers/good.yaml:5]",
        "ignored:",
        (
            f"  renamed-job is waived for every build by joe until {utc(NOW + 9)}: {BUG} "
            "[waivers/good.yaml:9]: no stage of the release requires such a job"
        ),
    ]
    assert report(Decisions.NONE, (), (), now=NOW).lines() == ["in force: nothing"]


# --- whatever people type ---

WORDS = st.one_of(st.text(max_size=60), st.sampled_from(["standalone", "current-good", HASH, BUG, LATER, ""]))
WISHES = st.builds(
    Wish,
    act=st.sampled_from(Act),
    jobs=st.lists(WORDS, max_size=3).map(tuple),
    full_hash=WORDS,
    every_build=st.booleans(),
    label=WORDS,
    reason=WORDS,
    until=WORDS,
    lifts=st.lists(WORDS, max_size=2).map(tuple),
)


@given(wish=WISHES)
def test_whatever_is_typed_is_refused_in_words_or_written_down_and_lifted_again(
    release: Release, wish: Wish
) -> None:
    try:
        made = entries(wish, release, Decisions.NONE, JANE)
    except ConfigError:
        return
    decisions = in_force(made)
    assert len(liftable(decisions, now=NOW)) == len(made)
    for entry in made:
        lifted = entries(lift(entry.name), release, decisions, JANE)
        assert len(everything(in_force([*made, *lifted]))) == len(made) - 1


@given(at=st.integers(0, 2**33 - 1), hours=st.integers(-23, 23))
def test_a_time_is_the_same_in_every_zone(at: int, hours: int) -> None:
    local = utc(at + hours * 3600).removesuffix("Z").replace(" ", "T")
    if at + hours * 3600 >= 0:
        assert parse_time(f"{local}{hours:+03d}:00") == at
    assert parse_time(utc(at)) == at


# --- written down ---


class Dlrn:
    """A DLRN that knows one build."""

    def now(self) -> int:
        return NOW

    def named(self, full_hash: str) -> None:
        if full_hash != HASH:
            raise NotFoundError(f"build {full_hash}: DLRN has no directory for it")


def test_a_build_that_dlrn_does_not_know_is_refused_and_nothing_is_written(
    release: Release, tmp_path: Path
) -> None:
    dlrn: Any = Dlrn()
    book = Ledger(tmp_path)
    for wish in (waive(full_hash=OTHER), hold(label="", full_hash=OTHER), bad(full_hash=OTHER)):
        with pytest.raises(NotFoundError, match="DLRN has no directory"):
            decide(wish, release, dlrn, book, by="jane", via="airflow")
    assert list(tmp_path.iterdir()) == []
    found = decide(waive(jobs=("standalone", "scenario001")), release, dlrn, book, by="jane", via="airflow")
    assert len(found.written) == len(found.report.in_force) == 2
    assert (
        decide(hold(), release, dlrn, book, by="jane", via="airflow")
        .report.in_force[-1]
        .startswith("current-good is held by jane")
    )


# --- the Dag ---


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setattr(ConnectionServices, "dlrn", Dlrn())
    return write(tmp_path).parent


def filled(who: str | None = "jane", **form: object) -> Any:
    here = context(Ti())
    here["params"] = {"release": "centos9-good", "act": "hold", "reason": "why", **form}
    here["dag_run"] = SimpleNamespace(run_type="manual", triggering_user_name=who)
    return here


def test_the_form_writes_with_the_name_of_whoever_started_the_run(folder: Path) -> None:
    here = filled(label="current-good")
    with pytest.raises(DownstreamTasksSkipped) as others:
        CheckOperator(task_id="check", folder=str(folder)).execute(here)
    assert sorted(others.value.tasks) == ["lift", "mark_bad", "show", "waive"]
    result = ActOperator(task_id="hold", act=Act.HOLD, folder=str(folder)).execute(here)
    assert result is not None
    assert result["in_force"][0].startswith("current-good is held by jane since")
    with pytest.raises(AirflowSkipException):
        ActOperator(task_id="lift", act=Act.LIFT, folder=str(folder)).execute(here)


@pytest.mark.parametrize("who", [None, "", "Anonymous"])
def test_nobody_decides_without_a_name(folder: Path, tmp_path: Path, who: str | None) -> None:
    here = filled(who, label="current-good")
    for task in (
        CheckOperator(task_id="check", folder=str(folder)),
        ActOperator(task_id="hold", act=Act.HOLD, folder=str(folder)),
    ):
        with pytest.raises(AirflowFailException, match="Airflow does not know who started this run"):
            task.execute(here)
    assert list((tmp_path / "ledger").iterdir()) == []


def test_a_form_that_cannot_be_used_fails_at_once_with_what_to_write(folder: Path) -> None:
    here = filled(label="curent-good")
    with pytest.raises(AirflowFailException, match="did you mean 'current-good'"):
        CheckOperator(task_id="check", folder=str(folder)).execute(here)
    with pytest.raises(AirflowFailException, match="'centos9-gone' is in no release file"):
        CheckOperator(task_id="check", folder=str(folder)).execute(filled(release="centos9-gone"))


def test_the_form_offers_what_the_releases_have(release: Release) -> None:
    dag = control_dag(START_DATE, [release])
    assert {task.task_id for task in dag.tasks} == {"check", *(act.replace("-", "_") for act in Act)}
    params = {name: dag.params.get_param(name) for name in dag.params}
    assert params["release"].schema["enum"] == [release.dag_id]
    assert "standalone" in params["jobs"].schema["examples"]
    assert params["label"].schema["examples"] == sorted(labels_of(release))
    taken = set(itertools.chain(*TAKES.values()))
    assert len(params) == len(taken) + 2
    two = control_dag(START_DATE, [release, release.model_copy(update={"release": "other"})])
    assert two.params.get_param("release").schema["enum"] == [release.dag_id, "centos9-other"]
    assert two.params.get_param("release").value is None  # nobody decides about one that was not chosen
