"""The promotion group: the engine's steps as tasks, each of which first asks whether its run may."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import Asset, Context
from pydantic import JsonValue

from rdo_promoter.engine import promote
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.recipe import write_recipe
from rdo_promoter.model.build import Build
from rdo_promoter.model.ledger import Planned, Promoted
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.promotion import Promotion, label_uri
from rdo_promoter.operators.base import Result, is_dry_run, skip
from rdo_promoter.operators.hold import PromotionOperator

#: So many changes are listed in XCom; the log lists all.
_LISTED = 50


class PlanOperator(PromotionOperator):
    """Observe everything, plan, and refuse when something is missing. Changes nothing.

    :param made_from: the release file; the plan records which text of it was in force.
    """

    def __init__(self, *, made_from: MadeFrom, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.made_from = made_from

    def act(self, context: Context) -> Result:
        """Plan; in a dry run print the plan and end as skipped, as everything after it."""
        promotion, dry_run = self.promotion(context), is_dry_run(context)
        if not dry_run:
            # Whoever waited here for people finds out first whether there is anything left to win.
            with self.telling_what_is_half_done(context, promotion):
                promote.check_order(promotion, self.services)
            self.heed_promotion(context, promotion)
            self.guard(context)
        with self.telling_what_is_half_done(context, promotion):
            found = (promote.look if dry_run else promote.preflight)(promotion, self.services)
        short, plan = promotion.build.short, found.plan
        self.log.info("%s %s by %s: %s", short, promotion.label, self.made_from, plan.summary())
        for change in plan.changes:
            self.log.info("%s   %s", short, change)
        for note in plan.notes:
            self.log.warning("%s %s", short, note)
        result = {
            "was": json.dumps(found.was.to_json()) if found.was else None,
            "summary": plan.summary(),
            "changes": [str(change) for change in plan.changes[:_LISTED]],
            "notes": list(plan.notes),
            "release_file": self.made_from.file,
            "digest": self.made_from.digest,
        }
        if not dry_run:
            if plan.changes:
                # Once more, right before the first change: to look at everything takes minutes.
                self.heed_promotion(context, promotion)
                self._note(context, promotion, found)
            return result
        for problem in plan.problems:
            self.log.warning("%s would be refused: %s", short, problem)
        context["ti"].xcom_push(key="dry_run", value={**result, "problems": list(plan.problems)})
        refused = f", refused for {len(plan.problems)} problem(s)" if plan.problems else ""
        raise skip(context, f"dry run: {plan.summary()}{refused}; nothing was changed")

    def _note(self, context: Context, promotion: Promotion, found: promote.Preflight) -> None:
        """Write the plan into the ledger: from here on things change. Without the ledger nothing does."""
        fact = Planned(
            **facts_of(self, context, promotion, self.made_from),
            was=found.was,
            summary=found.plan.summary(),
            wanted=write_recipe(promotion, self.services),
            group=self.group,
        )
        self.log.info("%s ledger: %s", promotion.build.short, ledger().append(fact))
        # Of two that plan at once one sees the other's plan.
        self.let_by_hand(context)


class CopyOperator(PromotionOperator):
    """Copy what a registry lacks, under the hash tag, and verify it.

    :param registry: the registry's name.
    """

    def __init__(self, *, registry: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.registry = registry

    def act(self, context: Context) -> Result:
        """Copy."""
        self.guard(context)
        report = promote.copy_to(self.promotion(context), self.services, self.registry, self.was(context))
        return {
            "copied": len(report.copied),
            "already": len(report.already),
            "blobs_moved": report.blobs_moved,
            "blobs_mounted": report.blobs_mounted,
            "bytes": report.bytes_moved,
        }


class MirrorOperator(PromotionOperator):
    """Copy the images that a mirror lacks, where no reader sees them yet, and verify them.

    :param server: the mirror's name.
    """

    def __init__(self, *, server: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.server = server

    def act(self, context: Context) -> Result:
        """Copy."""
        self.guard(context)
        report = promote.mirror_to(self.promotion(context), self.services, self.server, self.was(context))
        return {"copied": list(report.copied), "already": report.already, "bytes": report.size}


class CheckCopiesOperator(PromotionOperator):
    """Make sure that every container and image is in place everywhere. Changes nothing."""

    def act(self, context: Context) -> Result:
        """Check."""
        self.guard(context)
        promotion = self.promotion(context)
        promote.check_copies(promotion, self.services)
        return {"containers": len(promotion.containers), "images": len(promotion.images)}


class TagOperator(PromotionOperator):
    """Move the label's tag of every container on a registry.

    :param registry: the registry's name.
    """

    def __init__(self, *, registry: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.registry = registry

    def act(self, context: Context) -> Result:
        """Tag."""
        self.guard(context)
        promotion = self.promotion(context)
        return {"moved": promote.tag_in(promotion, self.services, self.registry, self.was(context))}


class LinkOperator(PromotionOperator):
    """Move the label's link on an image server, ``previous-`` first.

    :param server: the image server's name.
    """

    def __init__(self, *, server: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.server = server

    def act(self, context: Context) -> Result:
        """Link."""
        self.guard(context)
        promotion = self.promotion(context)
        return {"moved": promote.link_on(promotion, self.services, self.server, self.was(context))}


class CommitOperator(PromotionOperator):
    """Move DLRN's label, last of all: the promotion is done with this."""

    ui_color = "#bfe3c6"

    def act(self, context: Context) -> Result:
        """Promote in DLRN."""
        self.guard(context)
        row = promote.commit(self.promotion(context), self.services, self.was(context))
        return {"label": row.label, "full_hash": row.build.full_hash, "timestamp": row.timestamp}


