"""What a person sees and does in Airflow's UI, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lab.browser import launch, log_in
from tests.airflow.world import World

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.browser,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 1300})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    log_in(page, world.flow.url, *world.flow.login)
    yield page
    page.close()


def test_the_grid_has_a_row_for_each_step_and_job_in_their_order(page: Page, world: World) -> None:
    world.api.pause("centos7-seen", paused=False)
    world.api.trigger("centos7-seen", {"dry_run": True, "hash": world.release("seen").build().full_hash})
    page.goto(f"{world.flow.url}/dags/centos7-seen")
    page.get_by_label("Expand all task groups").click()
    expect(page.get_by_role("link", name="verify")).to_have_count(2)
    shown = page.locator("a[href*='/tasks/']").all_inner_texts()
    # Rows that do not wait for each other, as a gate and its jobs, are sorted by their ids.
    order = ["build", "start", "candidate", "gate", "periodic-seen-build", "votes_in", "tag_containers"]
    order += ["push_containers", "…test1", "…test2", "votes_in", "gate", "hold", "plan", "copy_dockerhub"]
    steps = iter(name.strip() for name in shown)
    assert all(any(name == step for step in steps) for name in order), shown


def test_a_run_can_be_started_from_the_form_as_it_opens(page: Page, world: World) -> None:
    release = world.release("seen")
    build = release.build()
    page.goto(f"{world.flow.url}/dags/centos7-seen")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    start = form.get_by_test_id("trigger-dag-submit")
    expect(start).to_be_enabled()
    form.locator("input[name='element_hash']").fill(build.full_hash)
    form.locator("[id='switch:element_dry_run']").click()
    start.click()
    expect(form).not_to_be_visible()
    runs = [run for run in world.api.runs("centos7-seen") if run.conf.get("hash") == build.full_hash]
    assert len(runs) == 1
    assert runs[0].conf["dry_run"] is True


def test_a_person_decides_in_the_form(page: Page, world: World) -> None:
    page.goto(f"{world.flow.url}/dags/promotions-control")
    page.get_by_role("button", name="Trigger").first.click()
    # The picker of dates is a dialog, too.
    form = page.get_by_role("dialog").filter(has=page.get_by_test_id("trigger-dag-submit"))
    start = form.get_by_test_id("trigger-dag-submit")
    expect(start).to_be_visible()
    expect(start).to_be_disabled()  # nobody decides about a release that was not chosen
    for number, words in ((0, "centos7-seen"), (1, "Hold")):
        form.get_by_role("combobox").nth(number).focus()
        page.keyboard.type(words)
        page.keyboard.press("Enter")
    form.locator("#element_label").fill("seen-current")
    form.locator("#element_reason").fill("CI moves")
    page.get_by_text("Select date and time").click()
    page.get_by_placeholder("YYYY/MM/DD").fill("2099/12/01")
    page.get_by_placeholder("HH:mm").fill("12:30")
    page.keyboard.press("Tab")
    form.get_by_text("Trigger Dag").click()
    start.click()
    expect(form).not_to_be_visible()
    (run,) = [run for run in world.api.runs("promotions-control") if run.conf["release"] == "centos7-seen"]
    assert (run.conf["act"], run.conf["until"]) == ("hold", "2099-12-01T12:30:00.000Z")
    ended = world.api.wait_for_run("promotions-control", run.run_id)
    assert ended.state == "failed"
    reason = str(world.api.xcom("promotions-control", run.run_id, "check", "reason"))
    assert reason.startswith("until: 2099-12-01 12:30:00Z is more than a year ahead: write an earlier time")


def test_a_connection_to_dlrn_can_be_made_and_tested(page: Page, world: World) -> None:
    facts = world.lab.dlrn
    page.goto(f"{world.flow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name='connection_id']").fill("dlrn_by_hand")
    form.get_by_role("combobox").focus()
    page.keyboard.type("DLRN")
    page.keyboard.press("Enter")
    host, _, port = facts.api_url.rpartition(":")
    form.locator("input[name='host']").fill(host)
    form.locator("input[name='port']").fill(port)
    form.locator("input[name='login']").fill(facts.username)
    form.locator("input[name='password']").fill(facts.password)
    form.get_by_role("button", name="Save").click()
    expect(form).not_to_be_visible()
    row = page.get_by_role("row").filter(has_text="dlrn_by_hand")
    expect(row).to_contain_text("dlrn")
    with page.expect_response("**/connections/test") as answer:
        row.get_by_role("button", name="Test Connection").click()
    # The page shows the result as the colour of an icon; this is what it shows it for.
    said = f"DLRN API {facts.api_url} accepts user {facts.username}; nothing was changed"
    assert answer.value.json() == {"status": True, "message": said}
