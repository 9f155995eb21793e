"""A whole promotion in one go, for where there are no tasks: the command line, and what a run left behind.

The order is that of the promotion group's tasks. Run again after whatever happened, it does what is left.
"""

from __future__ import annotations

from collections.abc import Callable

from rdo_promoter.engine import promote
from rdo_promoter.engine.services import Services
from rdo_promoter.model.build import Build
from rdo_promoter.model.promotion import Observed, Promotion
from rdo_promoter.model.promotions import PromotionRow


def carry_out(
    promotion: Promotion, services: Services, was: Build | None, *, say: Callable[[str], None]
) -> tuple[PromotionRow, Observed]:
    """Take every step after `promote.preflight`; return DLRN's row and what was read back.

    :param was: the build that held the label when the plan was made.
    :param say: called with a line about each step before it is taken.
    """
    for name in promotion.push_to:
        say(f"copying containers to {name}")
        promote.copy_to(promotion, services, name, was)
    for name in promotion.mirror_to:
        say(f"copying images to {name}")
        promote.mirror_to(promotion, services, name, was)
    say("looking whether everything is in place under the hash")
    promote.check_copies(promotion, services)
    for name in promotion.registries:
        say(f"tagging containers in {name}")
        promote.tag_in(promotion, services, name, was)
    for name in promotion.servers:
        say(f"moving the link on {name}")
        promote.link_on(promotion, services, name, was)
    say("moving DLRN's label")
    row = promote.commit(promotion, services, was)
    say("reading everything back")
    return row, promote.verify(promotion, services)