class VerifyOperator(PromotionOperator):
    """Read everything back and publish the label's asset event.

    :param asset: stands for the promoted label.
    :param made_from: the release file.
    """

    def __init__(self, *, asset: Asset, made_from: MadeFrom, **kwargs: Any) -> None:
        super().__init__(outlets=[asset], **kwargs)
        self.asset = asset
        self.made_from = made_from

    def act(self, context: Context) -> Result:
        """Verify."""
        self.guard(context)
        promotion = self.promotion(context)
        found = promote.verify(promotion, self.services).dlrn
        assert found.holder is not None, "verify has just read the label"
        previous = found.previous.build if found.previous else None
        name = ledger().append(
            Promoted(
                **facts_of(self, context, promotion, self.made_from),
                previous=previous,
                timestamp=found.holder.timestamp,
            )
        )
        self.log.info("%s ledger: %s", promotion.build.short, name)
        fact = event(promotion, previous)
        context["outlet_events"][self.asset].extra = fact
        self.log.info("%s %s is verified everywhere", promotion.build.short, promotion.label)
        return fact


def label_asset(dag_id: str, repo_url: str, label: str) -> Asset:
    """Return the asset that stands for a promoted label.

    :param repo_url: DLRN's repository tree.
    """
    return Asset(name=f"{dag_id}/{label}", uri=label_uri(dag_id, repo_url, label), group="rdo-promoter")


def event(promotion: Promotion, previous: Build | None) -> dict[str, JsonValue]:
    """Return what the label's asset event says.

    :param previous: the build that the label named before.
    """
    return {
        "label": promotion.label,
        "full_hash": promotion.build.full_hash,
        "previous": previous.full_hash if previous else None,
        "containers": len(promotion.containers),
        "registries": list(promotion.registries),
        "image_servers": list(promotion.servers),
    }


def facts_of(
    operator: PromotionOperator, context: Context, promotion: Promotion, made_from: MadeFrom
) -> dict[str, Any]:
    """Return what every fact of the ledger says about a run's promotion."""
    return {
        "dag_id": operator.dag_id,
        "label": promotion.label,
        "build": promotion.build,
        "at": operator.services.dlrn.now(),
        "by": context["run_id"],
        "via": "airflow",
        "file": made_from.file,
        "digest": made_from.digest,
    }
