"""Promotions that had begun when their step was taken out of the release file: completed, not left behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk import BaseOperator, Context

from rdo_promoter.engine import promote
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.errors import PermanentError, PromoterError, TransientError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.recipe import read_recipe
from rdo_promoter.model.ledger import Planned, Promoted
from rdo_promoter.operators.base import Result, fail, is_scheduled
from rdo_promoter.operators.hold import (
    HOLDERS,
    Claim,
    Group,
    group_states,
    holder_key,
    read_claim,
    works_now,
)
from rdo_promoter.release import BrokenRelease, Release
from rdo_promoter.sentinel.releases import read_folder
from rdo_promoter.steps import Promote

#: Seconds after its plan in which a promotion is left alone: a file that is edited may be gone for a moment.
_GRACE = 600

#: States of a promotion that was given up while its step was still there: not ours to go on with.
_STOPPED = frozenset({"failed", "upstream_failed", "skipped"})


class UnfinishedOperator(BaseOperator):
    """Complete promotions whose step is no longer in any release file.

    A promotion that failed in a Dag that is still there is left to it, and so is one whose release file
    cannot be read at the moment: mended, its run goes on.

    :param folder: the releases folder; the one that the environment names when None.
    """

    def __init__(self, *, folder: str | None = None, **kwargs: Any) -> None:
        # Two of these at once would do the same work.
        super().__init__(inlets=[HOLDERS], max_active_tis_per_dag=1, **kwargs)
        self.folder = folder

    def execute(self, context: Context) -> Result:
        """Look for them and complete them one after the other."""
        loaded = read_folder(self.folder)
        completed, left = [], []
        problems: list[tuple[str, PromoterError]] = []
        for plan in ledger().unfinished():
            if plan.via != "airflow" or not plan.wanted or has_step(loaded, plan):
                left.append(str(plan.build.full_hash))
                continue
            subject = f"{plan.build.full_hash} to {plan.label}, planned by {plan.by} of {plan.dag_id}"
            try:
                if self._complete(context, plan, subject):
                    completed.append(subject)
            except PromoterError as error:
                said = f"{subject}: its step is no longer in {plan.file}, and it cannot be completed: {error}"
                problems.append((said, error))
        text = "\n".join(said for said, _ in problems)
        if any(isinstance(error, TransientError) for _, error in problems):
            raise TransientError(text)  # Airflow tries it again
        if problems:
            raise fail(context, text)
        return {"completed": completed, "left_to_their_dags": left}

    def _complete(self, context: Context, plan: Planned, subject: str) -> bool:
        """Complete a promotion unless somebody works on it; tell whether that was done."""
        promotion, services = read_recipe(plan.wanted)
        store, key = context["asset_state_store"][HOLDERS], holder_key(services.repo_url, plan.label)
        holder = read_claim(store.get(key)).holder
        ours = Group(self.dag_id, context["run_id"], self.task_id)
        if holder is not None and holder != ours:
            if (holder.dag_id, holder.run_id) != (plan.dag_id, plan.by):
                self.log.info("%s: %s holds the label now", subject, holder)
                return False
            states = group_states(context, holder)
            if works_now(states):
                self.log.info("%s: a task of it is still at work", subject)
                return False
            if stopped := sorted(name for name, state in states.items() if state in _STOPPED):
                raise PermanentError(
                    f"{stopped[0]} had failed, or a person had stopped it, before the step was removed: "
                    f"it is not gone on with ({plan.summary}). Put the step back and clear the whole group "
                    f"{holder.group}, or promote a newer build to {plan.label}"
                )
        age = services.dlrn.now() - plan.at
        if is_scheduled(context) and age < _GRACE:
            self.log.info("%s: planned %d s ago, completed after %d s", subject, age, _GRACE)
            return False
        # From here on the guard of a task that comes to life again refuses.
        store.set(key, Claim(ours).to_json())
        self.log.warning("%s: its step is no longer in %s; completing it", subject, plan.file)
        found = promote.preflight(promotion, services)
        row, observed = carry_out(promotion, services, found.was, say=self.log.info)
        previous = observed.dlrn.previous
        ledger().append(
            Promoted(
                dag_id=plan.dag_id,
                label=plan.label,
                build=plan.build,
                at=services.dlrn.now(),
                by=context["run_id"],
                via="airflow",
                file=plan.file,
                digest=plan.digest,
                previous=previous.build if previous else None,
                timestamp=row.timestamp,
            )
        )
        return True


def has_step(loaded: Iterable[Release | BrokenRelease], plan: Planned) -> bool:
    """Tell whether a release file still has, or may have, the step that planned a promotion."""
    for each in loaded:
        if each.file == plan.file and isinstance(each, BrokenRelease):
            return True
        if isinstance(each, Release) and each.dag_id == plan.dag_id:
            steps = [step for stage in each.stages for step in stage.steps]
            return any(isinstance(step, Promote) and step.label == plan.label for step in steps)
    return False
