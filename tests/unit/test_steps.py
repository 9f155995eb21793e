"""Step kinds: durations, the JSON schema, and that a new kind is one module and one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rdo_promoter.release import Stage, json_schema
from rdo_promoter.steps import BY_KEY, KINDS, AnyStep, Candidate, Promote, Step, WaitFor
from rdo_promoter.steps.fields import format_duration, parse_duration

STEP: TypeAdapter[Step] = TypeAdapter(AnyStep)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("10m", 600), ("4h", 14400), ("7d", 604800), ("007m", 420)]
)
def test_a_duration_is_read_as_seconds(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [90, 1.5, True, None, "", "90", "s", "1.5h", "-1h", "1h30m", "4 h", "4H", "1w", "9999999999s", "٣h"],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no duration: write a whole number and s, m, h or d"):
        parse_duration(value)


@settings(deadline=None)
@given(st.integers(0, 999_999_999))
def test_a_duration_survives_being_written(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_a_step_is_read_by_its_key() -> None:
    step = STEP.validate_python({"candidate": {"label": "ci-testing"}})
    assert step == Candidate(label="ci-testing")
    assert STEP.validate_python(step) is step


def test_steps_of_different_kinds_are_different() -> None:
    steps: list[Step] = [Candidate(label="a"), Promote(label="a")]
    assert steps[0] != steps[1]


def test_unnamed_steps_are_numbered_by_kind_and_named_ones_are_not_counted() -> None:
    waits = [{"wait_for": {"jobs": [job], "within": "1h"}} for job in "abc"]
    named = {"wait_for": {"name": "tests", "jobs": ["d"], "within": "1h"}}
    stage = Stage.model_validate(
        {
            "name": "s",
            "source": "consistent",
            "steps": [waits[0], named, *waits[1:], {"promote": {"label": "x"}}],
        }
    )
    assert [step_id for step_id, _ in stage.named_steps] == [
        "wait_for",
        "tests",
        "wait_for_2",
        "wait_for_3",
        "promote",
    ]


def test_defaults_of_mappings_cannot_be_changed() -> None:
    wait = WaitFor(jobs=("a",), within="1h")
    with pytest.raises(TypeError):
        wait.alternatives["a"] = ("b",)  # type: ignore[index]  # that is the point
    assert WaitFor(jobs=("a",), within="1h").alternatives == {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_kind_can_be_read_and_refuses_unknown_keys(kind: type[Step]) -> None:
    with pytest.raises(ValidationError) as refused:
        STEP.validate_python({kind.kind: {"nobody_knows": 1}})
    unknown = [error["loc"] for error in refused.value.errors() if error["type"] == "extra_forbidden"]
    assert unknown == [(kind.kind, "nobody_knows")]


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


def test_the_schema_knows_every_kind_and_nothing_more() -> None:
    schema = json_schema()
    choices = schema["$defs"]["Stage"]["properties"]["steps"]["items"]["oneOf"]
    assert [list(choice["properties"]) for choice in choices] == [[key] for key in BY_KEY]
    for each in _objects(schema):
        assert each["additionalProperties"] is False, each


def test_every_setting_is_described_in_the_schema() -> None:
    schema = json_schema()
    models = [schema, *schema["$defs"].values()]
    assert len(models) >= len(KINDS) + 6
    for model in models:
        assert model["description"], model["title"]
        assert ":param" not in model["description"]
        for key, entry in model["properties"].items():
            assert entry.get("description"), f"{model['title']}.{key}"


def test_the_schema_writes_durations_as_files_do() -> None:
    properties = json_schema()["$defs"]["WaitFor"]["properties"]
    assert properties["retry_delay"]["default"] == "10m"
    assert properties["within"]["type"] == "string"
