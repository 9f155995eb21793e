"""What a stage finds at the doors before it begins: Connections as Airflow reads them, on real services."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.lab import Lab
from lab.ports import free_port
from lab.service import HOST
from rdo_promoter.engine.access import Access, check_access
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.layout import BY_HASH, by_label

pytestmark = pytest.mark.lab


@pytest.fixture
def connections(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The lab's Connections; what a test changes in them is what Airflow finds."""
    found: dict[str, dict[str, Any]] = {
        name: json.loads(content) for name, content in lab.connections().items()
    }
    for name in found:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", "")
    return found


@pytest.fixture
def look(lab: Lab, connections: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    def look() -> Access:
        for name, content in connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(content))
        services = ConnectionServices(
            "dlrn_centos7_master",
            lab.dlrn.repo_url,
            {"rdo": ("registry_rdo", "team"), "dockerhub": ("registry_dockerhub", "team")},
            {
                "images": ("images_rdo", str(lab.image_folder), BY_HASH),
                "rh1": ("images_rh1", str(lab.mirror.images), by_label({})),
            },
        )
        return check_access(services, services.registries, services.servers, ["tripleo-ci-testing"])

    return look


def test_nothing_is_said_when_every_door_opens(look: Any) -> None:
    assert look() == Access()


def test_all_that_has_to_be_mended_is_said_at_once(
    connections: dict[str, dict[str, Any]], look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["dlrn_centos7_master"]["password"] = "open-sesame"
    connections["registry_dockerhub"]["extra"] = {}  # without its CA
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbTkz/6iTGDQ5xlYVBhRqBRBTQ0Ux2mGBRZYQrWhVwb"
    connections["images_rdo"]["extra"]["host_key"] = other
    del connections["registry_rdo"]
    monkeypatch.delenv("AIRFLOW_CONN_REGISTRY_RDO")
    found = look()
    assert found.notes == ()
    said = "\n".join(found.problems)
    assert len(found.problems) == 4
    assert "user 'promoter'); check login and password of Connection 'dlrn_centos7_master'" in said
    assert "registry rdo: Connection 'registry_rdo' does not exist" in said
    assert "registry dockerhub (" in said
    assert "certificate could not be verified" in said
    assert "showed another host key than the one in extra 'host_key' of Connection 'images_rdo'" in said
    assert "open-sesame" not in said


def test_a_user_who_may_only_look_is_told_before_anything_has_moved(
    lab: Lab, connections: dict[str, dict[str, Any]], look: Any
) -> None:
    connections["dlrn_centos7_master"]["login"] = lab.dlrn.reader_username
    connections["dlrn_centos7_master"]["password"] = lab.dlrn.reader_password
    (problem,) = look().problems
    assert "(user 'reader' is not allowed to do this); let DLRN's administrators allow it" in problem


def test_a_service_that_is_down_is_a_note_and_no_problem(
    connections: dict[str, dict[str, Any]], look: Any
) -> None:
    connections["images_rdo"]["port"] = free_port()
    found = look()
    assert found.problems == ()
    (note,) = found.notes
    assert note.startswith(f"image server images {HOST}:")
    assert "does not answer" in note
