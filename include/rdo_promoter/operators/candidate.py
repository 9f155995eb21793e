"""The candidate label in DLRN and on registries."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from rdo_promoter.engine.candidate import (
    CandidateRules,
    admit,
    look_at_candidate,
    newest_build,
    tag_candidate,
)
from rdo_promoter.engine.observe import single
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.base import (
    PromoterOperator,
    Result,
    form,
    is_dry_run,
    is_scheduled,
    run_build,
    skip,
)
from rdo_promoter.operators.kept import PatientOperator, kept_back
from rdo_promoter.triggers.names import SINCE_KEY

#: How often the build had entered the label when this run first asked; survives retries and clears.
_ENTRIES_BEFORE = "entries_before"


class CandidateOperator(PatientOperator):
    """Give the candidate label to the run's build, if CI has room for it.

    A run that is not admitted ends as skipped with the reason. A run moves the label once: cleared, it
    takes up the entry that its build has. While people hold the label or the build, a run that somebody
    started waits; a scheduled one ends as skipped, the next one looks again.

    :param rules: when a build is admitted.
    :param source: the label of the newest build.
    :param waivers_file: the reviewed file of waivers, relative to the releases folder; None without one.
    """

    def __init__(
        self, *, rules: CandidateRules, source: str, waivers_file: str | None = None, **kwargs: Any
    ) -> None:
        # Two runs that look at the label at once would both see room for their build.
        super().__init__(max_active_tis_per_dag=1, **kwargs)
        self.rules = rules
        self.source = source
        self.waivers_file = waivers_file

    def act(self, context: Context) -> Result:
        """Admit the build and leave the time from which the stage's deadlines count."""
        build = single(run_build(context))
        dlrn, store, dry_run = self.services.dlrn, context["task_state_store"], is_dry_run(context)
        entries = dlrn.entries(self.rules.label, build)
        before = store.get(_ENTRIES_BEFORE)
        if before is None:
            if is_scheduled(context) and entries:
                raise skip(context, f"{build.full_hash} is in CI already: {entries[0].user} put it there")
            before = len(entries)
        if is_scheduled(context) and not entries:
            newest = newest_build(dlrn, self.source, self.rules.label).build
            if newest != build:
                # Its entry would be younger than that of a newer build, and the order of builds wrong.
                raise skip(
                    context, f"{newest.full_hash} is {self.source} by now, and this run's build is not"
                )
        # A lost answer must not have the build tested a third time.
        again = bool(form(context).get("retest")) and len(entries) == before
        decisions = Decisions.NONE
        if again or not entries:
            self._heed_people(context, build)
            # Without an answer nobody knows whom CI works for: the task is tried again.
            decisions = DecisionsReader(self.dag_id, self.waivers_file).read()
        if not dry_run:
            store.set(_ENTRIES_BEFORE, before, retention=NEVER_EXPIRE)
        admission = admit(build, self.rules, dlrn, decisions, again=again, dry_run=dry_run)
        if admission.refused:
            store.delete(_ENTRIES_BEFORE)
            raise skip(context, admission.refused)
        since = admission.entry.timestamp if admission.entry else dlrn.now()
        context["ti"].xcom_push(key=SINCE_KEY, value=since)
        if dry_run and admission.moved:
            self.log.info("%s dry run: would promote to %s in DLRN", build.short, self.rules.label)
        return {"label": self.rules.label, "moved": admission.moved and not dry_run, "since": since}

    def _heed_people(self, context: Context, build: DlrnHash) -> None:
        if is_scheduled(context) and not is_dry_run(context):
            # Waiting, one run a tick, it would fill the Dag's runs and give CI an old build in the end.
            if kept := kept_back(self.dag_id, build, self.rules.label, now=self.services.dlrn.now()):
                raise skip(context, f"{kept}; the next scheduled run looks again")
            return
        self.heed(context, build, self.rules.label)


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
            would = look_at_candidate(promotion, self.services, self.registry)
            self.log.info(
                "%s dry run: would %smove %d tags to %s on %s%s",
                promotion.build.short,
                f"copy {would.copied} containers and " if self.push else "",
                would.tagged,
                promotion.label,
                self.registry,
                f"; {would.note}" if would.note else "",
            )
            return {"dry_run": True, "tagged": would.tagged, "note": would.note}
        done = tag_candidate(promotion, self.services, self.registry, push=self.push)
        return {"copied": done.copied, "tagged": done.tagged, "note": done.note}
