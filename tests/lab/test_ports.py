"""Ports are chosen once, differ from each other, and lie where no outgoing connection takes them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import ports
from lab.ports import HOST, LabError, free_port, kept_port


def test_it_is_kept(tmp_path: Path) -> None:
    port = kept_port(tmp_path / "run" / "one.port")
    assert port == kept_port(tmp_path / "run" / "one.port")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["one.port"]


def test_all_who_ask_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(kept_port, [tmp_path / "one.port"] * 16))) == 1


def test_services_of_a_lab_differ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "PORTS", range(ports.PORTS.start, ports.PORTS.start + 300))
    found = {kept_port(tmp_path / f"{number}.port") for number in range(20)}
    # Another process does not know what this one was given, but sees the files.
    monkeypatch.setattr(ports, "_given", set())
    more = {kept_port(tmp_path / f"{number}.port") for number in range(20, 40)}
    assert len(found | more) == 40
    assert (found | more) <= set(ports.PORTS)
    assert max(ports.PORTS) < 32_768  # where Linux begins


def test_what_listens_already_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setattr(ports, "PORTS", range(port, port + 1))
        with pytest.raises(LabError, match="no free port"):
            free_port()
