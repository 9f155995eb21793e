"""Services of a lab are broken and mended at their addresses; what their clients see each time."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from lab import dlrn, image_server
from lab.cli import main
from lab.images import push_build
from lab.lab import Lab
from lab.service import listens, wait_for
from lab.sweep import orphans
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.registry import Registry
from rdo_promoter.errors import ServiceError
from rdo_promoter.model.build import DlrnHash
from tests.clients.sshd_fixtures import login

pytestmark = pytest.mark.lab

#: What these tests need of a lab.
STARTED = ("dlrn-api", "dlrn-repo", "registry-dockerhub", "registry-quay", "quay-tokens", "sshd")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of this module with few services, and nothing in it."""
    lab = Lab(tmp_path_factory.mktemp("small-lab"))
    dlrn.ensure_environment(lab.root)
    dlrn.stage(lab.root)
    for name in image_server.SERVERS:
        image_server.prepare(lab.root, name)
    for service in lab.services:
        if service.name in STARTED:
            service.ensure()
    (lab.root / "seeded").write_text(f"{lab.root}\n")
    yield lab
    lab.down(purge=True)
    assert orphans(lab.root) == []


@pytest.fixture
def lab_(small: Lab) -> Iterator[Lab]:
    before = addresses(small)
    yield small
    small.mend()
    assert {state.broken for state in small.status()} == {None}
    assert {state.name for state in small.status() if state.up} >= set(STARTED)
    assert addresses(small) == before
    assert outages(small) == []


def addresses(lab: Lab) -> dict[str, int]:
    return {state.name: state.port for state in lab.status()}


def outages(lab: Lab) -> list[str]:
    return [file.stem for file in (lab.root / "run").glob("outage-*.json")]


def dlrn_client(lab: Lab) -> DlrnClient:
    facts = lab.dlrn
    return DlrnClient(
        facts.api_url,
        facts.repo_url,
        username=facts.username,
        password=facts.password,
        retries=1,
        backoff=0.01,
        patience=0.1,
    )


def registry_client(lab: Lab) -> Registry:
    return lab.registries.dockerhub.client(retries=1, backoff=0.01)


@pytest.fixture(scope="module")
def builds(small: Lab) -> list[DlrnHash]:
    now = int(time.time())
    return dlrn.add_builds(small.root, [dlrn.NewBuild(now), dlrn.NewBuild(now + 1)])


def test_dlrns_api_in_every_way(lab_: Lab, builds: list[DlrnHash], namespace: str) -> None:
    label = f"{namespace}-testing"
    with dlrn_client(lab_) as client:
        client.promote(builds[0], label)
        lab_.break_("dlrn-api", "down")
        with pytest.raises(ServiceError, match="refused"):
            client.current(label)
        lab_.break_("dlrn-api", "slow", 0.3)
        began = time.monotonic()
        assert client.current(label) is not None
        assert time.monotonic() - began >= 0.3
        for how in ("429", "503"):
            lab_.break_("dlrn-api", how)
            with pytest.raises(ServiceError, match=how):
                client.current(label)
        lab_.break_("dlrn-api", "cut")
        with pytest.raises(ServiceError, match="gave no answer to GET"):
            client.current(label)
        lab_.mend("dlrn-api")
        row = client.current(label)
        assert row is not None
        assert row.build == builds[0]


def test_a_dlrn_without_space_moves_the_link_and_says_that_it_failed(
    lab_: Lab, builds: list[DlrnHash], namespace: str
) -> None:
    """What the real one does: the link is moved before sqlite finds that there is no room for the row."""
    old, new = builds
    label = f"{namespace}-current"
    with dlrn_client(lab_) as client:
        client.promote(old, label)
        pid = next(state.pid for state in lab_.status() if state.name == "dlrn-api")
        lab_.break_("dlrn-api", "full")
        client.check_credentials()
        with pytest.raises(ServiceError, match="500"):
            client.promote(new, label)
        row = client.current(label)
        assert row is not None
        assert (row.build, client.label_hash(label)) == (old, new)
        lab_.mend("dlrn-api")
        assert client.promote(new, label).build == new
        assert pid == next(state.pid for state in lab_.status() if state.name == "dlrn-api")


