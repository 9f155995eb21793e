"""No secret of the lab appears anywhere that a person may look after a whole run."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import sync_playwright

from lab.browser import launch, log_in
from tests.airflow.evidence import database, leaks, logs, secrets_of, watched_processes
from tests.airflow.test_runs import start
from tests.airflow.world import Run, World

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(400)]

#: How Airflow's own tokens and those of a registry's token server begin.
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.")


def test_no_secret_can_be_read_anywhere(world: World) -> None:
    release = world.release("secret")
    with watched_processes() as commands:
        run, build = start(release)
        release.vote(build, "test1", "test2", "weirdo-secret-promote")
        assert run.end(deadline=250) == "success"
        places = {**logs(world), **database(world), **pages(world, run)}
    secrets = secrets_of(world)
    assert len(secrets) > 20
    assert len([name for name in places if name.startswith("airflow/logs/dag_id=centos7-secret")]) > 25
    assert {"table xcom", "table rendered_task_instance_fields", "page plan"} <= set(places)
    assert any("docker-registry" in words for words in commands.values())
    assert leaks(secrets, {**places, **commands}) == []
    assert [where for where, text in places.items() if JWT.search(text)] == []


def test_a_secret_that_is_there_is_found(world: World) -> None:
    secrets = secrets_of(world)
    planted = {"a log": f"logging in with {world.lab.dlrn.password}"}
    assert leaks(secrets, planted)
    registry = world.lab.registries.dockerhub
    assert leaks(secrets, {"a config": f"x {registry.password} y"})


def pages(world: World, run: Run) -> dict[str, str]:
    """Return what Airflow's pages of a run show, as a browser has them."""
    base = f"{world.flow.url}/dags/{run.dag_id}"
    addresses = {
        "grid": base,
        "details": f"{base}/details",
        "connections": f"{world.flow.url}/connections",
        **{
            task: f"{base}/runs/{run.run_id}/tasks/upstream.promote.{task}"
            for task in ("plan", "copy_dockerhub", "link_images", "dlrn")
        },
        **{
            f"{task} {tab}": f"{base}/runs/{run.run_id}/tasks/upstream.promote.{task}/{tab}"
            for task in ("plan", "dlrn")
            for tab in ("xcom", "rendered_templates", "details")
        },
    }
    found = {}
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        log_in(page, world.flow.url, *world.flow.login)
        for name, address in addresses.items():
            page.goto(address, wait_until="networkidle")
            found[f"page {name}"] = page.content()
    return found
