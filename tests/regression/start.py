"""Promotions that have begun."""

from __future__ import annotations

from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.promotion import Promotion
from tests.engine.rdo import PUSH_TO, Rdo, State

#: Steps until everything is in place under the hash.
COPIES = len(PUSH_TO) + 1
#: Steps until everything has moved but DLRN's labels: copies, a look, tags, links.
BUT_DLRN = COPIES + 1 + len(PUSH_TO) + 1 + 2


def begun(rdo: Rdo, steps: int) -> tuple[Promotion, DlrnHash]:
    """Take the first steps of a promotion of a new build."""
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    rdo.promote(build, steps=steps)
    return rdo.promotion(build), build


def promoted(rdo: Rdo, new: DlrnHash, old: DlrnHash) -> State:
    """Return what all services say after two promotions."""
    return State(
        label=new.full_hash,
        previous=old.full_hash,
        rows=3,
        tags=rdo.tags(new.full_hash),
        link=new.full_hash,
        previous_link=old.full_hash,
        mirror_link=new.full_hash,
        previous_mirror_link=old.full_hash,
    )
