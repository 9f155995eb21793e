"""The Dag ``promotions-control``: a form by which people decide, with Airflow's accounts and its audit."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, Context, Param
from airflow.sdk.exceptions import DownstreamTasksSkipped

from rdo_promoter.control.decide import decide
from rdo_promoter.control.wish import Act, Wish, check, labels_of
from rdo_promoter.errors import ConfigError, MissingConnectionError, PermanentError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.operators.base import Result, fail, form, skip
from rdo_promoter.release import BrokenRelease, Release, load_releases, releases_folder
from rdo_promoter.release.promotions import services_of

DAG_ID = "promotions-control"

#: What the form offers, and what it means.
_ACTS = {
    Act.WAIVE: "Waive jobs: they need not pass",
    Act.HOLD: "Hold a label or a build: runs wait",
    Act.LIFT: "Lift what is in force",
    Act.MARK_BAD: "Mark a build bad: it is not promoted",
    Act.SHOW: "Show what is in force",
}

#: The name of everybody where Airflow has no accounts.
_NOBODY = "Anonymous"

_DOC = """# promotions-control

Decide about builds and labels: press *Trigger*, choose release and act, and fill in what the act takes.

| act | takes |
| --- | --- |
| waive | jobs; a build, or every build; reason (the link of a bug); until |
| hold | a label or a build; reason; until, or nothing: until it is lifted |
| lift | what to lift: the job, label or build that it is about, or the name that *show* prints |
| mark-bad | a build; reason |
| show | nothing |

The act's task says in its log, and in its result, what is in force then. A red task says in its XCom `reason`
what to write instead, and nothing was written. You are known by your login.
"""


def control_dag(start_date: datetime, releases: Sequence[Release], folder: Path | None = None) -> DAG:
    """Make the Dag.

    :param start_date: no run is older.
    :param releases: those that can be chosen; at least one.
    :param folder: the releases folder; the one that the environment names when not given.
    """
    with DAG(
        DAG_ID,
        schedule=None,
        start_date=start_date,
        catchup=False,
        # Nothing runs unless a person wants it: who presses the button should not wait for a second one.
        is_paused_upon_creation=False,
        params=_form(releases),
        tags=["rdo-promoter"],
        description="Waive jobs, hold labels and builds, lift that, mark builds bad",
        doc_md=_DOC,
        default_args={
            "owner": "rdo-promoter",
            "retries": 3,
            "retry_delay": timedelta(seconds=15),
            "execution_timeout": timedelta(minutes=10),
        },
    ) as dag:
        named = str(folder) if folder else None
        first = CheckOperator(task_id="check", folder=named)
        first >> [ActOperator(task_id=task_of(act), act=act, folder=named, doc=_ACTS[act]) for act in Act]
    return dag


class ControlOperator(BaseOperator):
    """Base of the Dag's operators.

    :param folder: the releases folder; the one that the environment names when None.
    """

    ui_color = "#e8e3f3"

    def __init__(self, *, folder: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def execute(self, context: Context) -> Result | None:
        """Do the task's part; what a person has to write otherwise fails it without a retry."""
        try:
            return self.act_on(context, self._release(str(form(context)["release"])))
        except (PermanentError, MissingConnectionError) as error:
            raise fail(context, str(error)) from error

    @abstractmethod
    def act_on(self, context: Context, release: Release) -> Result | None:
        """Do the task's part for a release."""

    def _release(self, dag_id: str) -> Release:
        for each in load_releases(Path(self.folder) if self.folder else releases_folder()):
            if each.dag_id == dag_id and isinstance(each, Release):
                return each
            if isinstance(each, BrokenRelease) and each.dag_id == dag_id:
                raise each.error
        raise ConfigError(f"release: {dag_id!r} is in no release file (any more), or its file is broken")


