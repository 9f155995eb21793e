"""The step kinds: a new kind is one module and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from rdo_promoter.steps.approve import Approve
from rdo_promoter.steps.base import Reference, Scope, Step
from rdo_promoter.steps.candidate import Candidate
from rdo_promoter.steps.check_repo import CheckRepo
from rdo_promoter.steps.fetch_images import FetchImages
from rdo_promoter.steps.hand_off import HandOff
from rdo_promoter.steps.promote import Promote
from rdo_promoter.steps.push_containers import PushContainers
from rdo_promoter.steps.run_container import RunContainer
from rdo_promoter.steps.run_jenkins import RunJenkins
from rdo_promoter.steps.run_ssh import RunSsh
from rdo_promoter.steps.tag_containers import TagContainers
from rdo_promoter.steps.wait_for import WaitFor

#: Everything else derives from this list: the union, the errors and the JSON schema.
KINDS: tuple[type[Step], ...] = (
    *(Candidate, WaitFor, TagContainers, PushContainers, Approve, Promote, HandOff),
    *(CheckRepo, FetchImages, RunJenkins, RunSsh, RunContainer),
)

#: The kinds by the key that a release file writes.
BY_KEY: Mapping[str, type[Step]] = {kind.kind: kind for kind in KINDS}


def _key(value: Any) -> str | None:
    if isinstance(value, Step):
        return value.kind
    if isinstance(value, Mapping) and len(value) == 1:
        return str(next(iter(value)))
    return None


def _unwrap(key: str) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, Step) else value[key]


class _OneOfKinds:
    """Reads ``{<kind>: {...}}`` as the kind's model."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[Any, CoreSchema] = {
            key: core_schema.no_info_before_validator_function(_unwrap(key), handler.generate_schema(model))
            for key, model in BY_KEY.items()
        }
        return core_schema.tagged_union_schema(choices, discriminator=_key)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        choices = schema["choices"]
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {key: handler(choice)},
                    "required": [key],
                    "additionalProperties": False,
                }
                for key, choice in choices.items()
            ]
        }


#: A step as a field of a model.
AnyStep = Annotated[Step, _OneOfKinds]

__all__ = [
    "BY_KEY",
    "KINDS",
    "AnyStep",
    "Approve",
    "Candidate",
    "CheckRepo",
    "FetchImages",
    "HandOff",
    "Promote",
    "PushContainers",
    "Reference",
    "RunContainer",
    "RunJenkins",
    "RunSsh",
    "Scope",
    "Step",
    "TagContainers",
    "WaitFor",
]
