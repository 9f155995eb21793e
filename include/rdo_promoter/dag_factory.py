"""From a release to its Dag. Reads no Connection and no Variable; the same file gives the same Dag."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, Param, TaskGroup, TriggerRule, task

from rdo_promoter.control.dag import control_dag
from rdo_promoter.errors import ConfigError
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.model.order import Wait
from rdo_promoter.operators.consistent import TellHoldingOperator
from rdo_promoter.operators.promotion import label_asset
from rdo_promoter.operators.source import PinBuildOperator, StartStageOperator
from rdo_promoter.release import BrokenRelease, Release, Stage, load_releases, releases_folder
from rdo_promoter.release.promotions import approvals_of, gates_of, promote_step, services_of, stage_facts
from rdo_promoter.sentinel import sentinel_dag
from rdo_promoter.steps import Candidate, HandOff, Promote, WaitFor
from rdo_promoter.steps.context import Chain, StageContext
from rdo_promoter.steps.jobs import JobStep
from rdo_promoter.triggers.names import BUILD_TASK, SINCE_KEY, pull

log = logging.getLogger(__name__)

#: No run of a release may be older; a fixed date keeps two parses equal.
START_DATE = datetime(2017, 1, 1, tzinfo=UTC)

#: Runs wait for CI for hours; Airflow's default of 16 would keep new builds out.
MAX_ACTIVE_RUNS = 64

#: What is transient is tried again for half an hour to an hour (15 s, doubling, with jitter, at most
#: 10 minutes between two tries); what is not fails at once.
DEFAULT_ARGS = {
    "owner": "rdo-promoter",
    "retries": 8,
    "retry_delay": timedelta(seconds=15),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(hours=2),
}

_BROKEN = """# {file} cannot be used

```text
{error}
```

Mend the file and check it with `rdo-promoter validate`; this Dag then gives way to the release's own.
"""

_ADVICE = """## When a build was not promoted

Look at its column in the grid.

- A red or amber job failed on that build. Rerun it in CI: a vote that passes goes on by itself until the
  deadline; afterwards clear the stage's gate together with what follows it.
- A skipped square says why in its XCom `reason`.
- A square that waits in front of CI or of a promotion is kept back by a person: `reason` says who, why, and
  until when. The Dag `promotions-control` lifts that, waives jobs, and marks builds bad.
- A red square in the promotion group says what is missing or wrong. Mend it and clear the whole group: what
  is in place already is not done again.
