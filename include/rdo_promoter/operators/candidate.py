"""The candidate label in DLRN and on registries."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from rdo_promoter.engine.candidate import CandidateRules, admit, tag_candidate
from rdo_promoter.engine.observe import single
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.base import PromoterOperator, Result, form, is_dry_run, run_build, skip

#: Set before the label is moved, so that a cleared or killed task knows that the run had its turn.
_ASKED = "asked_for_ci"


class CandidateOperator(PromoterOperator):
    """Give the candidate label to the run's build, if CI has room for it.

    A run that is not admitted ends as skipped with the reason. A run moves the label once: cleared, it
    takes up the entry that the build has.

    :param rules: when a build is admitted.
    """

    def __init__(self, *, rules: CandidateRules, **kwargs: Any) -> None:
        # Two runs that look at the label at once would both see room for their build.
        super().__init__(max_active_tis_per_dag=1, **kwargs)
        self.rules = rules

    def act(self, context: Context) -> Result:
        """Admit the build and leave the time from which the stage's deadlines count."""
        build = single(run_build(context))
        dlrn, store, dry_run = self.services.dlrn, context["task_state_store"], is_dry_run(context)
        asked = store.get(_ASKED) == build.full_hash
        by_hand = context["dag_run"].run_type == "manual"
        if not asked and not by_hand and (entries := dlrn.entries(self.rules.label, build)):
            raise skip(context, f"{build.full_hash} is in CI already: {entries[0].user} put it there")
        if not dry_run:
            store.set(_ASKED, build.full_hash)
        again = bool(form(context).get("retest")) and not asked
        admission = admit(build, self.rules, dlrn, again=again, dry_run=dry_run)
        if admission.refused:
            store.delete(_ASKED)
            raise skip(context, admission.refused)
        since = admission.entry.timestamp if admission.entry else dlrn.now()
        context["ti"].xcom_push(key="since", value=since)
        if dry_run and admission.moved:
            self.log.info("%s dry run: would promote to %s in DLRN", build.short, self.rules.label)
        return {"label": self.rules.label, "moved": admission.moved and not dry_run, "since": since}


class TagCandidateOperator(PromoterOperator):
    """Tag the build's containers with the candidate label on one registry, all or none of them.

    :param registry: the registry's name.
    :param push: copy them from the source registry first.
    :param coordinates: the promotion's fields but the build.
    """

    def __init__(self, *, registry: str, push: bool, coordinates: dict[str, Any], **kwargs: Any) -> None:
        # Two runs that move the same tags at once would leave a mixture.
        super().__init__(max_active_tis_per_dag=1, **kwargs)
        self.registry = registry
        self.push = push
        self.coordinates = coordinates

    def act(self, context: Context) -> Result:
        """Verify, copy if asked to, and tag."""
        promotion = Promotion(build=run_build(context), **self.coordinates)
        if is_dry_run(context):
            what = "push and tag" if self.push else "tag"
            count, build = len(promotion.containers), promotion.build
            self.log.info(
                "%s dry run: would %s %d containers with %s on %s",
                build.short,
                what,
                count,
                promotion.label,
                self.registry,
            )
            return {"dry_run": True}
        done = tag_candidate(promotion, self.services, self.registry, push=self.push)
        return {"copied": done.copied, "tagged": done.tagged, "note": done.note}
