"""In CI a test that was skipped fails the session: nobody reads a green one for what it has left out."""

from __future__ import annotations

import os

import pytest

#: Tests that CI may skip, by their node ids.
ALLOWED: frozenset[str] = frozenset()


def skipped(config: pytest.Config) -> list[str]:
    """Return the node ids of what was skipped though it may not be; asked of a worker, none."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None or hasattr(config, "workerinput"):
        return []
    return sorted({report.nodeid for report in reporter.stats.get("skipped", [])} - ALLOWED)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session."""
    if skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why."""
    for nodeid in skipped(config):
        terminalreporter.write_line(f"CI skips no test, but skipped {nodeid}", red=True)
