"""Handing a promoted build off: a signed record, stored beside the images, posted, acknowledged."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Asset, Context
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from pydantic import JsonValue

from rdo_promoter.clients.receiver import Said, State
from rdo_promoter.engine.handoff import Scope, collect, promotion_row
from rdo_promoter.errors import NotFoundError
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.hooks.handoff import HandoffKeyHook, HandoffReceiverHook
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import utc
from rdo_promoter.model.handoff import Handoff, stored_as
from rdo_promoter.model.promotion import label_uri
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.operators import started
from rdo_promoter.operators.base import Result, fail, is_dry_run, run_build, skip
from rdo_promoter.operators.kept import PatientOperator
from rdo_promoter.triggers.handoff import HandoffTrigger

#: Where the task's store has until when it waits.
_WAIT = "wait"


@dataclass(frozen=True)
class Way:
    """How a build is handed off.

    :param key_conn_id: Connection with the key that signs.
    :param receiver_conn_id: Connection to the receiver.
    :param acknowledged_within: seconds that the receiver has to acknowledge; None: it need not.
    """

    key_conn_id: str
    receiver_conn_id: str
    acknowledged_within: int | None = None


class HandOffOperator(PatientOperator):
    """Hand the run's build off, and wait for the acknowledgement in the triggerer.

    Done again it makes the same record, with the same key, which a receiver has only once. A build that no
    longer holds the label is not handed off: superseded it ends as skipped, otherwise it fails.

    :param scope: what the record tells of.
    :param way: how it is handed off.
    :param asset: stands for the label's hand-offs.
    :param waivers_file: the reviewed file of waivers, None without one.
    """

    ui_color = "#dcebf7"

    def __init__(
        self, *, scope: Scope, way: Way, asset: Asset, waivers_file: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(outlets=[asset], **kwargs)
        self.scope = scope
        self.way = way
        self.asset = asset
        self.waivers_file = waivers_file

    def check(self) -> None:
        """Read the key, and ask the receiver whether it lets us in; the stage's start does so.

        :raises PermanentError: when the build could not be handed off.
        """
        HandoffKeyHook(self.way.key_conn_id).get_conn()
        with HandoffReceiverHook(self.way.receiver_conn_id).get_conn() as receiver:
            receiver.check_login()

    def act(self, context: Context) -> Result | None:
        """Collect, sign, store and post."""
        build, label = run_build(context), self.scope.label
        if (posted := self._posted(context)) and not is_dry_run(context):
            # An earlier try: the label may have moved on since, and that is no reason any more.
            with suppress(NotFoundError):
                return self._ask(context, posted)
        row = promotion_row(self.services.dlrn, build, label)
        self.heed(context, build, label)
        # What cannot be signed or posted is not stored either.
        key = HandoffKeyHook(self.way.key_conn_id).get_conn()
        with HandoffReceiverHook(self.way.receiver_conn_id).get_conn() as receiver:
            record = self._collect(context, row)
            self.log.info("%s hand-off %s", build.short, record.key)
            for line in record.lines():
                self.log.info("%s   %s", build.short, line)
            if is_dry_run(context):
                context["ti"].xcom_push(key="dry_run", value={"sha256": record.key})
                # A success would be an event of the asset.
                raise skip(context, "dry run: nothing was stored or posted")
            # Once more, right before it goes out: to look at everything may have taken minutes.
            promotion_row(self.services.dlrn, build, label)
            content = key.sign(record.to_json()).to_bytes()
            for name in self.scope.servers:
                self._store(name, build, content)
            said = receiver.post(record.key, content)
            self.log.info("%s posted with key %s, signed with %s", build.short, record.key, key.key_id)
        return self._settle(context, record.key, said)

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,  # noqa: ARG002 - Airflow's
        *,
        key: str,
    ) -> Result | None:
        """Ask the receiver after the trigger has rung.

        :param event: that it has rung.
        :param key: the hand-off's key.
        """
        return self.guarded(context, lambda: self._ask(context, key))

    def _ask(self, context: Context, key: str) -> Result | None:
        with HandoffReceiverHook(self.way.receiver_conn_id).get_conn() as receiver:
            return self._settle(context, key, receiver.state(key))

    def _posted(self, context: Context) -> str | None:
        """Return the key of what an earlier try has posted and waits for; a person's clear posts anew."""
        kept = context["task_state_store"].get(_WAIT)
        if isinstance(kept, dict) and kept.get("life") == int(context["ti"].max_tries):
            return str(kept["key"])
        return None

    def _collect(self, context: Context, row: PromotionRow) -> Handoff:
        promoted = ledger().promoted(row, self.dag_id)
        if promoted is None:
            raise NotFoundError(
                f"the ledger knows no promotion of {row.build} to {row.label} by {self.dag_id} at "
                f"{utc(row.timestamp)}, when {row.user or 'somebody'} moved that label: run the stage that "
                "promotes to it for this build first"
            )
        decisions = DecisionsReader(self.dag_id, self.waivers_file)
        then, before = decisions.read(until=row.timestamp), self.get_flat_relative_ids(upstream=True)
        return collect(
            self.scope,
            row,
            promoted,
            self.services,
            waivers=then.waivers_for(row.build.full_hash, now=row.timestamp),
            answers=(
                *then.answers,
                # The stage itself may have asked, after the promotion and before this task.
                *(
                    each
                    for each in decisions.read().answers
                    if (each.run_id, each.task_id in before, each in then.answers)
                    == (context["run_id"], True, False)
                ),
            ),
        )

    def _store(self, name: str, build: Build, content: bytes) -> None:
        with self.services.server(name) as server:
            file = stored_as(self.scope.label)
            written = server.put(build.full_hash, file, content)
            path = server.build_path(build.full_hash, file)
        self.log.info("%s %s: %s %s", build.short, name, path, "stored" if written else "is there already")

    def _settle(self, context: Context, key: str, said: Said) -> Result | None:
        """End the task as the receiver has decided, or wait."""
        build, within = run_build(context), self.way.acknowledged_within
        if said.state is State.REJECTED:
            raise fail(
                context,
                f"{build.full_hash}: the receiver rejects hand-off {key}: {said.reason}; when that is mended "
                "there, clear this task to post it again",
            )
        if said.state is State.PENDING and within is not None:
            self._wait(context, key, within)
            return None
        fact: dict[str, JsonValue] = {
            "label": self.scope.label,
            "full_hash": build.full_hash,
            "sha256": key,
            "acknowledged": said.state is State.ACKNOWLEDGED,
            "image_servers": list(self.scope.servers),
        }
        context["outlet_events"][self.asset].extra = fact
        self.log.info("%s is handed off, %s", build.short, said.state)
        return fact

    def _wait(self, context: Context, key: str, within: int) -> None:
        until = self._until(context, key, within)
        if started.now() >= until:
            raise fail(
                context,
                f"{run_build(context).full_hash}: the receiver has not acknowledged hand-off {key} within "
                f"{within} s: ask its people; clear this task to post it again and to wait as long again",
            )
        self.defer(
            trigger=HandoffTrigger(
                conn_id=self.way.receiver_conn_id, job_id=key, handle="", until=until, poll=self.poll
            ),
            method_name="execute_complete",
            kwargs={"key": key},
        )

    def _until(self, context: Context, key: str, within: int) -> int:
        """Return until when to wait: a retry waits no longer, a clear begins anew."""
        store: Any = context["task_state_store"]
        kept, begun = store.get(_WAIT), {"key": key, "life": int(context["ti"].max_tries)}
        if isinstance(kept, dict) and kept.items() >= begun.items():
            return int(kept["until"])
        until = started.now() + within
        store.set(_WAIT, {**begun, "until": until}, retention=NEVER_EXPIRE)
        return until


def handoff_asset(dag_id: str, repo_url: str, label: str) -> Asset:
    """Return the asset that stands for the hand-offs of a label.

    :param repo_url: DLRN's repository tree.
    """
    return Asset(
        name=f"{dag_id}/{label}/handoff",
        uri=f"{label_uri(dag_id, repo_url, label)}/handoff",
        group="rdo-promoter",
    )
