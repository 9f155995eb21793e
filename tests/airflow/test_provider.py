"""The provider's metadata, as Airflow reads it from the installed package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, cast

import jsonschema  # type: ignore[import-untyped]  # comes with Airflow, has no types
import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from rdo_promoter.hooks.dlrn import DlrnHook
from rdo_promoter.hooks.handoff import HandoffKeyHook, HandoffReceiverHook
from rdo_promoter.hooks.jenkins import JenkinsHook
from rdo_promoter.hooks.zuul import ZuulHook
from rdo_promoter.provider import get_provider_info


@pytest.mark.parametrize("schema", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_metadata_follows_airflows_schema(schema: str) -> None:
    rules: dict[str, Any] = json.loads((files("airflow") / schema).read_text())
    # The second is meant for the providers in Airflow's own repository and asks for their release dates;
    # it alone describes the form of a Connection.
    for name in ("required", "additionalProperties"):
        rules.pop(name, None)
    jsonschema.validate(get_provider_info(), rules)


def test_metadata_names_the_hooks_that_there_are() -> None:
    kinds = cast("list[dict[str, Any]]", get_provider_info()["connection-types"])
    hooks: list[type[DlrnHook | ZuulHook | JenkinsHook | HandoffKeyHook | HandoffReceiverHook]] = [
        *(DlrnHook, ZuulHook, JenkinsHook),
        *(HandoffKeyHook, HandoffReceiverHook),
    ]
    for kind, hook in zip(kinds, hooks, strict=True):
        assert kind["connection-type"] == hook.conn_type
        assert kind["hook-class-name"] == f"{hook.__module__}.{hook.__qualname__}"
        assert kind["hook-name"] == hook.hook_name


@pytest.mark.parametrize("kind", ["dlrn", "zuul", "jenkins", "handoff_key", "handoff_receiver"])
def test_airflow_finds_the_connection_type(kind: str) -> None:
    manager = ProvidersManager()  # type: ignore[no-untyped-call]  # Airflow's has no types
    assert "rdo-promoter" in manager.providers, "the package is not installed: make venv"
    runtime = ProvidersManagerTaskRuntime()  # type: ignore[no-untyped-call]  # as above
    hook = runtime.hooks[kind]
    assert hook is not None
    assert hook.connection_testable
    assert hook.connection_id_attribute_name == f"{kind}_conn_id"


@pytest.mark.parametrize(
    ("kind", "name", "host", "extra"),
    [
        ("dlrn", "DLRN", "API URL", {"ca"}),
        ("zuul", "Zuul", "Zuul's URL", {"tenant", "ca"}),
        ("jenkins", "Jenkins", "Jenkins's URL", {"ca"}),
        ("handoff_key", "Hand-off key", None, {"private_key"}),
        ("handoff_receiver", "Hand-off receiver", "Receiver's URL", {"ca"}),
    ],
)
def test_the_ui_shows_the_connections_form(kind: str, name: str, host: str | None, extra: set[str]) -> None:
    (form,) = [each for each in HookMetaService.hook_meta_data() if each.connection_type == kind]
    assert form.hook_name == name
    assert form.standard_fields is not None
    assert form.standard_fields.host is not None
    assert form.standard_fields.host.title == host
    assert form.standard_fields.url_schema is not None
    assert form.standard_fields.url_schema.hidden
    assert set(form.extra_fields or {}) == extra
