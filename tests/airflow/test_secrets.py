"""No secret of the lab appears anywhere that a person may look, after runs that went well and that failed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import sync_playwright

from lab import jobs
from lab.airflow_settings import ACCOUNTS
from lab.browser import launch, log_in
from rdo_promoter.model.build import DlrnHash
from tests.airflow.evidence import database, leaks, ledger, logs, secrets_of, watched_processes
from tests.airflow.test_runs import start
from tests.airflow.world import Release, Run, World

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(600)]

#: How Airflow's own tokens and those of a registry's token server begin.
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.")

#: A Connection that a person keeps in Airflow's database: those of these tests come from the environment.
KEPT = "registry_kept_by_hand"


@pytest.mark.usefixtures("machines")
def test_no_secret_can_be_read_anywhere(world: World) -> None:
    release = world.release("secret")
    jobs.add_jenkins_job(world.lab.root, "phase1-tests", "RDO_PROMOTER_ID", "RDO_FULL_HASH", takes=1)
    world.api.add_connection(KEPT, world.lab.connections()["registry_dockerhub"])
    with watched_processes() as commands:
        run, build = start(release)
        release.vote(build, "test1", "test2", "weirdo-secret-promote")
        run.wait_for("upstream.started.gate")  # until then CI takes no other build
        refused, in_vain = fail(release), fail_for_a_while(world, release)
        assert run.end(deadline=250) == "success"
        places = {**logs(world), **ledger(world), **database(world), **pages(world, run, build, refused)}
    states = run.states()
    assert {states[f"upstream.{name}"] for name in ("run_jenkins", "run_ssh")} == {"success"}
    secrets = secrets_of(world)
    assert len(secrets) > 100
    assert len([name for name in places if name.startswith("airflow/logs/dag_id=centos7-secret")]) > 25
    facts = [text for name, text in places.items() if "/rdo-promoter-ledger/centos7-secret/" in name]
    assert len([text for text in facts if build.commit_hash in text]) >= 4  # two promotions, planned and done
    assert {"jenkins_lab", "ssh-machine", *ACCOUNTS} <= {
        word for name in secrets for word in re.split("[ /]", name)
    }
    assert {"table xcom", "table rendered_task_instance_fields"} <= set(places)
    tried = [text for name, text in places.items() if in_vain.run_id in name]
    assert any("Traceback" in text or "exc_value" in text for text in tried)
    assert KEPT in places["table connection"]
    assert any("docker-registry" in words for words in commands.values())
    assert leaks(secrets, {**places, **commands}) == []
    assert [where for where, text in {**places, **commands}.items() if JWT.search(text)] == []


def test_a_secret_that_is_there_is_found(world: World) -> None:
    secrets = secrets_of(world)
    for name, secret in secrets.items():
        assert len(secret) >= 8, name
        assert f"a place: {name}" in leaks(secrets, {"a place": f"x {secret} y"})


def fail(release: Release) -> Run:
    """Let a run fail for good, after CI has had its build: nobody has pushed its containers."""
    build = release.build()
    run = release.trigger(build)
    run.wait_for("upstream.candidate")
    release.vote(build, "build")
    run.wait_for("upstream.tag_containers", "failed")
    return run


def fail_for_a_while(world: World, release: Release) -> Run:
    """Let a run fail because nothing answers, with all that the clients say of it."""
    for outage in world.outages.values():
        outage.break_("cut", retry_after=0)
    run = release.trigger(release.build())
    run.wait(
        lambda tasks: any(task.state == "up_for_retry" for task in tasks.values()), "a task is tried again"
    )
    for outage in world.outages.values():
        outage.mend()
    return run


def pages(world: World, run: Run, build: DlrnHash, refused: Run) -> dict[str, str]:
    """Return what Airflow's pages of a run show, as a browser has them.

    :param build: what the run promoted.
    :param refused: a run that failed.
    """
    base = f"{world.flow.url}/dags/{run.dag_id}"
    promote = f"{base}/runs/{run.run_id}/tasks/upstream.promote"
    failed = f"{base}/runs/{refused.run_id}/tasks/upstream.tag_containers"
    # Address -> what the page is there to show.
    addresses = {
        base: "tag_containers",
        f"{base}/details": "Params",
        f"{world.flow.url}/connections": KEPT,
        **{f"{promote}.{task}": build.short for task in ("plan", "copy_dockerhub", "link_images", "dlrn")},
        **{f"{promote}.{task}/xcom": "return_value" for task in ("plan", "dlrn")},
        f"{promote}.plan/details": "PlanOperator",
        f"{promote}.dlrn/details": "CommitOperator",
        failed: "PreflightError",
        f"{failed}/xcom": "reason",
    }
    found = {}
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        log_in(page, world.flow.url, *world.flow.login)
        for address, text in addresses.items():
            page.goto(address, wait_until="networkidle")
            page.get_by_text(text).locator("visible=true").first.wait_for()
            found[f"page {address}"] = page.content()
    return found
