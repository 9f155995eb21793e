"""Zuul's client against recorded answers: what it asks, what it reads, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.ports import free_port
from lab.service import HOST
from rdo_promoter.clients.zuul import PAGE, ZuulClient
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError
from rdo_promoter.model.ci import JobRun
from tests.recorded.zuul import PIPELINE, STATUS, TENANT, RecordedZuul, build, flat

#: 2026-11-23 00:23:38 and :59 UTC, as in the recorded build.
STARTED, ENDED = 1795393418, 1795393439


@pytest.fixture
def zuul() -> Iterator[RecordedZuul]:
    with RecordedZuul() as server:
        yield server


@pytest.fixture
def client(zuul: RecordedZuul) -> Iterator[ZuulClient]:
    with ZuulClient(zuul.url, TENANT, retries=1, backoff=0.01) as client:
        yield client


def test_a_recorded_build(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.builds = [build(7)]
    assert client.builds(PIPELINE) == [
        JobRun(
            uuid="0000007" + "a" * 25,
            job="periodic-job-ok-master",
            result="SUCCESS",
            started=STARTED,
            ended=ENDED,
            pipeline="periodic-integration-main",
            buildset="0000001" + "b" * 25,
            project="ci/jobs",
            branch="master",
            log_url="http://logs.example.org/4cc3b9f/",
            index=7,
        )
    ]


def test_both_shapes_of_a_build_are_the_same_run(zuul: RecordedZuul, client: ZuulClient) -> None:
    changed = build(7, ref={"project": "openstack/nova", "branch": "stable", "change": 42, "ref": "refs/x"})
    for row in (build(7), build(7, change=3), changed | {"ref": changed["ref"] | _REST}):
        zuul.builds = [row]
        (nested,) = client.builds(PIPELINE)
        zuul.builds = [flat(row)]
        (told_flat,) = client.builds(PIPELINE)
        assert (nested.index, told_flat.index) == (7, None)
        for name in ("project", "branch", "change", "started", "buildset", "pipeline"):
            assert getattr(nested, name) == getattr(told_flat, name), name
    assert nested.change == "42"


_REST = {"patchset": "1", "newrev": None, "oldrev": None}


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"result": None, "end_time": None}, (True, False, "DEQUEUED")),
        ({"result": None}, (False, False, "DEQUEUED")),  # dequeued: no result for ever, but an end
        ({"result": "SUCCESS"}, (False, True, "SUCCESS")),
        ({"result": "SUCCESS", "final": False}, (False, False, "SUCCESS")),
        ({"result": "NODE_FAILURE", "start_time": None}, (False, False, "NODE_FAILURE")),
    ],
)
def test_what_a_run_has_come_to(
    zuul: RecordedZuul, client: ZuulClient, changes: dict[str, Any], facts: tuple[bool, bool, str]
) -> None:
    zuul.builds = [build(1, **changes)]
    (run,) = client.builds(PIPELINE)
    assert (run.running, run.passed, run.outcome) == facts


def test_filters_are_asked_as_zuul_spells_them(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.builds = [build(1, "a-1"), build(2, "b-1"), build(3, "c-1"), build(4, "a-2", result="FAILURE")]
    found = client.builds(PIPELINE, jobs=["a-*", "c-1"], results=["SUCCESS", "TIMED_OUT"], final=True)
    assert [run.job for run in found] == ["c-1", "a-1"]
    (question,) = zuul.seen
    assert question == (
        f"/zuul/api/tenant/{TENANT}/builds?pipeline={PIPELINE}&limit={PAGE}&skip=0"
        "&job_name=a-%2A&job_name=c-1&result=SUCCESS&result=TIMED_OUT&final=1"
    )


def test_only_what_may_be_new_is_asked_for(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.builds = [build(number) for number in range(1, 31)]
    assert [run.index for run in client.builds(PIPELINE, index_min=28)] == [30, 29, 28]
    assert "idx_min=28" in zuul.seen[-1]


def test_a_zuul_without_numbers_is_asked_for_everything(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.unknown = frozenset({"idx_min"})
    zuul.builds = [build(number) for number in range(1, 4)]
    for _ in range(2):
        assert len(client.builds(PIPELINE, index_min=3)) == 3
    assert [("idx_min" in question) for question in zuul.seen] == [True, False, False]


def test_pages_are_read_as_far_as_they_are_needed(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.builds = [build(n, start_time=STARTED + 60 * n) for n in range(1, 5 * PAGE + 1)]
    recent = client.recent_builds(PIPELINE, horizon=60 * 150)
    assert [run.index for run in recent] == list(range(500, 300, -1))
    assert len(zuul.seen) == 2
    assert len(client.recent_builds(PIPELINE, horizon=60 * 150, index_min=490)) == 11
    assert len(zuul.seen) == 3
    assert len(client.recent_builds(PIPELINE, horizon=10**9)) == 500
    assert len(client.recent_builds(PIPELINE, horizon=10**9, pages=3)) == 300


def test_rows_that_move_down_while_pages_are_read_count_once(
    zuul: RecordedZuul, client: ZuulClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    zuul.builds = [build(n) for n in range(1, PAGE + 11)]
    ask = zuul._answer

    def answer(path: str) -> tuple[int, bytes]:
        answered = ask(path)
        zuul.builds.append(build(len(zuul.builds) + 1))
        return answered

    monkeypatch.setattr(zuul, "_answer", answer)
    assert [run.index for run in client.recent_builds(PIPELINE, horizon=10**9)] == list(range(110, 0, -1))


def test_a_buildset_with_attempts_that_were_made_once_more(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.builds = [
        build(1, "promote"),
        build(2, "test", result="RETRY", final=False),
        build(3, "test", result="FAILURE", voting=False),
        build(4, "test", buildset=2),
    ]
    uuid = build(1)["buildset"]["uuid"]
    zuul.results[uuid] = "SUCCESS"
    found = client.buildset(uuid)
    assert (found.uuid, found.pipeline, found.result) == (uuid, PIPELINE, "SUCCESS")
    assert [(run.job, run.result, run.final, run.voting) for run in found.runs] == [
        ("promote", "SUCCESS", True, True),
        ("test", "FAILURE", True, False),
        ("test", "RETRY", False, True),
    ]
    assert {(run.pipeline, run.buildset) for run in found.runs} == {(PIPELINE, uuid)}
    other = build(4, buildset=2)["buildset"]["uuid"]
    assert [(each.uuid, each.result) for each in client.buildsets(PIPELINE)] == [
        (other, None),
        (uuid, "SUCCESS"),
    ]
    with pytest.raises(NotFoundError, match=r"404: Buildset not found; Zuul does not know buildset 0000009"):
        client.buildset("0000009" + "b" * 25)


def test_the_recorded_status(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.status = STATUS
    live = client.live(PIPELINE)
    assert [(job.job, job.result, job.remaining, job.started) for job in live] == [
        ("periodic-job-ok-master", "SUCCESS", 0, 1795394400),
        ("periodic-job-bad-master", "FAILURE", 0, 1795394400),
        ("periodic-job-long-master", None, 17, 1795394400),
    ]
    assert {(job.item, job.queued) for job in live} == {(0, 1795394400)}
    assert client.live("post") == client.live("elsewhere") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uuid": "../../x"}, "0.uuid is '../../x'"),
        ({"uuid": None}, "0.uuid is None"),
        ({"uuid": "a" * 32 + "\n"}, "0.uuid"),
        ({"job_name": ""}, "0.job_name is ''"),
        ({"job_name": 7}, "0.job_name is 7"),
        ({"start_time": "soon"}, "0.start_time is 'soon'"),
        ({"start_time": "9999-12-31T23:59:59-12:00"}, "0.start_time"),
        ({"end_time": -1}, "0.end_time"),
        ({"end_time": 1e300}, "0.end_time"),
        ({"voting": "yes"}, "0.voting is 'yes'"),
        ({"result": ["SUCCESS"]}, "0.result"),
        ({"result": ""}, "0.result"),
        ({"buildset": None}, "0.buildset is missing"),
        ({"buildset": {"uuid": "x"}}, "0.buildset.uuid is 'x'"),
        ({"pipeline": "check"}, "0 is of pipeline 'check', asked was 'periodic-integration-main'"),
        ({"pipeline": None}, "0 is of pipeline ''"),
        ({"_id": "1"}, "0._id is '1'"),
        ({"ref": 7}, "0.ref"),
    ],
)
def test_a_build_that_is_none_is_refused_and_named(
    zuul: RecordedZuul, client: ZuulClient, changes: dict[str, Any], said: str
) -> None:
    zuul.instead = {"/builds": (200, json.dumps([{**build(1), **changes}]).encode())}
    with pytest.raises(AnswerError) as caught:
        client.builds(PIPELINE)
    assert str(caught.value).startswith(f"Zuul GET {zuul.url}/api/tenant/{TENANT}/builds of {PIPELINE}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (200, b"<html><title>Welcome</title></html>", AnswerError, "without JSON (Welcome)"),
        (200, b"", AnswerError, "without JSON"),
        (200, b'{"a": ' * 100_000, AnswerError, "without JSON"),
        (200, b"[" * 100_000 + b"]" * 100_000, AnswerError, "without JSON"),
        (200, b'"\xff\xfe"', AnswerError, "is this the address of a Zuul?"),
        (200, b"{}", AnswerError, "answer is {}"),
        (200, b"[1]", AnswerError, "0 is 1"),
        (200, b"null", AnswerError, "answer is None"),
        (404, b"<p>Unknown tenant</p>", ConfigError, "404: Unknown tenant; check the host of"),
        (401, b"<p>No</p>", AuthError, "401: No"),
        (403, b"{}", AuthError, "403"),
        (418, b"<p>I am\n\x1b[31m a teapot</p>", AnswerError, r"418: I am \x1b[31m a teapot"),
        (429, b"", ServiceError, "429"),
        (500, b"<html><title>500 Internal</title><p>The server</p></html>", ServiceError, "500: The server"),
        (503, b"", ServiceError, "503"),
    ],
)
def test_what_is_no_answer_is_told_in_one_line(  # noqa: PLR0917 - a table's columns
    zuul: RecordedZuul, client: ZuulClient, status: int, body: bytes, error: type[Exception], said: str
) -> None:
    zuul.instead = {"": (status, body)}
    for ask in (
        lambda: client.builds(PIPELINE),
        lambda: client.buildsets(PIPELINE),
        lambda: client.recent_builds(PIPELINE, horizon=1),
        client.check,
    ):
        if ask == client.check and body == b"[1]":
            continue  # a list is enough for the test button
        with pytest.raises(error) as caught:
            ask()
        text = str(caught.value)
        assert said in text
        assert text.startswith(f"Zuul GET {zuul.url}/api/tenant/{TENANT}/builds")
        assert text.isprintable()
        assert len(text) < 500


@pytest.mark.parametrize(
    "status",
    [
        [],
        {},
        {"pipelines": None},
        {"pipelines": [{"name": PIPELINE, "change_queues": [{"heads": [{}]}]}]},
        {"pipelines": [{"name": PIPELINE, "change_queues": [{"heads": [[{"jobs": [{"name": None}]}]]}]}]},
        {"pipelines": [{"name": PIPELINE, "change_queues": [{"heads": [[{"enqueue_time": 1e30}]]}]}]},
        {"pipelines": [{"name": PIPELINE, "change_queues": [{"heads": [[{"enqueue_time": float("nan")}]]}]}]},
    ],
)
def test_a_status_of_another_shape_is_refused(zuul: RecordedZuul, client: ZuulClient, status: object) -> None:
    zuul.status = status
    with pytest.raises(AnswerError, match="/status: "):
        client.live(PIPELINE)


def test_a_buildset_for_another_is_refused(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.builds = [build(1)]
    uuid, other = build(1)["buildset"]["uuid"], "c" * 32
    zuul.instead = {f"/buildset/{other}": zuul._answer(f"/zuul/api/tenant/{TENANT}/buildset/{uuid}")}
    with pytest.raises(AnswerError, match=f"asked was buildset {other}, the answer is about {uuid}"):
        client.buildset(other)


def test_questions_are_asked_again_and_counted(zuul: RecordedZuul, client: ZuulClient) -> None:
    zuul.down()
    with pytest.raises(ServiceError):
        client.builds(PIPELINE)
    assert len(zuul.seen) == client.requests_made == 2


def test_nobody_listens_and_no_login_is_repeated() -> None:
    with (
        ZuulClient(f"http://user:open-sesame@{HOST}:{free_port()}", TENANT, retries=0) as client,
        pytest.raises(ServiceError, match="Connection refused") as caught,
    ):
        client.builds(PIPELINE)
    assert "open-sesame" not in f"{caught.value} {client!r}"


def test_a_tenant_is_one_part_of_the_path(zuul: RecordedZuul) -> None:
    with ZuulClient(zuul.url, "../x?y#z", retries=0) as client, pytest.raises(ConfigError, match="Unknown"):
        client.check()
    assert zuul.seen == ["/zuul/api/tenant/..%2Fx%3Fy%23z/builds?limit=1"]
