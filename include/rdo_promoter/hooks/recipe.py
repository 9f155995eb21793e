"""What a plan in the ledger has to say so that somebody else can complete it: no secret is part of it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.layout import Layout
from rdo_promoter.model.promotion import Promotion


@dataclass(frozen=True)
class _Recipe:
    promotion: Promotion
    dlrn_conn_id: str
    repo_url: str
    registries: dict[str, tuple[str, str]]
    servers: dict[str, tuple[str, str, Layout]]


_RECIPE = TypeAdapter(_Recipe)


def write_recipe(promotion: Promotion, services: ConnectionServices) -> str:
    """Return a promotion and the names of the Connections to its services as JSON text."""
    recipe = _Recipe(
        promotion,
        services.dlrn_conn_id,
        services.repo_url,
        dict(services.registries),
        dict(services.servers),
    )
    return _RECIPE.dump_json(recipe).decode()


def read_recipe(text: str) -> tuple[Promotion, ConnectionServices]:
    """Read what `write_recipe` wrote.

    :raises ConfigError: when it was written by a version that knew something else.
    """
    try:
        recipe = _RECIPE.validate_json(text)
    except ValidationError as error:
        raise ConfigError(
            f"what a plan in the ledger wanted cannot be read by this version ({error.errors()[0]['msg']}): "
            "complete the promotion with the version that wrote it, or promote a newer build"
        ) from error
    return recipe.promotion, ConnectionServices(
        recipe.dlrn_conn_id, recipe.repo_url, recipe.registries, recipe.servers
    )
