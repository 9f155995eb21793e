"""An outage before real services: what their clients see, and that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import paramiko
import psutil
import pytest
import requests

from lab import outage
from lab.certificates import server_files
from lab.images import push_build
from lab.lab import Lab
from lab.outage import Outage, before
from lab.registries import LabRegistry
from lab.service import HOST, LabError, listens, wait_for
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.registry import Registry
from rdo_promoter.errors import ServiceError
from tests.clients.registry_fixtures import running_registries
from tests.clients.sshd_fixtures import login

pytestmark = pytest.mark.lab

#: A tag of an image whose layers are a few hundred kilobytes.
TAG = "a" * 40 + "_bbbbbbbb"


@pytest.fixture
def rdo(lab: Lab) -> Iterator[Outage]:
    with before(lab.registries.rdo) as found:
        yield found


def client(registry: LabRegistry, through: Outage, **options: Any) -> Registry:
    """Return the package's client of a registry behind an outage; it does not wait long between its tries."""
    return Registry(
        through.url,
        **{
            "name": registry.name,
            "username": registry.username,
            "password": registry.password,
            "verify": str(registry.ca) if registry.ca else True,
            "retries": 1,
            "backoff": 0.01,
            **options,
        },
    )


@pytest.mark.parametrize("name", ["rdo", "dockerhub"])
def test_while_nothing_is_broken_it_only_passes_on(lab: Lab, namespace: str, name: str) -> None:
    registry: LabRegistry = getattr(lab.registries, name)
    with before(registry) as through:
        with client(registry, through) as pushing:
            push_build(pushing, namespace, ["nova-api", "mariadb"], TAG, prefix="")
        assert through.requests > 10
    with registry.client() as direct:
        for container in ("nova-api", "mariadb"):
            assert direct.head(f"{namespace}/{container}", TAG) is not None


def test_uploads_go_on_where_they_began(rdo: Outage, namespace: str) -> None:
    """A registry builds an upload's address from the Host header: it has to be the proxy's."""
    answer = requests.post(f"{rdo.url}/v2/{namespace}/x/blobs/uploads/", timeout=10)
    assert answer.headers["Location"].startswith(f"{rdo.url}/v2/{namespace}/x/blobs/uploads/")

    def chunks() -> Iterator[bytes]:
        yield from (b"first ", b"second")

    sent = requests.patch(answer.headers["Location"], data=chunks(), timeout=10)
    assert (sent.status_code, sent.headers["Range"]) == (202, "0-11")


def test_down_refuses_and_cuts_what_there_is(lab: Lab, rdo: Outage) -> None:
    with requests.Session() as session, client(lab.registries.rdo, rdo) as registry:
        assert session.get(f"{rdo.url}/v2/", timeout=10).ok
        rdo.break_("down")
        rdo.break_("down")
        assert rdo.broken == "down"
        assert not listens(rdo.port)
        with pytest.raises(requests.ConnectionError, match="refused"):
            session.get(f"{rdo.url}/v2/", timeout=10)
        with pytest.raises(ServiceError):
            registry.ping()
        rdo.mend()
        rdo.mend()
        assert rdo.broken is None
        registry.ping()
        assert session.get(f"{rdo.url}/v2/", timeout=10).ok


