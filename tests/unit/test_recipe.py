"""What the ledger keeps so that somebody else can complete a promotion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.recipe import read_recipe, write_recipe
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import Build
from rdo_promoter.model.layout import BY_HASH, by_label
from rdo_promoter.model.promotion import Promotion
from tests.unit.strategies import builds

SERVICES = ConnectionServices(
    "dlrn_master",
    "https://trunk.example.org/centos7-master",
    {"rdo": ("registry_rdo", "team")},
    {
        "images": ("images_rdo", "/var/www/images", BY_HASH),
        "rh1": ("images_rh1", "/builds", by_label({"ironic-python-agent.tar": "ipa_images.tar"})),
    },
)


@given(build=builds, names=st.lists(st.text(min_size=1), max_size=3))
def test_a_promotion_and_its_services_come_back_as_they_were(build: Build, names: list[str]) -> None:
    promotion = Promotion(
        build,
        "current",
        "testing",
        "rdo",
        tuple(names),
        ("rdo",),
        (),
        (),
        ("images",),
        ("rh1",),
        {"images": ("rhel.tar",)},
    )
    assert read_recipe(write_recipe(promotion, SERVICES)) == (promotion, SERVICES)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"promotion": {}}'])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="complete the promotion with the version that wrote it"):
        read_recipe(text)
