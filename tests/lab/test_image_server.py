"""The lab's image server: it starts, recovers, keeps others out, and holds what the job uploads."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from lab import image_server, prerequisites
from lab.service import LabError
from rdo_promoter.clients.ssh import parse_host_key
from rdo_promoter.errors import AuthError
from tests.clients.sshd_fixtures import IMAGE, NEW, OLD, kill, login, running, running_sshd

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("lab-images")
    with running_sshd(root):
        yield root


def test_start_twice_changes_nothing(root: Path) -> None:
    before = image_server.facts(root)
    assert image_server.service(root).start() is False
    image_server.prepare(root)
    assert image_server.facts(root) == before


def test_keys_survive_a_kill(tmp_path: Path) -> None:
    with running_sshd(tmp_path) as service:
        before = image_server.facts(tmp_path)
        kill(service)
        assert service.start() is True
        service.wait_ready()
        assert image_server.facts(tmp_path) == before
        with login(before) as sftp:
            assert sftp.listdir(str(before.images)) == []


def test_a_folder_may_have_spaces(tmp_path: Path) -> None:
    root = tmp_path / "a b"
    with running_sshd(root), login(image_server.facts(root)) as sftp:
        assert sftp.listdir(str(root / "images" / "www")) == []


def test_half_a_key_is_made_again(tmp_path: Path) -> None:
    image_server.prepare(tmp_path)
    folder = tmp_path / "images" / "sshd"
    (folder / "id_ed25519.pub").unlink()
    (folder / "id_ed25519").write_text("-----BEGIN")
    with running_sshd(tmp_path), login(image_server.facts(tmp_path)) as sftp:
        assert sftp.stat(".") is not None


def test_private_keys_are_private(root: Path) -> None:
    for name in ("id_ed25519", "ssh_host_ed25519_key"):
        assert stat.S_IMODE((root / "images" / "sshd" / name).stat().st_mode) == 0o600


def test_two_labs_side_by_side(root: Path, tmp_path: Path) -> None:
    with running_sshd(tmp_path):
        ours, theirs = image_server.facts(root), image_server.facts(tmp_path)
        assert ours.port != theirs.port
        with pytest.raises(AuthError, match="was refused"), login(theirs, key_file=ours.key_file):
            pytest.fail("logged in with another lab's key")
        with pytest.raises(AuthError, match="another host key"), login(theirs, host_key=ours.host_key):
            pytest.fail("both labs have the same host key")
        with login(ours), login(theirs):
            pass


def test_the_mirror_is_another_server(root: Path) -> None:
    with running(image_server.service(root, image_server.MIRROR)):
        images, mirror = image_server.facts(root), image_server.facts(root, image_server.MIRROR)
        assert images.port != mirror.port
        assert not mirror.images.is_relative_to(images.images)
        with pytest.raises(AuthError, match="was refused"), login(mirror, key_file=images.key_file):
            pytest.fail("logged in with the other server's key")
        with pytest.raises(AuthError, match="another host key"), login(mirror, host_key=images.host_key):
            pytest.fail("both servers have the same host key")
        with login(mirror) as sftp:
            assert sftp.listdir(str(mirror.images)) == []


def test_no_other_account(root: Path) -> None:
    with pytest.raises(AuthError, match="was refused"), login(image_server.facts(root), username="nobody"):
        pytest.fail("logged in as somebody else")


def test_files_only(root: Path, tmp_path: Path) -> None:
    facts = image_server.facts(root)
    with paramiko.SSHClient() as client:
        key = parse_host_key(facts.host_key)
        client.get_host_keys().add(f"[{facts.host}]:{facts.port}", key.get_name(), key)
        client.connect(facts.host, facts.port, facts.username, key_filename=str(facts.key_file), timeout=10)
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=10)
        channel.settimeout(10)
        channel.exec_command(f"touch {tmp_path}/made")
        assert b"sftp connections only" in channel.recv(100)
        assert not (tmp_path / "made").exists()
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", (facts.host, facts.port), (facts.host, 1), timeout=10)


def test_uploads_are_tars_with_their_md5(root: Path) -> None:
    folder = image_server.put_images(root, "tars", OLD, {IMAGE: 3000, "ipa.tar": 10, "notes": b"text"})
    assert folder == Path(image_server.facts(root).path("tars")) / OLD
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        ["ipa.tar", "ipa.tar.md5", "notes", "notes.md5", IMAGE, f"{IMAGE}.md5"]
    )
    with tarfile.open(folder / IMAGE) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.size) == ("overcloud-full.qcow2", 3000)
    assert (folder / "notes").read_bytes() == b"text"
    # The same check that people make, by a program that is not ours.
    for name in (IMAGE, "ipa.tar", "notes"):
        subprocess.run(["md5sum", "--check", "--strict", f"{name}.md5"], cwd=folder, check=True)


def test_uploads_differ_by_build_and_file_alone(root: Path) -> None:
    def md5s() -> dict[str, str]:
        return {
            f"{build} {name}": hashlib.md5((folder / name).read_bytes()).hexdigest()
            for build in (OLD, NEW)
            for folder in [image_server.put_images(root, "same", build, {IMAGE: 500, "ipa.tar": 500})]
            for name in (IMAGE, "ipa.tar")
        }

    first = md5s()
    assert len(set(first.values())) == 4
    assert md5s() == first


def test_missing_sshd_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(LabError, match="apt-get install --no-install-recommends openssh-server"):
        image_server.prepare(tmp_path)
