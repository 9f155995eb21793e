"""What is shown of a build before a person promotes it, and what is shown when it cannot be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from lab import dlrn as lab_dlrn
from tests.cli.desk import Desk
from tests.recorded.zuul import PIPELINE, TENANT, RecordedZuul

pytestmark = pytest.mark.lab

#: Jobs that the stage starts before its last gate: of the first the Dag waits for nothing but its end.
STARTED = """\
      - run_ssh: {connection: ssh_lab, command: [run-tests], within: 1h}
      - run_jenkins: {connection: jenkins_lab, job: tests, within: 1h, report_vote: standalone}
      - run_container: {connection: docker_lab, image: "quay.io/rdo/t:1", within: 1h, gates: nothing}
"""


def _absent(desk: Desk) -> str:
    """The build with another distro hash, as of another branch of its distgit."""
    commit_hash, _, distro_hash = desk.rdo.build().full_hash.partition("_")
    return f"{commit_hash}_{distro_hash[::-1]}"


def _purged(desk: Desk) -> str:
    build = lab_dlrn.add_build(desk.lab.root, when=int(time.time()))
    lab_dlrn.purge(desk.lab.root, build)
    return build.full_hash


@pytest.mark.parametrize("named", [_absent, _purged])
def test_a_hash_that_is_not_there_is_refused_with_what_it_may_be(
    desk: Desk, named: Callable[[Desk], str]
) -> None:
    full_hash = named(desk)
    untouched = desk.rdo.state()
    wrong = (
        f"build {full_hash}: DLRN has no directory for it below {desk.lab.dlrn.repo_url}. It is of another "
        "release, or it was purged, or never built; look for it there"
    )
    said = desk.run("plan", desk.name, "--hash", full_hash, code=1)
    assert f"stage upstream: refused: {wrong}" in said
    said = desk.run("verdict", desk.name, "--hash", full_hash, code=1)
    assert f"stage upstream: refused: {wrong}" in said
    promote = ("promote", desk.name, "--stage", "upstream", "--hash", full_hash, "--no-dry-run")
    assert f"\n{wrong}" in desk.run(*promote, code=1)
    assert desk.rdo.state() == untouched
    assert desk.ledger.facts() == []


def test_a_stage_that_cannot_be_looked_at_now_hides_no_other(desk: Desk) -> None:
    """A Zuul decides in the first one and does not answer; the second one does without it."""
    (build,) = desk.tested()
    text = desk.file.read_text().replace(
        "\nstages:\n", f"\nzuul: {{connection: zuul_rdo, pipeline: {PIPELINE}}}\nstages:\n"
    )
    text = text.replace("name: tests,", "name: tests, evidence: zuul_buildset,")
    desk.file.write_text(
        f"{text}  - name: phase1\n    source: {desk.rdo.label}\n    steps:\n"
        "      - wait_for: {jobs: [weirdo], within: 2d}\n"
        f"      - promote: {{label: {desk.rdo.label}-rdo, tag_in: [rdo]}}\n"
    )
    with RecordedZuul() as zuul:
        fields = {"conn_type": "zuul", "host": zuul.url, "extra": {"tenant": TENANT}}
        desk.env["AIRFLOW_CONN_ZUUL_RDO"] = json.dumps(fields)
        zuul.down()
        shown = desk.run("plan", desk.name, "--hash", build.full_hash, code=1)
    upstream, phase1 = shown.split("\nstage ")[1:]
    assert upstream.startswith("upstream: not known now, look again later: Zuul ")
    assert "503" in upstream
    assert phase1.startswith(f"phase1: {build.full_hash} to {desk.rdo.label}-rdo")
    assert "weirdo: missing" in phase1
    assert f"{build.full_hash} never held {desk.rdo.label}" in phase1


def test_jobs_that_airflow_alone_knows_of_are_named(desk: Desk) -> None:
    """A job whose result is a vote is judged by it, and what gates nothing is not asked for."""
    (build,) = desk.tested()
    text = desk.file.read_text()
    before = "      - wait_for: {name: tests,"
    assert before in text
    desk.file.write_text(text.replace(before, f"{STARTED}{before}"))
    shown = desk.run("plan", desk.name, "--hash", build.full_hash, code=0)
    notes = [line for line in shown.splitlines() if line.startswith("  note: ")]
    (note,) = notes
    assert note.startswith(
        f"  note: whether the job of upstream.run_ssh passed for {build.full_hash} nobody knows without"
    )
    said = desk.promote(build, "--no-dry-run", code=0)
    assert note in said
    assert desk.rdo.state().label == build.full_hash