def test_dlrns_tree(lab_: Lab, builds: list[DlrnHash]) -> None:
    with dlrn_client(lab_) as client:
        assert client.has_directory(builds[0])
        lab_.break_("dlrn-repo", "503")
        with pytest.raises(ServiceError, match="503"):
            client.has_directory(builds[0])


def test_a_registry_with_tls_in_every_way(lab_: Lab, namespace: str) -> None:
    tag = "c" * 40 + "_dddddddd"
    names = ["nova-api", "cron"]

    def push(client: Registry, space: str = namespace) -> None:
        push_build(client, space, names, tag, prefix="")

    with registry_client(lab_) as client:
        push(client)
        lab_.break_("registry-dockerhub", "down")
        with pytest.raises(ServiceError, match="refused"):
            client.head(f"{namespace}/cron", tag)
        lab_.break_("registry-dockerhub", "slow", 0.3)
        began = time.monotonic()
        assert client.head(f"{namespace}/cron", tag) is not None
        assert time.monotonic() - began >= 0.3
        for how in ("429", "503"):
            lab_.break_("registry-dockerhub", how)
            with pytest.raises(ServiceError, match=how):
                client.head(f"{namespace}/cron", tag)
        lab_.break_("registry-dockerhub", "cut")
        with pytest.raises(ServiceError):
            client.head(f"{namespace}/cron", tag)
        # The registry itself finds that it may write no byte.
        lab_.break_("registry-dockerhub", "full")
        assert client.head(f"{namespace}/cron", tag) is not None
        with pytest.raises(ServiceError, match="unknown error"):
            push(client, f"{namespace}x")
        lab_.mend()
        push(client, f"{namespace}x")
        assert client.head(f"{namespace}x/cron", tag) is not None


def test_a_token_server(lab_: Lab, namespace: str) -> None:
    for how, message in (("down", "refused"), ("503", "503"), ("429", "429"), ("cut", "no answer")):
        lab_.break_("quay-tokens", how)
        with (
            lab_.registries.quay.client(retries=1, backoff=0.01) as client,
            pytest.raises(ServiceError, match=f"registry quay .*get a token for .*{message}"),
        ):
            client.head(f"{namespace}/cron", "current")
    lab_.mend()
    with lab_.registries.quay.client() as client:
        assert client.head(f"{namespace}/cron", "current") is None


def test_an_image_server_in_every_way(lab_: Lab) -> None:
    facts = lab_.images
    lost = (ServiceError, paramiko.SSHException, EOFError, OSError)

    def write(sftp: paramiko.SFTPClient) -> None:
        sftp.putfo(io.BytesIO(b"x" * 100_000), str(facts.images / "file"))

    with login(facts) as sftp:
        write(sftp)
        # Also a session that there is finds that it may write no byte more.
        lab_.break_("sshd", "full")
        with pytest.raises(OSError, match="0 != 100000"):
            write(sftp)
        with login(facts) as other:
            with pytest.raises(OSError, match="Failure"), other.open(str(facts.images / "file"), "a") as file:
                file.write(b"more")
            # A name takes no space in a file.
            other.symlink("file", str(facts.images / "link"))
            assert other.readlink(str(facts.images / "link")) == "file"
        lab_.mend("sshd")
        write(sftp)
        lab_.break_("sshd", "down")
        with pytest.raises(lost):
            sftp.listdir(str(facts.images))
    with pytest.raises(ServiceError, match="refused"), login(facts):
        pytest.fail("logged in")
    lab_.break_("sshd", "slow", 0.05)
    began = time.monotonic()
    with login(facts) as sftp:
        sftp.listdir(str(facts.images))
    assert time.monotonic() - began >= 0.25
    lab_.break_("sshd", "cut")
    with pytest.raises(lost), login(facts) as sftp:
        [sftp.listdir(str(facts.images)) for _ in range(5)]
    lab_.mend()
    with login(facts) as sftp:
        write(sftp)


