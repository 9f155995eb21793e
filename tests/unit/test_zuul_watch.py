"""A pipeline that is looked at again and again, by the hook's client, in a triggerer's one poll loop."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from airflow.sdk import Connection

from rdo_promoter.clients.zuul import ZuulClient
from rdo_promoter.engine import ci
from rdo_promoter.engine.ci import HORIZON, PipelineWatch
from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.zuul import ZuulHook
from rdo_promoter.triggers.zuul import join_pipeline
from tests.recorded.zuul import PIPELINE, STATUS, TENANT, RecordedZuul, build

START = 1_790_000_000

Define = Callable[..., str]


@pytest.fixture
def zuul() -> Iterator[RecordedZuul]:
    with RecordedZuul() as server:
        yield server


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch, zuul: RecordedZuul) -> Define:
    def define(**changes: Any) -> str:
        fields = {"conn_type": "zuul", "host": zuul.url, "extra": {"tenant": TENANT}, **changes}
        monkeypatch.setenv("AIRFLOW_CONN_ZUUL_TEST", json.dumps(fields))
        return "zuul_test"

    return define


@pytest.fixture
def watch(zuul: RecordedZuul) -> Iterator[PipelineWatch]:
    watch = PipelineWatch(lambda: ZuulClient(zuul.url, TENANT, retries=0), PIPELINE)
    yield watch
    watch.close()


def test_a_connection_becomes_a_client(define: Define, zuul: RecordedZuul) -> None:
    zuul.builds = [build(1)]
    with ZuulHook(define()).get_conn() as client:
        assert [run.index for run in client.builds(PIPELINE)] == [1]


def test_the_test_button(define: Define, zuul: RecordedZuul) -> None:
    hook = ZuulHook(define())
    message = f"Zuul {zuul.url} answers for tenant {TENANT}; nothing was changed"
    assert hook.test_connection() == (True, message)
    # The UI finds the hook by the Connection's type, and gives it nothing but the id.
    assert Connection.get(hook.zuul_conn_id).test_connection() == (True, message)
    zuul.down()
    asked = len(zuul.seen)
    works, said = hook.test_connection()
    assert (works, len(zuul.seen) - asked) == (False, 1)
    assert "answered 503" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra": {}}, "extra of Connection 'zuul_test' names no 'tenant': add the tenant"),
        ({"extra": {"tenant": "  "}}, "names no 'tenant'"),
        (
            {"extra": {"tenant": 7}},
            "'tenant': Input should be a valid string; known keys: ca, verify, tenant",
        ),
        ({"extra": {"tenant": "elsewhere"}}, "404: Unknown tenant; check the host of Connection 'zuul_test'"),
        ({"extra": {"tenant": TENANT, "verify": False}}, "certificates are always verified"),
        ({"host": ""}, "of Connection 'zuul_test' is empty"),
        ({"host": "https://me:open-sesame@zuul"}, "of Connection 'zuul_test' holds a login"),
        ({"conn_type": "http"}, "Connection 'zuul_test' has type http; it has to be zuul"),
    ],
)
def test_a_connection_that_cannot_be_used(define: Define, changes: dict[str, Any], said: str) -> None:
    works, message = ZuulHook(define(**changes)).test_connection()
    assert not works
    assert said in message
    assert "open-sesame" not in message


def test_only_what_may_be_new_is_asked_for_again(zuul: RecordedZuul, watch: PipelineWatch) -> None:
    running: dict[str, Any] = {"result": None, "end_time": None}
    zuul.builds = [build(n, start_time=START + n) for n in range(1, 251)]
    zuul.builds[239] |= running
    assert len(watch.look().runs) == 250
    assert len(zuul.asked("/builds")) == 3
    zuul.builds[239] = build(240, start_time=START + 240, result="FAILURE")
    zuul.builds.append(build(251, start_time=START + 251, **running))
    zuul.seen.clear()
    seen = watch.look()
    assert len(zuul.asked("/builds")) == 1
    assert "idx_min=239" in zuul.asked("/builds")[0]
    by_index = {run.index: run for run in seen.runs}
    assert (by_index[240].result, by_index[251].running, len(by_index)) == ("FAILURE", True, 251)
    watch.look()
    assert "idx_min=250" in zuul.asked("/builds")[-1]


def test_a_zuul_without_row_numbers_is_read_whole_each_time(zuul: RecordedZuul, watch: PipelineWatch) -> None:
    zuul.builds = [{key: value for key, value in build(1).items() if key != "_id"}]
    assert [run.index for run in watch.look().runs] == [None]
    zuul.builds = [{key: value for key, value in build(1, result="ABORTED").items() if key != "_id"}]
    assert [run.result for run in watch.look().runs] == ["ABORTED"]


def test_what_nobody_waits_for_any_more_is_forgotten(zuul: RecordedZuul, watch: PipelineWatch) -> None:
    # Zuul never wrote an end of the first: it must not be asked for until the end of days.
    zuul.builds = [build(1, start_time=START, result=None, end_time=None), build(2, start_time=START + 5)]
    assert len(watch.look().runs) == 2
    zuul.builds.append(build(3, start_time=START + HORIZON + 3))
    assert [run.index for run in watch.look().runs] == [2, 3]
    watch.look()
    assert "idx_min=2" in zuul.asked("/builds")[-1]


def test_a_zuul_that_does_not_answer_is_told_once(
    zuul: RecordedZuul, watch: PipelineWatch, caplog: pytest.LogCaptureFixture
) -> None:
    zuul.builds = [build(1)]
    with caplog.at_level(logging.INFO, logger=ci.__name__):
        assert watch.look().problem == ""
        for broken in ((503, b""), (200, b"<html>"), (404, b"<p>gone</p>")):
            zuul.instead = {"": broken}
            for _ in range(3):
                seen = watch.look()
                assert str(broken[0]) in seen.problem
                assert (seen.runs, seen.live) == ((), ())
        zuul.instead = {}
        assert [run.index for run in watch.look().runs] == [1]
        zuul.down()
        watch.look()
    said = caplog.messages
    assert [("going on with votes alone" in line, "answers again" in line) for line in said] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert said[0].startswith(f"{PIPELINE}: Zuul GET {zuul.url}/api/tenant/{TENANT}/builds answered 503")


def test_a_status_that_cannot_be_read_costs_queued_jobs_alone(
    zuul: RecordedZuul, watch: PipelineWatch, caplog: pytest.LogCaptureFixture
) -> None:
    zuul.builds, zuul.status = [build(1)], STATUS
    assert len(watch.look().live) == 3
    zuul.instead = {"/status": (200, b"[]")}
    with caplog.at_level(logging.INFO, logger=ci.__name__):
        for _ in range(3):
            seen = watch.look()
            assert (len(seen.runs), seen.live, seen.problem) == (1, (), "")
    assert len(caplog.messages) == 1
    assert "queued jobs are shown as missing" in caplog.messages[0]


def test_a_connection_is_read_anew_after_an_error(zuul: RecordedZuul) -> None:
    clients: list[ConfigError | ZuulClient] = [
        ConfigError("no such Connection"),
        ZuulClient(zuul.url, TENANT, retries=0),
    ]

    def open_client() -> ZuulClient:
        match clients.pop(0):
            case ZuulClient() as client:
                return client
            case error:
                raise error

    watch = PipelineWatch(open_client, PIPELINE)
    assert watch.look().problem == "no such Connection"
    assert watch.look() == watch.look()
    assert clients == []
    watch.close()


def test_all_that_wait_for_a_pipeline_ask_once_a_poll(define: Define, zuul: RecordedZuul) -> None:
    zuul.builds = [build(1)]
    conn_id = define()

    async def test() -> None:
        bells = [asyncio.Event() for _ in range(28)]
        with ExitStack() as stack:
            feeds = [
                stack.enter_context(join_pipeline(conn_id, PIPELINE, poll=0.05, bell=bell)) for bell in bells
            ]
            for expected in ("", "503", ""):
                zuul.instead = {"": (503, b"")} if expected else {}
                while (
                    feeds[0].answer is None
                    or expected not in feeds[0].answer.problem
                    or (not expected and feeds[0].answer.problem)
                ):
                    await asyncio.gather(*(bell.wait() for bell in bells))
                    for bell in bells:
                        bell.clear()
            # Nobody's wait has ended, and nobody's was disturbed.
            assert (feeds[0].failure, feeds[0].error) == (None, None)
            assert all(feed is feeds[0] for feed in feeds)

    asyncio.run(asyncio.wait_for(test(), 20))
    assert len(zuul.asked("/status")) <= len(zuul.asked("/builds")) < 28
