"""A step that goes on only when a person has approved the build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from rdo_promoter.errors import TransientError
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import utc
from rdo_promoter.model.decisions import Answer, Answered
from rdo_promoter.model.text import one_line
from rdo_promoter.operators.base import PromoterOperator, Result, fail, is_dry_run, run_build, skip
from rdo_promoter.operators.question import (
    Question,
    Reply,
    close,
    give_up,
    keep_open,
    read_reply,
    reason_field,
    was_given_up,
)
from rdo_promoter.triggers.approval import ApprovalTrigger
from rdo_promoter.triggers.dlrn import LabelsSource, VotesSource
from rdo_promoter.triggers.links import VotesLink, links
from rdo_promoter.triggers.outcome import Known, find
from rdo_promoter.triggers.terms import Terms, read_since


class ApproveOperator(PromoterOperator):
    """Ask people in Airflow's UI whether the build may go on; without a worker while they think.

    Superseded, displaced and bad builds end as skipped, also while the question is open. A build that nobody
    approves in time fails, and so does one that somebody rejects; cleared, the task asks again. An approval
    counts for its run: a retry does not ask for it twice.

    :param text: what is asked, in Markdown.
    :param users: ids of the accounts that may answer; everybody who may edit the Dag without them.
    :param terms: the stage's labels, without criteria; `within` is how long the question is open.
    :param since: when the build got the candidate label, seconds since the epoch; templated.
    """

    template_fields: Sequence[str] = ("since",)
    ui_color = "#fdf3d8"
    operator_extra_links = (VotesLink(),)

    def __init__(
        self, *, text: str, users: Sequence[str] = (), terms: Terms, since: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.users = tuple(users)
        self.terms = terms
        self.since = since

    def act(self, context: Context) -> Result:
        """Ask, unless nothing is left to win, or this run's approval is in the ledger already."""
        build = run_build(context)
        if is_dry_run(context):
            self.log.info("%s dry run: would ask: %s", build.short, self.text)
            return {"dry_run": True}
        known = self._look(context, build)
        assert known.decisions is not None, "it was read"
        run = context["run_id"]
        for each in known.decisions.answers:
            if (each.run_id, each.task_id, each.answer) == (run, self.task_id, Answer.APPROVE):
                return self._approved(build, each)
        rejected = known.decisions.rejected(build.full_hash, self.task_id)
        if rejected and was_given_up(context):
            raise self._refused(context, build, _decided(rejected))
        until = keep_open(context, self._question(build), now=known.votes.now, within=self.terms.within)
        self.log.info("%s asked for an approval until %s", build.short, utc(until))
        return self._wait(build, until)

    def _wait(self, build: Build, until: int) -> NoReturn:
        self.defer(
            trigger=ApprovalTrigger(
                terms=self.terms.to_json(), build=build.to_json(), since=self._since(), until=until
            ),
            method_name="execute_complete",
            kwargs={"until": until},
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any], until: int) -> Result | None:
        """Go on with an answer, or because there will be none.

        :param event: what a person answered, or that the question is closed.
        :param until: until when the question was open, seconds since the epoch.
        """
        return self.guarded(context, lambda: self._answered(context, read_reply(event), until))

    def _answered(self, context: Context, reply: Reply | None, until: int) -> Result:
        build = run_build(context)
        if reply is None:
            try:
                still_open = self._look(context, build).votes.now < until
            except TransientError as error:
                # A try would ask anew, for the whole time again.
                self.log.warning("%s %s; waiting goes on", build.short, one_line(str(error)))
                still_open = True
            if still_open:
                # What closed the question may be no more, a mark that was lifted for example.
                return self._wait(build, until)
            close(context)
            raise self._refused(
                context, build, f"nobody has approved it until {utc(until)}: clear this task to ask again"
            )
        entry = Answered(
            dag_id=self.terms.dag_id,
            at=reply.at,
            by=reply.by,
            via="airflow",
            reason=one_line(reply.reason),
            full_hash=build.full_hash,
            run_id=context["run_id"],
            task_id=self.task_id,
            question=one_line(self.text),
            answer=reply.answer,
        )
        # First of all: what goes wrong from here on is tried again, and nobody is asked twice.
        self.log.info("%s ledger: %s", build.short, ledger().append(entry))
        close(context)
        if reply.answer is not Answer.APPROVE:
            give_up(context)
            raise self._refused(context, build, _decided(entry))
        self._look(context, build)
        return self._approved(build, entry)

    def _look(self, context: Context, build: Build) -> Known:
        """Return what is known of the build; end the task when nothing is left to win for it."""
        terms = self.terms
        known = Known(
            VotesSource(terms.where, build).ask(),
            LabelsSource(terms.where).ask(),
            DecisionsReader(terms.dag_id, terms.waivers_file).read(),
        )
        for key, address in links(votes=known.votes.page).items():
            context["ti"].xcom_push(key=key, value=address)
        if lost := find(terms, build, self._since(), known).lost:
            raise skip(context, lost[1])
        return known

    def _question(self, build: Build) -> Question:
        body = [
            self.text,
            "",
            f"- *{Answer.APPROVE}*: `{build.full_hash}` goes on.",
            f"- *{Answer.REJECT}*: the build ends here.",
            "",
            # No time of day: asked again after a clear, Airflow shows the text of the first time.
            f"Without an answer within {self.terms.within / 3600:g} h it is not approved.",
        ]
        return Question(
            subject=f"{build.full_hash}: approve?",
            body="\n".join(body),
            answers=(Answer.APPROVE, Answer.REJECT),
            form={"reason": reason_field("Why, in a few words; it is kept with your name.")},
            users=self.users,
        )

    def _approved(self, build: Build, entry: Answered) -> Result:
        self.log.info("%s approved by %s at %s", build.short, entry.by, utc(entry.at))
        return {"approved_by": entry.by, "at": utc(entry.at), "reason": entry.reason}

    def _refused(self, context: Context, build: Build, why: str) -> AirflowFailException:
        return fail(context, f"{build.full_hash} is not approved: {why}")

    def _since(self) -> int:
        return read_since(self.since, self.task_id)


def _decided(entry: Answered) -> str:
    return f"{entry.by} decided so: {entry.reason or 'no reason given'}"
