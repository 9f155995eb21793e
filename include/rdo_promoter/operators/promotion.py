"""The promotion group: the engine's steps as tasks, and the guard that keeps two runs apart."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, Context
from airflow.sdk.exceptions import AirflowRescheduleException
from airflow.sdk.timezone import utcnow
from pydantic import JsonValue

from rdo_promoter.engine import promote
from rdo_promoter.model.build import Build, build_from_json
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.base import PromoterOperator, Result, fail, is_dry_run, run_build, skip

#: States in which a task will do nothing more unless somebody clears it.
_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: A reschedule after less fails now and then: Airflow may see the task before it took in the last one.
_LOOK_AGAIN = 15.0
_HOLDER = "holder"
#: So many changes are listed in XCom; the log lists all.
_LISTED = 50


class PromotionOperator(PromoterOperator):
    """Base of the group's operators.

    :param coordinates: the promotion's fields but the build.
    :param asset: stands for the promoted label; its state store names the run that may change it.
    :param group: id of the promotion group.
    """

    ui_color = "#e3f2e6"

    def __init__(self, *, coordinates: dict[str, Any], asset: Asset, group: str, **kwargs: Any) -> None:
        super().__init__(inlets=[asset], **kwargs)
        self.coordinates = coordinates
        self.asset = asset
        self.group = group

    def promotion(self, context: Context) -> Promotion:
        """Return what the group wants."""
        return Promotion(build=run_build(context), **self.coordinates)

    def was(self, context: Context) -> Build | None:
        """Return the build that held the label when the group made its plan."""
        found = context["ti"].xcom_pull(task_ids=f"{self.group}.plan")
        if found is None:
            raise fail(context, f"{self.group}.plan left no plan: clear the whole group {self.group}")
        return build_from_json(json.loads(found["was"])) if found["was"] else None

    def guard(self, context: Context) -> None:
        """Refuse to work unless this run holds the label: a task cleared alone may come too late."""
        holder = read_claim(context["asset_state_store"][self.asset].get(_HOLDER)).run
        if holder != context["run_id"]:
            raise fail(
                context,
                f"the labels of {self.asset.uri} are held by {holder or 'no run'}: "
                f"clear the whole group {self.group}, not this task alone",
            )


@dataclass(frozen=True)
class Claim:
    """What the label's state store says.

    :param run: the run that holds the label, None when none ever did.
    :param after: the run that held it before; a claim that was not confirmed has to look at it again.
    """

    run: str | None = None
    after: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields as JSON values."""
        return {"run": self.run, "after": self.after}


def read_claim(stored: object) -> Claim:
    """Read what `Claim.to_json` made; anything else is no claim."""
    if not isinstance(stored, dict):
        return Claim()
    run, after = stored.get("run"), stored.get("after")
    return Claim(run if isinstance(run, str) else None, after if isinstance(after, str) else None)


def still_works(states: Mapping[str, str | None], hold: str) -> bool:
    """Tell whether a run that held the label may still change something.

    A task that is queued, running or waiting may. One without a state comes later, if the group is under
    way: if its own `hold` has succeeded. Without that a run that was cleared waits for the label again.

    :param states: the states of the group's tasks by their id.
    :param hold: id of the group's `hold` task.
    """
    if any(state is not None and state not in _ENDED for name, state in states.items() if name != hold):
        return True
    return states.get(hold) == "success" and None in states.values()


class HoldOperator(PromotionOperator):
    """Wait until no other run changes the label, then hold it for this run.

    One of these runs at a time in a Dag. It claims first and looks again then: a task of the former
    holder that was cleared meanwhile is either seen here, or sees the claim in its own guard.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_active_tis_per_dag=1, **kwargs)

    def act(self, context: Context) -> Result:
        """Hold the label, or come back later."""
        promotion = self.promotion(context)
        promote.check_order(promotion, self.services)
        if is_dry_run(context):
            return {"dry_run": True}
        store, run_id = context["asset_state_store"][self.asset], context["run_id"]
        claim = read_claim(store.get(_HOLDER))
        former = claim.after if claim.run == run_id else claim.run
        if not self._works(context, former):
            store.set(_HOLDER, Claim(run_id, former).to_json())
            if not self._works(context, former):
                store.set(_HOLDER, Claim(run_id).to_json())
                self.log.info("%s this run holds %s", promotion.build.short, self.asset.uri)
                return {"holder": run_id}
        # Also a claim that an earlier try could not give back.
        store.set(_HOLDER, Claim(former).to_json())
        self.log.info("%s %s changes %s; looking again soon", promotion.build.short, former, promotion.label)
        later = timedelta(seconds=_LOOK_AGAIN + random.uniform(0, 5))  # noqa: S311 - jitter, no secret
        raise AirflowRescheduleException(utcnow() + later)  # type: ignore[no-untyped-call]

    def _works(self, context: Context, run_id: str | None) -> bool:
        """Tell whether another run may still change something."""
        if run_id is None or run_id == context["run_id"]:
            return False
        states = context["ti"].get_task_states(dag_id=self.dag_id, run_ids=[run_id], task_group_id=self.group)
        return still_works(states.get(run_id, {}), f"{self.group}.hold")


class PlanOperator(PromotionOperator):
    """Observe everything, plan, and refuse when something is missing. Changes nothing."""

    def act(self, context: Context) -> Result:
        """Plan; in a dry run print the plan and end as skipped, as everything after it."""
        promotion, dry_run = self.promotion(context), is_dry_run(context)
        if not dry_run:
            self.guard(context)
        found = (promote.look if dry_run else promote.preflight)(promotion, self.services)
        short, plan = promotion.build.short, found.plan
        self.log.info("%s %s: %s", short, promotion.label, plan.summary())
        for change in plan.changes:
            self.log.info("%s   %s", short, change)
        for note in plan.notes:
            self.log.warning("%s %s", short, note)
        result = {
            "was": json.dumps(found.was.to_json()) if found.was else None,
            "summary": plan.summary(),
            "changes": [str(change) for change in plan.changes[:_LISTED]],
            "notes": list(plan.notes),
        }
        if not dry_run:
            return result
        for problem in plan.problems:
            self.log.warning("%s would be refused: %s", short, problem)
        context["ti"].xcom_push(key="dry_run", value={**result, "problems": list(plan.problems)})
        refused = f", refused for {len(plan.problems)} problem(s)" if plan.problems else ""
        raise skip(context, f"dry run: {plan.summary()}{refused}; nothing was changed")


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
    """Read everything back and publish the label's asset event."""

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        super().__init__(asset=asset, outlets=[asset], **kwargs)

    def act(self, context: Context) -> Result:
        """Verify."""
        self.guard(context)
        promotion = self.promotion(context)
        previous = promote.verify(promotion, self.services).dlrn.previous
        fact: dict[str, JsonValue] = {
            "label": promotion.label,
            "full_hash": promotion.build.full_hash,
            "previous": previous.build.full_hash if previous else None,
            "containers": len(promotion.containers),
            "registries": list(promotion.registries),
            "image_servers": list(promotion.link_on),
        }
        context["outlet_events"][self.asset].extra = fact
        self.log.info("%s %s is verified everywhere", promotion.build.short, promotion.label)
        return fact
