"""A container on a real engine, by the provider's operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from rdo_promoter.clients.engine import look
from rdo_promoter.errors import ServiceError
from rdo_promoter.hooks.engine import engine_of
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.jobs import ID_NAME, TESTED, TOLD
from rdo_promoter.operators.container import RunContainerOperator
from tests.jobs.desk import Ballot, Desk

pytestmark = pytest.mark.lab

MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk(services: ConnectionServices, image: str, ballot: Ballot) -> MakeDesk:
    def make(*words: str, dry_run: bool = False, **changes: Any) -> Desk:
        settings: dict[str, Any] = {
            "conn_id": "docker_jobs",
            "image": image,
            "words": words,
            "told": TOLD,
            "line": TESTED,
            "tested_label": "ci-testing",
            "within": 600,
            "poll": 0.1,
            **changes,
        }
        task = Desk(
            lambda: RunContainerOperator(task_id="run", services=services, **settings),
            ballot.build,
            dry_run=dry_run,
        )
        task.ti.run_id = f"manual__{ballot.job}"
        return task

    return make


@pytest.fixture
def engine(image: str) -> Iterator[Any]:
    with engine_of("docker_jobs").client() as client:
        yield client


def test_a_container_is_told_the_build_and_its_end_becomes_a_vote(
    desk: MakeDesk, engine: Any, ballot: Ballot, capsys: pytest.CaptureFixture[str]
) -> None:
    script = 'echo "$0 $1"; env; echo "tested $RDO_FULL_HASH"'
    task = desk("sh", "-c", script, "{label}", "it's $HOME", report_vote=ballot.job)
    assert task.run()["end"] == "passed"
    build, said = ballot.build, capsys.readouterr().out
    assert "[container] ci-testing it's $HOME" in said
    assert f"[container] RDO_REPO_URL={ballot.lab.dlrn.repo_url}/{build.path}" in said
    assert f"[container] {ID_NAME}={task.id}" in said
    (vote,) = ballot.votes()
    assert (vote.success, vote.url) == (True, task.ti.log_url)
    assert look(engine, task.id, "the engine") is None  # removed


def test_it_waits_in_the_triggerer_for_a_container_that_takes_its_time(desk: MakeDesk, engine: Any) -> None:
    task = desk("sh", "-c", 'trap exit TERM; echo "tested $RDO_FULL_HASH"; while :; do sleep 0.05; done')
    task.execute()
    assert task.waiting is not None
    found = engine.inspect_container(task.id)
    assert found["State"]["Running"]
    assert found["Config"]["Labels"]["rdo-promoter.job"] == task.id
    assert task.go_on(between=lambda: engine.kill(task.id, "TERM"))["end"] == "passed"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo "tested $RDO_FULL_HASH"; exit 3', "failed: ended with 3"),
        ("true", "doubtful: ended with 0, but its output does not name the build"),
        ("echo tested deadbeef", "its output names deadbeef, and this run carries"),
    ],
)
def test_what_did_not_pass_for_this_build_fails_the_task(
    desk: MakeDesk, ballot: Ballot, script: str, said: str
) -> None:
    with pytest.raises(AirflowFailException, match=said):
        desk("sh", "-c", script, report_vote=ballot.job).run()
    assert [vote.success for vote in ballot.votes()] == ([False] if "failed:" in said else [])


def test_an_image_that_there_is_not_is_named(desk: MakeDesk, image: str) -> None:
    absent = image.replace(":1", ":2")
    with pytest.raises((AirflowFailException, ServiceError), match=absent):
        desk("true", image=absent).run()


def test_a_container_that_somebody_removed_is_lost(desk: MakeDesk, engine: Any) -> None:
    task = desk("sleep", "60")
    task.execute()
    engine.remove_container(task.id, force=True)
    with pytest.raises(AirflowFailException, match="lost: it is not on docker_jobs any more"):
        task.go_on()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"host": "tcp://127.0.0.1:2375"}, "has no 'tls_ca_cert', 'tls_client_cert', 'tls_client_key'"),
        ({"host": "https://quay.io"}, "has no 'tls_ca_cert'"),
        ({"host": "ssh://root@example.org"}, "is no container engine: write unix:///run/docker.sock"),
        ({"host": "quay.io"}, "is no container engine"),
        ({"host": ""}, "is no container engine"),
        (
            {
                "host": "tcp://example.org",
                "extra": {"tls_ca_cert": "/a", "tls_client_cert": "/b", "tls_client_key": "/c"},
            },
            "names /a, which does not exist",
        ),
    ],
)
def test_an_engine_that_cannot_be_reached_safely_is_refused(
    desk: MakeDesk, connect: Callable[[str, dict[str, Any]], None], content: dict[str, Any], said: str
) -> None:
    connect("docker_jobs", {"conn_type": "docker", **content})
    with pytest.raises(AirflowFailException, match=said):
        desk("true").run()


def test_an_engine_that_is_away_is_tried_again(
    desk: MakeDesk, connect: Callable[[str, dict[str, Any]], None]
) -> None:
    connect("docker_jobs", {"conn_type": "docker", "host": "unix:///nowhere/engine.sock"})
    with pytest.raises(ServiceError, match=r"container engine unix:///nowhere/engine\.sock"):
        desk("true").run()


def test_a_dry_run_asks_the_engine_and_starts_nothing(
    desk: MakeDesk, engine: Any, ballot: Ballot, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(engine.containers(all=True))
    assert desk("echo", "{full_hash}", dry_run=True).run() == {"dry_run": True}
    assert len(engine.containers(all=True)) == before
    said = f"dry run: would start {image} on docker_jobs: echo {ballot.build.full_hash}"
    assert f"{ballot.build.short} {said}" in capsys.readouterr().out
