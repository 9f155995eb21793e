"""Takes the picture of the README: the grid of the Dag in the Airflow of a running demo.

    python -m lab.screenshot URL PASSWORD FILE.png

with the address and the password that the demo prints.
"""

from __future__ import annotations

import sys

from playwright.sync_api import sync_playwright

from lab.airflow_settings import USER
from lab.browser import launch, log_in


def main(url: str, password: str, file: str, dag_id: str = "centos7-master") -> None:
    """Save the grid with all groups open."""
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page(viewport={"width": 760, "height": 1010}, device_scale_factor=1.5)
        log_in(page, url, USER, password)
        page.goto(f"{url}/dags/{dag_id}")
        page.get_by_label("Expand all task groups").click()
        # The grid takes the whole width when the bar beside it is moved to the right.
        bar = page.locator("[data-panel-resize-handle-id], [role='separator']").first.bounding_box()
        if bar is not None:
            page.mouse.move(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 3)
            page.mouse.down()
            page.mouse.move(750, bar["y"] + bar["height"] / 3, steps=10)
            page.mouse.up()
        page.get_by_role("link", name="verify").wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=file)


if __name__ == "__main__":
    main(*sys.argv[1:])
