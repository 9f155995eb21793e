"""Who may change a label: one run at a time, the holder.

The holder's name is kept in Airflow's state store of one asset, which every Dag of this package and the
sentinel reference: the store forgets what belongs to an asset that no Dag references any more, and a
release's own Dag is gone while its file cannot be read. The key is the label with its repository tree, not
the Dag: a release that was renamed moves the same label.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Asset, Context
from pydantic import JsonValue

from rdo_promoter.engine import promote
from rdo_promoter.errors import SupersededError
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import Build, build_from_json
from rdo_promoter.model.ledger import by_hand
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.base import Result, fail, is_dry_run, run_build
from rdo_promoter.operators.kept import PatientOperator, begun

#: Its state store names the holder of each label; nothing is ever published for it.
HOLDERS = Asset(name="rdo-promoter/holders", uri="x-rdo-promoter://holders", group="rdo-promoter")

#: States in which a task will do nothing more unless somebody clears it.
_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: States in which a worker runs a task, or will whatever becomes of its Dag.
_AT_WORK = frozenset({"queued", "running", "restarting"})


def holder_key(repo_url: str, label: str) -> str:
    """Return the key of a label's holder in the state store.

    :param repo_url: DLRN's repository tree, in which the label is.
    :param label: the promoted label.
    """
    return f"holder of {repo_url}/{label}"


@dataclass(frozen=True)
class Group:
    """A promotion group of one run, or the sentinel's task that completes what a group has begun.

    :param dag_id: the run's Dag.
    :param run_id: the run.
    :param group: id of its promotion group, or of the task.
    """

    dag_id: str
    run_id: str
    group: str

    def __str__(self) -> str:
        return f"{self.run_id} of {self.dag_id}"

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields as JSON values."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "group": self.group}


@dataclass(frozen=True)
class Claim:
    """What the state store says of a label.

    :param holder: whose turn it is, None when it was never anybody's.
    :param after: who had it before; a claim that was not confirmed has to look at it again.
    """

    holder: Group | None = None
    after: Group | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields as JSON values."""
        return {
            "holder": self.holder.to_json() if self.holder else None,
            "after": self.after.to_json() if self.after else None,
        }


def read_claim(stored: object) -> Claim:
    """Read what `Claim.to_json` made; anything else is no claim."""
    if not isinstance(stored, Mapping):
        return Claim()
    return Claim(_read_group(stored.get("holder")), _read_group(stored.get("after")))


def _read_group(stored: object) -> Group | None:
    if not isinstance(stored, Mapping):
        return None
    fields = [stored.get(name) for name in ("dag_id", "run_id", "group")]
    return Group(*map(str, fields)) if all(fields) else None


def take(store: Any, key: str, ours: Group, works: Callable[[Group], bool]) -> Group | None:
    """Take a label when nobody works on it; return who does, and None when it is ours.

    It claims first and looks again then: a task of the former holder that was cleared meanwhile is either
    seen here, or sees the claim in its own guard.

    :param store: names the holders.
    :param key: the label's.
    :param ours: who is to be the holder.
    :param works: tells whether a former holder may still change something.
    """
    claim = read_claim(store.get(key))
    former = claim.after if claim.holder == ours else claim.holder
    if former is None or former == ours or not works(former):
        store.set(key, Claim(ours, former).to_json())
        if former is None or former == ours or not works(former):
            store.set(key, Claim(ours).to_json())
            return None
    # Also a claim that an earlier try could not give back.
    store.set(key, Claim(former).to_json())
    return former


def still_works(states: Mapping[str, str | None], hold: str) -> bool:
    """Tell whether a run that held the label may still change something.

    A task that is queued, running or waiting may. One without a state comes later, if the group is under
    way: if its own `hold` has succeeded. Without that a run that was cleared waits for the label again. A
    `plan` that waits for people, who hold its build, changes nothing, and asks anew whose turn it is.

    :param states: the states of the group's tasks by their id.
    :param hold: id of the group's `hold` task.
    """
    plan = f"{hold.removesuffix('hold')}plan"
    waits = states.get(plan) == "up_for_reschedule"
    apart = (hold, plan) if waits else (hold,)
    if any(state is not None and state not in _ENDED for name, state in states.items() if name not in apart):
        return True
    return not waits and states.get(hold) == "success" and None in states.values()