def test_up_mends(lab_: Lab) -> None:
    lab_.break_("dlrn-repo", "503")
    lab_.break_("registry-dockerhub", "full")
    assert lab_.up() is True
    assert all(state.up and not state.broken for state in lab_.status())
    lab_.break_("sshd", "down")
    assert lab_.up() is True
    assert lab_.up() is False


def test_down_leaves_nothing_of_it(lab_: Lab) -> None:
    lab_.break_("dlrn-api", "full")
    lab_.break_("registry-dockerhub", "cut")
    lab_.break_("sshd", "down")
    lab_.down()
    assert orphans(lab_.root) == []
    assert not [state.name for state in lab_.status() if state.broken or listens(state.port)]
    lab_.up()
    with registry_client(lab_) as client:
        client.ping()
    with dlrn_client(lab_) as client:
        assert client.now() > 0


def test_a_proxy_that_was_killed_is_no_obstacle(lab_: Lab) -> None:
    lab_.break_("registry-dockerhub", "slow", 1)
    pid = json.loads((lab_.root / "run" / "outage-registry-dockerhub.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    port = addresses(lab_)["registry-dockerhub"]
    wait_for(lambda: not listens(port), "it is dead")
    state = next(state for state in lab_.status() if state.name == "registry-dockerhub")
    assert (state.up, state.broken) == (False, "slow, by 1 s")
    lab_.mend("registry-dockerhub")
    with registry_client(lab_) as client:
        client.ping()


def test_the_command_line(lab_: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = main(["--root", str(lab_.root), *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    lab_.up()
    assert run("mend") == (0, "nothing was broken\n")
    assert run("break", "sshd", "--how", "slow", "--seconds", "0.5") == (
        0,
        "sshd: slow, by 0.5 s: what was asked for is done, and its answer comes late\n",
    )
    assert run("break", "dlrn-repo")[0] == 0
    code, out = run("status")
    assert code == 1
    assert "broken: slow, by 0.5 s\n" in out
    assert "broken: down\n" in out
    assert "tripleo-ci-testing" not in out  # DLRN is not asked
    # What the rest of the lab is for goes on.
    assert run("build")[0] == 0
    assert run("break", "sshd", "--how", "slow") == (
        0,
        "sshd: slow, by 5 s: what was asked for is done, and its answer comes late\n",
    )
    assert run("mend", "sshd") == (0, "sshd: mended\n")
    assert run("mend", "sshd") == (0, "sshd was not broken\n")
    assert run("mend") == (0, "dlrn-repo: mended\n")
    assert run("status")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["break", "registry-dokerhub"],
            "'registry-dokerhub', did you mean registry-dockerhub; there are dlrn-api,",
        ),
        (["mend", "ssh"], "'ssh', did you mean sshd"),
        (["break", "sshd", "--how", "503"], "sshd cannot be broken by '503', only by down, slow, cut, full"),
        (
            ["break", "dlrn-repo", "--how", "full"],
            "dlrn-repo cannot be broken by 'full', only by down, slow, 429",
        ),
        (["break", "ci"], "ci does not run, so there is nothing to break: run `python -m lab up`"),
        (["break", "ci", "--how", "slow"], "ci cannot be broken by 'slow', only by down"),
        (["break", "sshd", "--seconds", "3"], "it goes with --how slow"),
    ],
)
def test_what_cannot_be_is_said(
    lab_: Lab, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["--root", str(lab_.root), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert lab_.breakages.all() == {}


@pytest.mark.parametrize("command", [["break", "sshd"], ["mend"]])
def test_without_a_lab_it_says_how_to_get_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(["--root", str(tmp_path / "none"), *command]) == 1
    assert "run `python -m lab up`" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
