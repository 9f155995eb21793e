"""Stage 0: pin the build that the run carries; and the start of each stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from rdo_promoter.engine.access import Door, check_access
from rdo_promoter.engine.candidate import newest_build
from rdo_promoter.engine.observe import single
from rdo_promoter.errors import ConfigError, NotFoundError, PreflightError
from rdo_promoter.model.build import CONSISTENT, Build, DlrnHash, build_from_json
from rdo_promoter.operators.base import (
    PromoterOperator,
    Result,
    form,
    is_dry_run,
    is_scheduled,
    run_build,
    skip,
)
from rdo_promoter.operators.handoff import HandOffOperator
from rdo_promoter.operators.kept import kept_back
from rdo_promoter.operators.started import StartedJobOperator
from rdo_promoter.triggers.names import BUILD_KEY, REASON_KEY, SINCE_KEY

#: Where the pinned build survives a clear of its task.
_PINNED = "pinned"


class PinBuildOperator(PromoterOperator):
    """Pin the build that this run carries: the one named in the form, or the newest.

    From then on the run works on that hash; no later step resolves a label to find out what to work on.
    A scheduled run with nothing new ends here, everything behind this task skipped; so does one whose
    build is marked bad, or kept from CI by a hold.

    :param source: the label of the newest build, ``consistent`` as a rule.
    :param candidate_label: the label that CI tests: a build that held it is not new.
    """

    begins = True

    def __init__(self, *, source: str, candidate_label: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.candidate_label = candidate_label

    def act(self, context: Context) -> Result:
        """Pin the build and leave it in XCom."""
        build = self._pinned(context) or self._choose(context)
        text = json.dumps(build.to_json())
        context["task_state_store"].set(_PINNED, text, retention=NEVER_EXPIRE)
        context["ti"].xcom_push(key=BUILD_KEY, value=text)
        self.log.info("%s this run carries %s", build.short, build.full_hash)
        return {"full_hash": build.full_hash, "path": build.path}

    def _pinned(self, context: Context) -> DlrnHash | None:
        """Return the build of an earlier try: a cleared run carries the same build again."""
        text = context["task_state_store"].get(_PINNED)
        return single(build_from_json(json.loads(text))) if isinstance(text, str) else None

    def _choose(self, context: Context) -> DlrnHash:
        run = context["dag_run"]
        if run.run_type == "backfill":
            raise ConfigError(
                "a backfill needs the builds of the past, which this version cannot choose yet; "
                "trigger a run with the hash in its form instead"
            )
        dlrn = self.services.dlrn
        named = str(form(context).get("hash") or "").strip()
        if named:
            return dlrn.named(named)
        found = newest_build(dlrn, self.source, self.candidate_label)
        if is_scheduled(context):
            if found.nothing_new:
                raise self._over(context, found.build, found.nothing_new)
            if kept := kept_back(self.dag_id, found.build, self.candidate_label, now=dlrn.now()):
                raise self._over(context, found.build, f"{kept}; the next scheduled run looks again")
        if found.nothing_new:
            self.log.info("%s %s; carried all the same, as asked", found.build.short, found.nothing_new)
        return found.build

    def _over(self, context: Context, build: DlrnHash, reason: str) -> DownstreamTasksSkipped:
        """Return the exception that ends the run, everything behind this task skipped."""
        self.log.info("%s %s", build.short, reason)
        context["ti"].xcom_push(key=REASON_KEY, value=reason)
        # All at once: skipping them one after the other takes the scheduler a while in each tick.
        behind = sorted(task.task_id for task in self.get_flat_relatives())
        return DownstreamTasksSkipped(tasks=behind)  # type: ignore[no-untyped-call]


class StartStageOperator(PromoterOperator):
    """Start a stage: skip it when the form leaves it out, or when a stage before it ended as skipped.

    It knocks at everything that the stage works with: what refuses us is said before anything has changed.

    :param stage: the stage's name.
    :param source: the label that the stage starts from.
    :param before: the last task of each stage before it, by the stage's name.
    :param labels: the labels that the stage moves in DLRN.
    :param jobs: the stage's tasks that work with a Connection of their own.
    :param zuul_decides: whether a buildset of Zuul's decides in the stage; otherwise Zuul only informs.
    """

    begins = True

    def __init__(
        self,
        *,
        stage: str,
        source: str,
        before: Mapping[str, str],
        labels: Sequence[str] = (),
        jobs: Sequence[str] = (),
        zuul_decides: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.source = source
        self.labels = tuple(labels)
        self.before = dict(before)
        self.jobs = tuple(jobs)
        self.zuul_decides = zuul_decides

    def act(self, context: Context) -> Result:
        """Decide, and leave the time from which the stage's deadlines count."""
        chosen = form(context).get("stages") or []
        if chosen and self.stage not in chosen:
            raise skip(context, f"stage {self.stage} was not chosen in the run's form")
        for stage, state in self._before(context):
            if (not chosen or stage in chosen) and state != "success":
                ended = "was a dry run" if is_dry_run(context) else f"ended as {state}"
                raise skip(context, f"stage {stage} {ended}, so {self.stage} has nothing to work on")
        result: Result = {"stage": self.stage, "notes": self._check_access(run_build(context))}
        if self.source == CONSISTENT:
            return result
        build = run_build(context)
        entries = self.services.dlrn.entries(self.source, build)
        if not entries:
            raise NotFoundError(
                f"{build.full_hash} never held {self.source}, from which stage {self.stage} starts; "
                f"run the stage that promotes to {self.source} first"
            )
        context["ti"].xcom_push(key=SINCE_KEY, value=entries[0].timestamp)
        return {**result, "since": entries[0].timestamp}

    def _before(self, context: Context) -> list[tuple[str, str | None]]:
        """Return each stage before this one with the state of its last task.

        Its XCom would not tell: a task that is skipped after its run was cleared keeps that of its last try.
        """
        found = context["ti"].get_task_states(
            dag_id=self.dag_id, run_ids=[context["run_id"]], task_ids=list(self.before.values())
        )
        states: Mapping[str, str | None] = found.get(context["run_id"], {})
        return [(stage, states.get(last)) for stage, last in self.before.items()]

    def _check_access(self, build: Build) -> list[str]:
        """Refuse to begin when a service will not let us in; return what does not answer just now."""
        services = self.services
        found = check_access(services, services.registries, services.servers, self.labels, self._doors())
        for note in found.notes:
            self.log.warning("%s %s", build.short, note)
        if found.problems:
            raise PreflightError(f"{build.full_hash} in stage {self.stage}", found.problems)
        return list(found.notes)

    def _doors(self) -> Iterator[Door]:
        """Yield what the stage works with beside DLRN, registries and image servers."""
        for name in self.jobs:
            task = self.dag.get_task(name)
            assert isinstance(task, StartedJobOperator | HandOffOperator), name
            yield Door(f"step {name}", task.check)
        if self.services.zuul_conn_id is not None:
            yield Door("Zuul", self._ask_zuul, needed=self.zuul_decides)

    def _ask_zuul(self) -> None:
        with self.services.zuul() as zuul:
            zuul.check()