def works_now(states: Mapping[str, str | None]) -> bool:
    """Tell whether a task is being run at this moment: all that counts when no file makes its Dag any more.

    :param states: the states of the group's tasks by their id.
    """
    return any(state in _AT_WORK for state in states.values())


class PromotionOperator(PatientOperator):
    """Base of the group's operators.

    :param coordinates: the promotion's fields but the build.
    :param group: id of the promotion group.
    """

    ui_color = "#e3f2e6"

    def __init__(self, *, coordinates: dict[str, Any], group: str, **kwargs: Any) -> None:
        super().__init__(inlets=[HOLDERS], **kwargs)
        self.coordinates = coordinates
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
        """Refuse to work unless this run holds the label: a task cleared alone may come too late.

        Whoever promotes on the command line is waited for: the label was taken over while Airflow was down.
        """
        holder = read_claim(self.store(context).get(self.key)).holder
        if holder is None or (holder.dag_id, holder.run_id) != (self.dag_id, context["run_id"]):
            raise fail(
                context,
                f"{self.coordinates['label']} is held by {holder or 'no run'}: "
                f"clear the whole group {self.group}, not this task alone",
            )
        self.let_by_hand(context)

    @contextmanager
    def telling_what_is_half_done(self, context: Context, promotion: Promotion) -> Iterator[None]:
        """Fail a promotion that is superseded when some of its labels have moved: skipped, nobody would look.

        :param promotion: the promotion.
        """
        try:
            yield
        except SupersededError as error:
            moved = () if is_dry_run(context) else begun(self.dag_id, promotion, self.services)
            if not moved:
                raise
            lines = "".join(f"\n  - {line}" for line in moved)
            raise fail(
                context,
                f"{promotion.subject}: {error}, and this promotion has moved:{lines}\n"
                f"Promote {error.by} in this Dag, which takes these along",
            ) from error

    def let_by_hand(self, context: Context) -> None:
        """Come back later when somebody promotes to the label without Airflow."""
        plans = ledger().unfinished(self.dag_id, self.coordinates["label"])
        if theirs := by_hand(plans, now=self.services.dlrn.now()):
            what = f"{theirs.by} promotes {theirs.build.full_hash} on the command line"
            raise self.later(f"{run_build(context).short} {what}; looking again soon")

    def store(self, context: Context) -> Any:
        """Return the state store that names the holders."""
        return context["asset_state_store"][HOLDERS]

    @property
    def key(self) -> str:
        """The key of the label's holder."""
        return holder_key(self.services.repo_url, self.coordinates["label"])


class HoldOperator(PromotionOperator):
    """Wait until neither people nor another run keep the label, then hold it for this run.

    One of these runs at a time in a Dag.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_active_tis_per_dag=1, **kwargs)

    def act(self, context: Context) -> Result:
        """Hold the label, or come back later."""
        promotion = self.promotion(context)
        with self.telling_what_is_half_done(context, promotion):
            promote.check_order(promotion, self.services)
        self.heed_promotion(context, promotion)
        if is_dry_run(context):
            return {"dry_run": True}
        self.let_by_hand(context)
        ours = Group(self.dag_id, context["run_id"], self.group)
        if former := take(self.store(context), self.key, ours, lambda each: self._works(context, each)):
            raise self.later(
                f"{promotion.build.short} {former} changes {promotion.label}; looking again soon"
            )
        self.log.info("%s this run holds %s", promotion.build.short, promotion.label)
        return {"holder": ours.run_id}

    def _works(self, context: Context, former: Group) -> bool:
        """Tell whether another run, or the sentinel, may still change something."""
        states = group_states(context, former)
        if former.dag_id != self.dag_id:
            # One release file alone may move a label, so the other Dag was renamed and is frozen; or it is
            # the sentinel's.
            return works_now(states)
        return still_works(states, f"{former.group}.hold")


def group_states(context: Context, group: Group) -> dict[str, str | None]:
    """Return the states of a promotion group's tasks by their id; empty when the run was deleted.

    Airflow can be asked for a group, too, but answers with an error when the Dag or the group is no more.
    """
    states = context["ti"].get_task_states(dag_id=group.dag_id, run_ids=[group.run_id])
    of_run: Mapping[str, str | None] = states.get(group.run_id, {})
    return {
        name: state
        for name, state in of_run.items()
        if name == group.group or name.startswith(f"{group.group}.")
    }