"""


def dags(folder: Path | None = None) -> dict[str, DAG]:
    """Make the Dags of all releases, the sentinel's, and that by which people decide, by Dag id.

    A release in trouble never takes another one with it.

    :param folder: the releases folder; the one that the environment names when not given.
    """
    sentinel = sentinel_dag(START_DATE, folder)
    made: dict[str, DAG] = {sentinel.dag_id: sentinel}
    loaded = load_releases(folder or releases_folder())
    if usable := [release for release in loaded if isinstance(release, Release)]:
        control = control_dag(START_DATE, usable, folder)
        made[control.dag_id] = control
    for release in loaded:
        try:
            dag = broken_dag(release) if isinstance(release, BrokenRelease) else release_dag(release)
        except Exception as error:  # otherwise every release of this installation stops
            log.exception("no Dag could be made of %s", release.file)
            said = ConfigError(
                f"{release.file}: {type(error).__name__}: {error}; please report this as a bug"
            )
            dag = broken_dag(BrokenRelease(release.file, said))
        made[dag.dag_id] = dag
    return made


def release_dag(release: Release) -> DAG:
    """Make the Dag of a release."""
    services = services_of(release)
    first = release.stages[0]
    with DAG(
        release.dag_id,
        schedule=release.schedule,
        start_date=START_DATE,
        catchup=False,
        max_active_runs=MAX_ACTIVE_RUNS,
        max_active_tasks=200,
        default_args=DEFAULT_ARGS,
        params=_form(release),
        tags=["rdo-promoter", release.release],
        description=f"Promote builds of {release.release} from {first.source} onwards ({release.file})",
        doc_md=_doc(release),
        render_template_as_native_obj=False,
    ) as dag:
        with TaskGroup("source", tooltip=f"the build that this run carries, from {first.source}"):
            build = PinBuildOperator(
                task_id="build",
                task_display_name="build",
                services=services.only(),
                source=first.source,
                candidate_label=first.candidate_label,
            )
            if first.source == CONSISTENT:
                # Beside the build, not behind it: a run with nothing new is when people ask why.
                TellHoldingOperator(task_id="holding", task_display_name="holding", services=services.only())
        assert build.task_id == BUILD_TASK
        before: dict[str, BaseOperator] = {}
        for stage in release.stages:
            last = _stage(release, stage, services, build, before)
            if stage.holds_back:
                before[stage.name] = last
    return dag


def broken_dag(broken: BrokenRelease) -> DAG:
    """Make the Dag that stands for a release file that cannot be used, and shows why."""
    with DAG(
        broken.dag_id,
        schedule=None,
        start_date=START_DATE,
        catchup=False,
        tags=["rdo-promoter", "broken"],
        description=f"{broken.file} cannot be used: see the Dag's documentation",
        doc_md=_BROKEN.format(file=broken.file, error=broken.error),
    ) as dag:

        @task(task_id="show_error")
        def show_error() -> None:
            raise broken.error

        show_error()
    return dag


def _stage(
    release: Release,
    stage: Stage,
    services: ConnectionServices,
    build: BaseOperator,
    before: Mapping[str, BaseOperator],
) -> BaseOperator:
    """Make the tasks of a stage; return its last one.

    :param before: the last task of each stage before that holds back what follows.
    """
    promote = promote_step(stage)
    label = promote.label if promote else None
    context = _context(release, stage, services, label)
    gates = "" if stage.holds_back else "; gates nothing"
    with TaskGroup(stage.name, tooltip=f"{stage.source} -> {label or 'no promotion'}{gates}"):
        start = StartStageOperator(
            task_id="start",
            services=context.for_step(*stage.steps).services,
            stage=stage.name,
            source=stage.source,
            before={name: task.task_id for name, task in before.items()},
            labels=[step.label for step in stage.steps if isinstance(step, Candidate | Promote)],
            jobs=[
                f"{stage.name}.{name}"
                for name, step in stage.named_steps
                if isinstance(step, JobStep | HandOff)
            ],
            zuul_decides=any(isinstance(step, WaitFor) and step.by_buildset for step in stage.steps),
            # A stage that was not chosen is skipped and must not take the next one with it; a failed one
            # must. Without a build nothing succeeded, and the whole run is skipped.
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        )
        start.set_upstream([build, *list(before.values())[-1:]])
        chain = Chain((start,))
        for name, step in stage.named_steps:
            chain = step.tasks(context.for_step(step), name, chain)
        if chain.aside:
            # A leaf that fails fails the run; these gate nothing.
            join = EmptyOperator(task_id="aside", trigger_rule=TriggerRule.ALL_DONE)
            join.set_upstream(list(chain.aside))
    return chain.tail[-1]


def _context(
    release: Release, stage: Stage, services: ConnectionServices, promoted_label: str | None
) -> StageContext:
    waits = [step for step in stage.steps if isinstance(step, WaitFor)]
    named = stage.named_steps
    entered = next((f"{stage.name}.{name}" for name, step in named if isinstance(step, Candidate)), None)
    entered = entered or f"{stage.name}.start"
    return StageContext(
        **vars(stage_facts(release, stage)),
        services=services,
        promoted_label=promoted_label,
        waits=tuple(Wait(wait.criteria(stage.policy), wait.within) for wait in waits),
        since=pull(entered, SINCE_KEY),
        poll=release.poll,
        asset=label_asset(release.dag_id, release.dlrn.repo_url, promoted_label) if promoted_label else None,
        made_from=MadeFrom(release.file, release.digest),
        dag_id=release.dag_id,
        waivers_file=release.waivers,
        policy=stage.policy,
        release_jobs=release.jobs,
        asks=(*approvals_of(stage), *gates_of(stage)),
        pipeline=release.pipeline(stage),
    )


def _form(release: Release) -> dict[str, Any]:
    names = [stage.name for stage in release.stages]
    return {
        "hash": Param(
            None,
            # Airflow's form insists on a value unless null is allowed.
            type=["null", "string"],
            title="Build",
            pattern=r"^\s*([0-9a-f]{40}_[0-9a-f]{8}(_[A-Za-z0-9._-]{1,8}){0,2})?\s*$",
            description="Full hash of the build to carry; empty for the newest.",
        ),
        "stages": Param(
            None,
            type=["null", "array"],
            title="Stages",
            items={"type": "string", "enum": names},
            examples=names,
            description="Stages to run; none chosen means all.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Go through everything, print each change, and make none.",
        ),
        "retest": Param(
            False,
            type="boolean",
            title="Test again",
            description="Give the build to CI again though it held the candidate label before.",
        ),
    }


def _doc(release: Release) -> str:
    lines = [f"# {release.dag_id}", "", f"Made from `{release.file}` (sha256 `{release.digest[:12]}`).", ""]
    for stage in release.stages:
        lines += [f"## {stage.name}: from {stage.source}", ""]
        for name, step in stage.named_steps:
            lines.append(f"- `{name}`: {step.describe()}")
        lines.append("")
    return "\n".join([*lines, _ADVICE])
