"""DLRN's promotion rows: which build held which label since when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rdo_promoter.model.build import AggregateHash, Build


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


def aggregate_rows(rows: Iterable[PromotionRow]) -> Iterator[PromotionRow]:
    """Yield one row for each promotion that made an aggregate, whose build is the aggregate.

    A promotion of an aggregate writes a row a component, and what they make into the last of them alone.
    The rows before it are of components that the label held for the blink of an eye, not of candidates.

    :param rows: in whatever order, which is kept.
    """
    for row in rows:
        if row.aggregate_hash is not None:
            yield replace(row, build=AggregateHash(row.aggregate_hash))