def test_down_cuts_also_an_answer_that_is_awaited(rdo: Outage) -> None:
    rdo.break_("slow", seconds=60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(requests.get, f"{rdo.url}/v2/", timeout=30)
        wait_for(lambda: rdo.requests == 1, "the request has come")
        rdo.break_("down")
        with pytest.raises(requests.ConnectionError):
            waiting.result(timeout=10)


def test_slow_answers_late_and_at_once_when_mended(rdo: Outage) -> None:
    rdo.break_("slow", seconds=0.3)
    began = time.monotonic()
    assert requests.get(f"{rdo.url}/v2/", timeout=10).ok
    assert time.monotonic() - began >= 0.3
    rdo.break_("slow", seconds=60)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(requests.post, f"{rdo.url}/v2/late/x/blobs/uploads/", timeout=30)
        wait_for(lambda: rdo.requests == 2, "the request has come")
        assert not late.done()
        rdo.mend()
        assert late.result(timeout=10).status_code == 202


@pytest.mark.parametrize("how", ["429", "503", "cut", "down"])
def test_some_requests_go_well_before_it(rdo: Outage, how: str) -> None:
    rdo.break_(how, after=2)
    with requests.Session() as session:
        for _ in range(2):
            assert session.get(f"{rdo.url}/v2/", timeout=10).ok
        assert listens(rdo.port)
        for _ in range(2):
            try:
                assert session.get(f"{rdo.url}/v2/", timeout=10).status_code == int(how)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                assert how in ("cut", "down")
        assert listens(rdo.port) is (how != "down")
        rdo.mend()
        assert session.get(f"{rdo.url}/v2/", timeout=10).ok


def test_what_was_planned_and_mended_does_not_happen(rdo: Outage) -> None:
    rdo.break_("down", after=1)
    rdo.mend()
    for _ in range(3):
        assert requests.get(f"{rdo.url}/v2/", timeout=10).ok


def test_a_429_says_when_to_come_back(rdo: Outage) -> None:
    rdo.break_("429", retry_after=7)
    assert requests.get(f"{rdo.url}/v2/", timeout=10).headers["Retry-After"] == "7"


def test_addresses_that_a_service_names_lead_to_another_proxy(lab: Lab) -> None:
    quay = lab.registries.quay
    assert quay.issuer is not None
    names = {quay.issuer.realm: "https://tokens.example.org/token"}
    with Outage(HOST, quay.service.port, server_files(quay.folder), names=names) as through:
        answer = requests.get(f"{through.url}/v2/", timeout=10, verify=str(quay.ca))
        assert 'realm="https://tokens.example.org/token"' in answer.headers["WWW-Authenticate"]
        assert str(quay.issuer.service.port) not in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(("how", "headers"), [("429", {"Retry-After": "1"}), ("503", {})])
def test_later_is_answered_and_nothing_is_done(
    lab: Lab, rdo: Outage, namespace: str, how: str, headers: dict[str, str]
) -> None:
    rdo.break_(how)
    answer = requests.put(f"{rdo.url}/v2/{namespace}/x/manifests/t", data=b"{}", timeout=10)
    assert answer.status_code == int(how)
    assert headers.items() <= answer.headers.items()
    already = rdo.requests
    with client(lab.registries.rdo, rdo, retries=1) as registry:
        with pytest.raises(ServiceError, match=how):
            registry.ping()
        assert rdo.requests == already + 2
        rdo.mend()
        registry.ping()


def test_cut_does_the_work_and_loses_the_answer(lab: Lab, rdo: Outage, namespace: str) -> None:
    with lab.registries.rdo.client() as direct:
        push_build(direct, namespace, ["nova-api"], TAG, prefix="")
    manifest = lab.registries.rdo.inspect_raw(f"{namespace}/nova-api", TAG)
    kind = json.loads(manifest)["mediaType"]
    rdo.break_("cut")
    with pytest.raises(requests.ConnectionError):  # an answer without a body ends in its first line
        requests.put(
            f"{rdo.url}/v2/{namespace}/nova-api/manifests/new",
            data=manifest,
            headers={"Content-Type": kind},
            timeout=10,
        )
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{rdo.url}/v2/{namespace}/nova-api/tags/list", timeout=10)
    with client(lab.registries.rdo, rdo) as registry, pytest.raises(ServiceError):
        registry.ping()
    assert lab.registries.rdo.inspect_raw(f"{namespace}/nova-api", "new") == manifest


def test_full_is_what_a_registry_without_space_answers(
    tmp_path_factory: pytest.TempPathFactory, lab: Lab, rdo: Outage, namespace: str
) -> None:
    """The kernel lets a process write no file beyond a size of 0: the same errors but for the number."""
    rdo.break_("full")
    with running_registries(tmp_path_factory.mktemp("full")) as real:
        process = real.rdo.service.process()
        assert process is not None
        process.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
        for method, path in (("POST", "x/blobs/uploads/"), ("GET", "x/tags/list"), ("HEAD", "x/manifests/t")):
            copied, measured = (
                requests.request(method, f"{url}/v2/{namespace}/{path}", timeout=10)
                for url in (rdo.url, real.rdo.url)
            )
            assert copied.status_code == measured.status_code
            assert comparable(copied) == comparable(measured)
    with client(lab.registries.rdo, rdo) as registry, pytest.raises(ServiceError, match="unknown error"):
        push_build(registry, namespace, ["nova-api"], TAG, prefix="")


def comparable(answer: requests.Response) -> object:
    """Return an answer without what has to differ: the path, and how the system names the lack of space."""
    headers = {name: answer.headers.get(name) for name in ("Content-Type", "Docker-Distribution-Api-Version")}
    body = answer.json() if answer.content else None
    for error in (body or {}).get("errors", []):
        if "DriverName" in (error["detail"] or {}):
            error["detail"]["Enclosed"] = {**error["detail"]["Enclosed"], "Path": "", "Err": 0}
    return headers, body


def test_full_lets_dlrn_move_nothing(lab: Lab, namespace: str) -> None:
    label = f"{namespace}-current"
    facts = lab.dlrn
    api_port = next(state.port for state in lab.status() if state.name == "dlrn-api")
    with Outage(HOST, api_port) as through, lab.dlrn_client() as direct:
        build = direct.consistent()
        through.break_("full")
        broken = DlrnClient(
            through.url, facts.repo_url, username=facts.username, password=facts.password, backoff=0.01
        )
        with broken:
            broken.check_credentials()
            with pytest.raises(ServiceError, match="500"):
                broken.promote(build, label)
            assert direct.current(label) is None
            through.mend()
            assert broken.promote(build, label).build == build


@pytest.mark.parametrize(
    ("how", "seconds"), [("down", 0.0), ("cut", 0.0), ("slow", 0.1)], ids=["down", "cut", "slow"]
)
def test_an_image_server_is_broken_at_tcp_level(lab: Lab, how: str, seconds: float) -> None:
    facts = lab.images
    with Outage(HOST, facts.port, http=False) as through:
        with login(facts, port=through.port) as sftp:
            assert sftp.listdir(str(facts.images))
            through.break_(how, seconds=seconds)
            began = time.monotonic()
            if how == "slow":
                sftp.stat(".")
                assert time.monotonic() - began >= seconds
            else:
                with pytest.raises((paramiko.SSHException, EOFError, OSError)):
                    sftp.stat(".")
            # The next one is no better off.
            with contextlib.ExitStack() as stack:
                if how == "down":
                    stack.enter_context(pytest.raises(ServiceError, match="refused"))
                elif how == "cut":
                    stack.enter_context(pytest.raises((paramiko.SSHException, EOFError, OSError)))
                again = stack.enter_context(login(facts, port=through.port))
                for _ in range(3):
                    again.listdir(str(facts.images))
            through.mend()
        with login(facts, port=through.port) as sftp:
            assert sftp.listdir(str(facts.images))


def test_nothing_of_it_is_left(lab: Lab) -> None:
    ca = str(lab.registries.dockerhub.ca)
    running = set(threading.enumerate())
    with ThreadPoolExecutor(3) as pool, requests.Session() as idle:
        with before(lab.registries.dockerhub) as through:
            idle.get(f"{through.url}/v2/", verify=ca, timeout=10)
            through.break_("slow", seconds=60)
            late = [pool.submit(requests.get, f"{through.url}/v2/", verify=ca, timeout=30) for _ in range(3)]
            wait_for(lambda: through.requests == 4, "the requests have come")
        for each in late:
            with pytest.raises(requests.ConnectionError):
                each.result(timeout=10)
    assert not listens(through.port)
    wait_for(lambda: set(threading.enumerate()) <= running, "its threads have ended")


def test_what_cannot_be_is_said(lab: Lab, rdo: Outage) -> None:
    with pytest.raises(
        LabError, match="cannot be broken by 'doun', did you mean 'down'; there are down, slow"
    ):
        rdo.break_("doun")
    with (
        Outage(HOST, lab.images.port, http=False) as through,
        pytest.raises(LabError, match=r"'429'; there are down, slow, cut$"),
    ):
        through.break_("429")
    with pytest.raises(LabError, match=f"cannot listen on port {rdo.port}"):
        Outage(HOST, lab.images.port, listen=rdo.port)
    assert rdo.broken is None
    assert set(outage.TCP_MODES) < set(outage.MODES)
