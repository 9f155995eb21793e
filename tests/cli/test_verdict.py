"""Why is a build not promoted: the verb on a real DLRN, beside it a fake Zuul with recorded answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab import dlrn as lab_dlrn
from rdo_promoter.model.decisions import Answer, Answered, Held, Waived
from tests.cli.desk import JOBS, Desk
from tests.recorded.zuul import PIPELINE, TENANT, RecordedZuul
from tests.recorded.zuul import build as zuul_build

pytestmark = pytest.mark.lab


@pytest.fixture
def zuul() -> Iterator[RecordedZuul]:
    with RecordedZuul() as server:
        yield server


def with_zuul(desk: Desk, zuul: RecordedZuul) -> None:
    """Let the desk's release name a Zuul."""
    text = desk.file.read_text()
    text = text.replace("\nstages:\n", f"\nzuul: {{connection: zuul_rdo, pipeline: {PIPELINE}}}\nstages:\n")
    desk.file.write_text(text)
    fields = {"conn_type": "zuul", "host": zuul.url, "extra": {"tenant": TENANT}}
    desk.env["AIRFLOW_CONN_ZUUL_RDO"] = json.dumps(fields)


def verdict(desk: Desk, *words: str, code: int) -> str:
    return desk.run("verdict", desk.name, *words, code=code)


def as_json(desk: Desk, *words: str, code: int) -> Any:
    return json.loads(verdict(desk, "--json", *words, code=code))


def decide(desk: Desk, kind: Any, **fields: Any) -> None:
    common = {"dag_id": desk.dag_id, "at": desk.rdo.dlrn.now(), "by": "rover", "via": "command line"}
    desk.ledger.append(kind(**common, reason="https://bugs/7", **fields))


def rows(said: str) -> dict[str, list[str]]:
    """Return each job's line of a printed table, as words."""
    table = said.partition("\n  ->")[0]
    cells = [line.replace("!", " ").split() for line in table.splitlines() if line.startswith("    ")]
    return {line[1]: line for line in cells}


def test_each_job_is_told_of_and_what_would_help(desk: Desk) -> None:
    *earlier, build = desk.rdo.candidates(4)
    for number, candidate in enumerate(earlier):
        desk.vote(candidate, ["build-containers"])
        desk.vote(candidate, ["standalone"], success=number == 1)
    desk.vote(build, ["build-containers"])
    desk.vote(build, ["standalone"], success=False)
    untouched = desk.rdo.state()
    said = verdict(desk, code=1)
    found = rows(said)
    assert f"stage upstream: {build.full_hash} ({desk.rdo.candidate_label} since " in said
    assert "  builds: met, 1 of 1 jobs\n" in said
    assert "  tests: not met, 0 of 2 jobs\n" in said
    assert (found["build-containers"][0], found["build-containers"][4:6]) == ("passed", ["+++", "passing"])
    assert found["standalone"][0] == "failed"
    assert found["standalone"][4:] == ["-+-", "flaky", "https://ci/standalone"]
    assert found["scenario001"][0] == "missing"
    assert "scenario001-internal may stand in" in said
    change = yaml.safe_load(said[said.index("- project:") :])
    jobs = change[0]["project"]["check"]["jobs"]
    assert [next(iter(job)) for job in jobs] == ["standalone", "scenario001"]
    override = jobs[0]["standalone"]["vars"]["featureset_override"]
    assert override == {"dlrn_hash_tag": build.full_hash}
    assert desk.rdo.state() == untouched
    assert not (desk.folder / "home" / "rdo-promoter-ledger").exists()


def test_what_keeps_newer_builds_away_is_a_note(desk: Desk) -> None:
    (build,) = desk.rdo.candidates(1)
    lab_dlrn.add_build(desk.lab.root, when=int(time.time()), project=desk.name, failed=True)
    try:
        note = f"consistent is held back by 1 package: {desk.name} (FAILED)"
        header, said, *_ = verdict(desk, code=1).splitlines()
        assert (header.partition(" ")[0], said) == (desk.dag_id, f"note: {note}")
        assert as_json(desk, code=1)["note"] == note
        # Whoever asks about a build does not ask for newer ones.
        assert "held back" not in verdict(desk, "--hash", build.full_hash, code=1)
    finally:
        lab_dlrn.add_build(desk.lab.root, when=int(time.time()), project=desk.name)
    assert as_json(desk, code=1)["note"] == ""


