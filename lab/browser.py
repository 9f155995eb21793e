"""A headless Chromium for looking at Airflow's pages: in tests, and for the picture in the README."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.prerequisites import CHROMIUM

if TYPE_CHECKING:  # a development tool; the rest of the lab does without
    from playwright.sync_api import Browser, Page, Playwright

#: Without these Chromium asks its maker's hosts for news all the time.
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",  # root has none; only pages of this machine are opened
)


def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium.

    :raises LabError: when it is not installed.
    """
    return playwright.chromium.launch(executable_path=CHROMIUM.require(), args=list(_QUIET))


def log_in(page: Page, url: str, username: str, password: str) -> None:
    """Log in to Airflow as a person does."""
    page.goto(url)
    page.fill("input[name='username']", username)
    page.fill("input[name='password']", password)
    page.click("button[type='submit']")
    page.get_by_role("link", name="Dags").first.wait_for()
