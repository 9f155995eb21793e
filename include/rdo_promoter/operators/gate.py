"""The gate: criteria and fresh votes decide, alone."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from rdo_promoter.engine.observe import place_problem
from rdo_promoter.model.order import displaced
from rdo_promoter.model.verdict import Criteria, judge
from rdo_promoter.operators.base import PromoterOperator, Result, fail, is_dry_run, run_build, skip


class GateOperator(PromoterOperator):
    """Let the build through when the votes in DLRN meet the criteria.

    It reads the votes anew: what the sensors saw is for people. Superseded and displaced builds end as
    skipped; criteria that are not met fail, and say what is missing.

    :param criteria: the jobs that have to pass before what follows.
    :param stage_jobs: all jobs of the stage, alternatives among them.
    :param candidate_label: the label that CI tests.
    :param promoted_label: the label that the stage promotes to; None when it promotes to none.
    """

    ui_color = "#fdf3d8"

    def __init__(
        self,
        *,
        criteria: Criteria,
        stage_jobs: frozenset[str],
        candidate_label: str,
        promoted_label: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.criteria = criteria
        self.stage_jobs = stage_jobs
        self.candidate_label = candidate_label
        self.promoted_label = promoted_label

    def act(self, context: Context) -> Result:
        """Decide."""
        build, dlrn = run_build(context), self.services.dlrn
        votes = dlrn.votes(build)
        verdict = judge(self.criteria, votes)
        self.log.info("%s %s", build.short, verdict.summary())
        for result in verdict.results:
            self.log.info("%s   %s", build.short, result)
        if is_dry_run(context):
            return {"dry_run": True, "met": verdict.met, "summary": verdict.summary()}
        if self.promoted_label is not None:
            place_problem(  # superseded: ends as skipped
                dlrn,
                build,
                dlrn.current(self.promoted_label),
                candidate_label=self.candidate_label,
                promoted_label=self.promoted_label,
            )
        if displaced(build, tested := dlrn.current(self.candidate_label), votes, self.stage_jobs):
            assert tested is not None
            raise skip(context, f"not tested: displaced by {tested.build.full_hash}")
        if not verdict.met:
            raise fail(
                context,
                f"{build.full_hash} does not meet the criteria: {verdict.summary()}. "
                "Rerun those jobs on this hash and clear this gate with what follows it",
            )
        return {"met": True, "summary": verdict.summary()}