class CheckOperator(ControlOperator):
    """Refuse a form that cannot be used; let the act that it chooses run, and skip the others at once."""

    def act_on(self, context: Context, release: Release) -> Result | None:
        """Check who asks, and for what."""
        person(context)
        wish = wish_of(form(context))
        # The act itself looks at DLRN's clock.
        check(wish, release, now=int(time.time()))
        others = [task_of(act) for act in Act if act is not wish.act]
        raise DownstreamTasksSkipped(tasks=others)  # type: ignore[no-untyped-call]


class ActOperator(ControlOperator):
    """Do what the form says: write it down, and say what is in force then.

    :param act: the act that is this task's.
    """

    def __init__(self, *, act: Act, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.act = str(act)

    def act_on(self, context: Context, release: Release) -> Result | None:
        """Write it down."""
        wish = wish_of(form(context))
        if wish.act != self.act:  # cleared alone
            raise skip(context, f"not chosen: the form says {wish.act}")
        dlrn, book = services_of(release).only().dlrn, ledger()
        found = decide(wish, release, dlrn, book, by=person(context), via="airflow")
        for line in (*(f"ledger: {name}" for name in found.written), *found.report.lines()):
            self.log.info("%s", line)
        return {"release": release.dag_id, "written": list(found.written), **found.report.to_json()}


def task_of(act: Act) -> str:
    """Return the id of an act's task."""
    return act.replace("-", "_")


def person(context: Context) -> str:
    """Return who started the run, as Airflow knows them.

    :raises ConfigError: when it does not: what nobody decided does not count.
    """
    name = context["dag_run"].triggering_user_name
    if not name or name == _NOBODY:
        raise ConfigError(
            "Airflow does not know who started this run, and decisions have an author: log in with an "
            "account of your own, or use `rdo-promoter` on the command line"
        )
    return name


def wish_of(filled: Any) -> Wish:
    """Return what a filled form wants.

    :param filled: the run's params.
    """

    def text(name: str) -> str:
        return str(filled.get(name) or "")

    def words(name: str) -> tuple[str, ...]:
        return tuple(str(word) for word in filled.get(name) or ())

    return Wish(
        act=Act(filled["act"]),
        jobs=words("jobs"),
        full_hash=text("build"),
        every_build=bool(filled.get("every_build")),
        label=text("label"),
        reason=text("reason"),
        until=text("until"),
        lifts=words("lift"),
    )


def _form(releases: Sequence[Release]) -> dict[str, Any]:
    jobs = sorted({job for release in releases for job in release.jobs})
    labels = sorted({label for release in releases for label in labels_of(release)})
    # Airflow's form insists on a value unless null is allowed.
    text, listed = ["null", "string"], ["null", "array"]
    return {
        "release": Param(
            # Nobody should decide about a release that was not chosen.
            releases[0].dag_id if len(releases) == 1 else None,
            type="string",
            enum=[release.dag_id for release in releases],
            title="Release",
        ),
        "act": Param(
            str(Act.SHOW),
            type="string",
            enum=[str(act) for act in Act],
            values_display={str(act): said for act, said in _ACTS.items()},
            title="What to do",
        ),
        "reason": Param(
            None,
            type=text,
            title="Reason",
            description="Why; for a waiver the link of a bug. Every act but the last needs one.",
        ),
        "until": Param(
            None,
            type=text,
            format="date-time",
            title="Until",
            description="A waiver has an end; a hold without one holds until it is lifted.",
        ),
        "build": Param(
            None,
            type=text,
            title="Build",
            description="Full hash: of the build to hold or to mark bad, or for which alone jobs are waived.",
        ),
        "label": Param(
            None,
            type=text,
            examples=labels,
            title="Label",
            description="The label to hold.",
        ),
        "jobs": Param(
            None,
            type=listed,
            items={"type": "string"},
            examples=jobs,
            title="Jobs",
            description="The required jobs to waive.",
        ),
        "every_build": Param(
            False,
            type="boolean",
            title="Every build",
            description="Waive the jobs for every build, not for one.",
        ),
        "lift": Param(
            None,
            type=listed,
            items={"type": "string"},
            title="Lift",
            description="A job, a label, a full hash, or the names in brackets in what is in force.",
        ),
    }
