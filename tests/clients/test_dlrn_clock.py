"""DLRN's clock, this machine's, and what a proxy between them does to the Date of a real DLRN's answers."""

from __future__ import annotations

import logging
import time
from email.utils import formatdate

import pytest

from lab.faults import FaultProxy
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.errors import AnswerError
from rdo_promoter.model.clock import utc

pytest_plugins = ["tests.clients.dlrn_fixtures"]
pytestmark = pytest.mark.lab

LOGGER = "rdo_promoter.clients.dlrn_api"


def http_date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def test_two_clocks_that_agree(client: DlrnClient, label: str, caplog: pytest.LogCaptureFixture) -> None:
    assert client.skew is None, "nothing has been asked yet"
    client.current(label)
    assert client.skew == pytest.approx(0, abs=2)
    assert caplog.records == []


@pytest.mark.parametrize(("offset", "words"), [(-90, "ahead of"), (3600, "behind")])
def test_a_skewed_clock_is_said_once_a_client_with_both_times(
    shaky: DlrnClient, api_proxy: FaultProxy, offset: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = time.time() + offset
    api_proxy.headers["Date"] = http_date(server)
    for _ in range(3):
        shaky.check_credentials()
    assert shaky.skew == pytest.approx(-offset, abs=3)
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    said = record.getMessage()
    assert record.levelno == logging.WARNING
    assert f" s {words} that of DLRN at {api_proxy.url}" in said
    assert f"there it was {utc(int(server))}" in said
    assert "NTP" in said


def test_a_small_skew_is_known_and_not_said(
    shaky: DlrnClient, api_proxy: FaultProxy, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    api_proxy.headers["Date"] = http_date(time.time() - 20)
    shaky.current(label)
    assert shaky.skew == pytest.approx(19, abs=2)
    assert caplog.records == []


def test_ages_go_by_dlrns_clock_and_not_by_this_machines(shaky: DlrnClient, api_proxy: FaultProxy) -> None:
    server = int(time.time()) - 86_400
    api_proxy.headers["Date"] = http_date(server)
    assert 0 <= shaky.now() - server <= 60


def test_a_date_without_a_zone_is_utc(
    shaky: DlrnClient, api_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        api_proxy.headers["Date"] = http_date(time.time()).replace("GMT", "-0000")
        assert abs(shaky.now() - time.time()) <= 60
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_answer_out_of_a_cache_is_not_now(
    shaky: DlrnClient, api_proxy: FaultProxy, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    api_proxy.headers |= {"Date": http_date(time.time() - 7200), "Age": "7200"}
    shaky.current(label)
    assert shaky.skew is None
    with pytest.raises(AnswerError, match="Age header"):
        shaky.now()
    asked = api_proxy.seen("GET", "/api/health")
    assert [one.headers.get("Cache-Control") for one in asked] == ["no-cache"]
    # What caches add to an answer that they have just fetched.
    api_proxy.headers |= {"Date": http_date(time.time()), "Age": "0"}
    assert abs(shaky.now() - time.time()) <= 60
    assert caplog.records == []


def test_a_cached_answer_does_not_set_the_clock_back(
    shaky: DlrnClient, api_proxy: FaultProxy, label: str
) -> None:
    before = shaky.now()
    api_proxy.headers |= {"Date": http_date(time.time() - 7200), "Age": "7200"}
    shaky.current(label)
    assert shaky.now() >= before


@pytest.mark.parametrize("date", ["", "yesterday", "0"])
def test_a_server_without_a_date_is_named(shaky: DlrnClient, api_proxy: FaultProxy, date: str) -> None:
    api_proxy.headers["Date"] = date
    with pytest.raises(AnswerError, match=f"DLRN at {api_proxy.url} sends no Date header"):
        shaky.now()
    assert shaky.skew is None


def test_a_clock_that_is_right_again(shaky: DlrnClient, api_proxy: FaultProxy, label: str) -> None:
    api_proxy.headers["Date"] = http_date(time.time() - 7200)
    shaky.current(label)
    assert shaky.skew == pytest.approx(7199, abs=3)
    del api_proxy.headers["Date"]
    shaky.current(label)
    assert shaky.skew == pytest.approx(0, abs=2)
