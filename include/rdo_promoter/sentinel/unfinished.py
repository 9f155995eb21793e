"""Promotions that had begun when their step was taken out of the release file: ended, not left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import AssetAlias, BaseOperator, Context
from pydantic import JsonValue

from rdo_promoter.engine import promote
from rdo_promoter.engine.moved import moved_elsewhere
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.errors import (
    PermanentError,
    PromoterError,
    ServiceError,
    SupersededError,
    TransientError,
    said,
)
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.recipe import read_recipe
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.clock import is_over
from rdo_promoter.model.ledger import BY_HAND, Planned, Promoted, by_hand, give_up
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.base import Result, fail, form, is_scheduled
from rdo_promoter.operators.hold import (
    HOLDERS,
    Claim,
    Group,
    group_states,
    holder_key,
    read_claim,
    still_works,
    take,
    works_now,
)
from rdo_promoter.operators.kept import begun, kept_back
from rdo_promoter.operators.promotion import event, label_asset
from rdo_promoter.release import BrokenRelease, Release
from rdo_promoter.sentinel.releases import read_folder
from rdo_promoter.steps import Promote

#: Stands for the labels that are moved here: which ones is not known before.
COMPLETED = AssetAlias("rdo-promoter/completed", group="rdo-promoter")

#: Seconds since its step was missed in which a promotion is left alone: a file that is edited may be gone
#: for a moment.
_GRACE = 600

#: States of a promotion that was given up while its step was still there: not ours to go on with.
_STOPPED = frozenset({"failed", "upstream_failed", "skipped"})

#: The key of when steps were first missed.
_MISSED = "steps that are missed"


class UnfinishedOperator(BaseOperator):
    """End promotions whose step is no longer in any release file: complete them, or say why not.

    A promotion that failed in a Dag that is still there is left to it, and so is one whose release file
    cannot be read at the moment: mended, its run goes on.

    :param folder: the releases folder; the one that the environment names when None.
    """

    def __init__(self, *, folder: str | None = None, **kwargs: Any) -> None:
        # Two of these at once would do the same work.
        super().__init__(inlets=[HOLDERS], outlets=[COMPLETED], max_active_tis_per_dag=1, **kwargs)
        self.folder = folder

    def execute(self, context: Context) -> Result:
        """Look for them and end them one after the other; one in trouble stops no other."""
        loaded, store = read_folder(self.folder), context["asset_state_store"][HOLDERS]
        dag_ids = frozenset(each.dag_id for each in loaded if isinstance(each, Release))
        before = _times(store.get(_MISSED))
        missed: dict[str, JsonValue] = {}
        ends: dict[str, list[str]] = {"completed": [], "given_up": [], "left": []}
        problems: list[tuple[str, PromoterError]] = []
        for dag_id in ledger().dag_ids():
            try:
                plans = ledger().unfinished(dag_id)
            except PromoterError as error:
                problems.append((str(error), error))
                continue
            for plan in plans:
                subject = f"{plan.build.full_hash} to {plan.label}, planned by {plan.by} of {plan.dag_id}"
                if may_have_step(loaded, plan):
                    ends["left"].append(subject)
                    continue
                try:
                    promotion, services = read_recipe(plan.wanted)
                    since = before.get(plan.suffix) or services.dlrn.now()
                    missed[plan.suffix] = since
                    case = _Case(self, context, plan, subject, promotion, services, dag_ids)
                    ends[case.end(since)].append(subject)
                except PromoterError as error:
                    where = f"{subject}: its step is no longer in {plan.file}"
                    problems.append((f"{where}, and it is not complete: {said(error)}", error))
        store.set(_MISSED, missed)
        text = "\n".join(line for line, _ in problems)
        if any(isinstance(error, TransientError) for _, error in problems):
            raise TransientError(text)  # Airflow tries it again
        if problems:
            raise fail(context, text)
        return dict(ends)


@dataclass(frozen=True)
class _Case:
    """One plan whose step is gone.

    :param task: the sentinel's task.
    :param subject: the plan, for messages.
    :param promotion: what it wanted.
    :param services: what it works on.
    :param dag_ids: the Dags of the releases that can be used.
    """

    task: BaseOperator
    context: Context
    plan: Planned
    subject: str
    promotion: Promotion
    services: ConnectionServices
    dag_ids: frozenset[str]

    @property
    def log(self) -> Any:
        """The task's log."""
        return self.task.log

    @property
    def store(self) -> Any:
        """The state store that names the holders."""
        return self.context["asset_state_store"][HOLDERS]

    @property
    def key(self) -> str:
        """The key of the label's holder."""
        return holder_key(self.services.repo_url, self.plan.label)

    @property
    def ours(self) -> Group:
        """Who completes it."""
        return Group(self.task.dag_id, self.context["run_id"], self.task.task_id)

    def end(self, since: int) -> str:
        """Complete the promotion, give it up, or leave it to who works on it; return which of these.

        :param since: when its step was first missed.
        :raises PermanentError: when a person has to decide.
        """
        now = self.services.dlrn.now()
        if reason := self._given_up():
            return self._give_up(reason)
        if theirs := by_hand(ledger().unfinished(self.plan.dag_id, self.plan.label), now=now):
            self.log.info("%s: %s promotes to the label by hand", self.subject, theirs.by)
            return "left"
        if is_scheduled(self.context) and not is_over(since, _GRACE, now=now):
            self.log.info("%s: its step is gone; ended %d s after that", self.subject, _GRACE)
            return "left"
        self._check_not_stopped()
        run = Group(self.plan.dag_id, self.plan.by, self.plan.group)
        if worker := run if self._works(run) else take(self.store, self.key, self.ours, self._works):
            self.log.info("%s: %s is at work", self.subject, worker)
            return "left"
        try:
            return self._complete()
        except SupersededError as error:
            if moved := moved_elsewhere(self.promotion, self.services):
                raise PermanentError(f"{error}, but: {'; '.join(moved)}. {self._left}") from error
            return self._give_up(str(error))
        finally:
            # A task of its run that comes to life again is refused all the same.
            if self._holder() == self.ours:
                self.store.set(self.key, Claim().to_json())

    def _given_up(self) -> str | None:
        """Return why a person wants it to be given up, None when nobody does."""
        wanted = form(self.context)
        if str(wanted.get("give_up") or "").strip() != self.plan.build.full_hash:
            return None
        reason = str(wanted.get("reason") or "").strip()
        if not reason:
            raise PermanentError("to give it up say why: fill in `reason` in the form, too")
        return reason

    def _give_up(self, reason: str) -> str:
        self.log.warning("%s: given up: %s", self.subject, reason)
        now = self.services.dlrn.now()
        ledger().append(give_up(self.plan, reason, at=now, by=str(self.ours), via="airflow"))
        return "given_up"

    def _check_not_stopped(self) -> None:
        """Refuse what somebody may have stopped on purpose: what nobody knows is not gone on with.

        A task whose step was removed has lost its state, so the run's own counts as well.
        """
        plan, ti = self.plan, self.context["ti"]
        if plan.via != "airflow":
            why = f"it was begun on the command line, and is not at work for {BY_HAND} s"
        elif not ti.get_dr_count(
            dag_id=plan.dag_id, run_ids=[plan.by], states=["queued", "running", "success"]
        ):
            why = "its run has failed, was marked as failed, or is gone"
        else:
            states = group_states(self.context, Group(plan.dag_id, plan.by, plan.group))
            stopped = sorted(name for name, state in states.items() if state in _STOPPED)
            if states and not stopped:
                return
            why = f"{stopped[0]} had failed, or a person had stopped it" if stopped else "its tasks are gone"
        raise PermanentError(f"{why}: it is not gone on with ({plan.summary}). {self._left}")

    @property
    def _left(self) -> str:
        """What a person can do."""
        group = self.plan.group
        again = f"clear the whole group {group}" if group else "run the same command again"
        return (
            f"Put the step back and {again}, or promote a newer build; or run this Dag with `give_up` "
            f"{self.plan.build.full_hash}, which leaves what has moved where it is"
        )

    def _works(self, former: Group) -> bool:
        """Tell whether a run may still change something."""
        states = group_states(self.context, former)
        if former.dag_id in self.dag_ids:
            return still_works(states, f"{former.group}.hold")
        return works_now(states)  # it is frozen, or an earlier run of this very task, which has ended

    def _kept_back(self) -> str | None:
        """Return how it ends when people keep it back and nothing has moved, None when it goes on."""
        plan = self.plan
        kept = kept_back(plan.dag_id, plan.build, plan.label, now=self.services.dlrn.now())
        if not kept or begun(plan.dag_id, self.promotion, self.services):
            return None
        if kept.bad:
            return self._give_up(f"{kept}; nothing has moved")
        self.log.info("%s: nothing has moved, and %s", self.subject, kept)
        return "left"

    def _complete(self) -> str:
        if ended := self._kept_back():
            return ended
        self.log.warning("%s: its step is no longer in %s; completing it", self.subject, self.plan.file)
        found = promote.preflight(self.promotion, self.services)
        row, observed = carry_out(self.promotion, self.services, found.was, say=self._guard)
        previous = observed.dlrn.previous.build if observed.dlrn.previous else None
        plan = self.plan
        ledger().append(
            Promoted(
                dag_id=plan.dag_id,
                label=plan.label,
                build=plan.build,
                at=self.services.dlrn.now(),
                by=str(self.ours),
                via="airflow",
                file=plan.file,
                digest=plan.digest,
                previous=previous,
                timestamp=row.timestamp,
            )
        )
        asset = label_asset(plan.dag_id, self.services.repo_url, plan.label)
        self.context["outlet_events"][COMPLETED].add(asset, extra=event(self.promotion, previous))
        return "completed"

    def _guard(self, step: str) -> None:
        """Log a step, and refuse to take it when the label has another holder by now, as each task does."""
        if (holder := self._holder()) != self.ours:
            raise ServiceError(f"{self.plan.label} is held by {holder or 'no run'} now; tried again later")
        self.log.info("%s: %s", self.subject, step)

    def _holder(self) -> Group | None:
        return read_claim(self.store.get(self.key)).holder


def may_have_step(loaded: Iterable[Release | BrokenRelease], plan: Planned) -> bool:
    """Tell whether a release file still has, or may have, the step that planned a promotion.

    What cannot be read may be that file under another name. A folder without any release is one that is not
    there at the moment.
    """
    loaded = list(loaded)
    for each in loaded:
        if isinstance(each, Release) and each.dag_id == plan.dag_id:
            steps = [step for stage in each.stages for step in stage.steps]
            return any(isinstance(step, Promote) and step.label == plan.label for step in steps)
    if any(isinstance(each, Release) and each.file == plan.file for each in loaded):
        return False
    return not loaded or any(isinstance(each, BrokenRelease) for each in loaded)


def _times(stored: object) -> dict[str, int]:
    """Read what was stored of when steps were first missed."""
    items = stored.items() if isinstance(stored, Mapping) else ()
    return {str(name): at for name, at in items if isinstance(at, int)}
