"""DLRN's promotion rows: which build held which label since when."""

from __future__ import annotations

from dataclasses import dataclass

from rdo_promoter.model.build import Build


@dataclass(frozen=True, slots=True)
class PromotionRow:
    """One row of DLRN's ``promotions``: a build entered a label.

    :param label: DLRN's ``promote_name``.
    :param build: the build that the label was moved to.
    :param timestamp: when, in seconds since the epoch (DLRN's resolution is one second).
    :param user: the DLRN user who promoted.
    :param aggregate_hash: the aggregate that the promotion made, in the component pipeline.
    """

    label: str
    build: Build
    timestamp: int
    user: str = ""
    aggregate_hash: str | None = None