def test_what_others_wrote_breaks_no_line(desk: Desk) -> None:
    (build,) = desk.rdo.candidates(1)
    url = "https://ci/\n  -> nothing is in the way\r\x1b[2J\u202e"
    with desk.lab.dlrn_client(ci=True) as ci:
        ci.report_vote(build, "standalone", False, url, notes="a\nb\x00"[:3])
    decide(desk, Waived, job="elsewhere\n-> met", full_hash=None, expires=desk.rdo.dlrn.now() + 600)
    said = verdict(desk, code=1)
    assert all(line.isprintable() for line in said.splitlines())
    assert r"https://ci/\n  -> nothing is in the way\r\x1b[2J\u202e" in said
    assert "\n  -> nothing is in the way" not in said
    (step,) = [step for step in as_json(desk, code=1)["stages"][0]["steps"] if step["name"] == "tests"]
    assert step["jobs"][0]["url"] == url


def test_a_waiver_of_the_ledger_and_a_hold_decide(desk: Desk) -> None:
    (build,) = desk.rdo.candidates(1)
    desk.vote(build, ["build-containers", "scenario001-internal"])
    decide(desk, Waived, job="standalone", full_hash=build.full_hash, expires=desk.rdo.dlrn.now() + 600)
    said = verdict(desk, "--hash", build.full_hash, "--stage", "upstream", code=0)
    assert "waived by rover until" in said
    assert "scenario001-internal stands in" in said
    assert said.endswith("  -> nothing is in the way\n")
    decide(desk, Held, label=desk.rdo.label, full_hash=None, expires=None)
    found = as_json(desk, code=1)
    assert (found["dag_id"], found["met"], found["refused"]) == (desk.dag_id, False, {})
    (stage,) = found["stages"]
    assert stage["obstacles"][0].startswith(f"{desk.rdo.label} is held by rover since")
    assert (stage["hash"], stage["unblock"], stage["testproject"]) == (build.full_hash, [], "")


@pytest.mark.parametrize(
    ("task", "what"), [("upstream.approve", "not approved"), ("upstream.tests.gate", "given up")]
)
def test_what_a_person_refused_is_in_the_way_though_all_jobs_passed(desk: Desk, task: str, what: str) -> None:
    text = desk.file.read_text()
    desk.file.write_text(text.replace("- promote:", "- approve: {text: Look at it}\n      - promote:"))
    (build,) = desk.rdo.candidates(1)
    desk.vote(build, JOBS)
    asked = f"note: nobody has approved {build.full_hash} at upstream.approve yet\n"
    assert asked in verdict(desk, code=0)

    answer: dict[str, Any] = {"full_hash": build.full_hash, "run_id": "a run", "question": "Promote it?"}
    decide(desk, Answered, task_id=task, answer=Answer.REJECT, **answer)
    said = verdict(desk, code=1)
    assert f"in the way: {build.full_hash} is {what} at {task}: rover decided so at " in said
    assert "https://bugs/7\n" in said
    assert (asked in said) is (task != "upstream.approve")
    assert "nothing is in the way" not in said


def test_zuul_is_asked_when_the_release_names_one(desk: Desk, zuul: RecordedZuul) -> None:
    (build,) = desk.rdo.candidates(1)
    desk.vote(build, ["build-containers"])
    with_zuul(desk, zuul)
    start = desk.rdo.dlrn.entries(desk.rdo.candidate_label, build)[0].timestamp
    zuul.builds = [
        zuul_build(1, "promote", start_time=start - 20, end_time=start + 20),
        zuul_build(2, "standalone", start_time=start + 60, result=None, end_time=None),
    ]
    said = verdict(desk, code=1)
    assert rows(said)["standalone"][0] == "running"
    assert "CI may still let them: standalone\n" in said
    assert "need a rerun: scenario001\n" in said
    # Its Connection is missing: everything else is told all the same.
    del desk.env["AIRFLOW_CONN_ZUUL_RDO"]
    said = verdict(desk, code=1)
    assert rows(said)["standalone"][0] == "missing"
    assert said.count("CI does not answer: Connection 'zuul_rdo' does not exist") == 1


def test_a_dlrn_or_a_ledger_in_trouble_is_named(desk: Desk) -> None:
    desk.rdo.candidates(1)
    desk.connection("dlrn_centos7_master", host=desk.lab.dlrn.repo_url)
    assert "the host of Connection 'dlrn_centos7_master' is the API's address" in verdict(desk, code=1)
    desk.env["RDO_PROMOTER_LEDGER"] = str(desk.folder / "nowhere")
    assert "ledger" in verdict(desk, code=1)
