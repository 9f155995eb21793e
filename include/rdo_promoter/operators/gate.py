"""The gate: criteria and fresh votes decide, alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from pydantic import JsonValue

from rdo_promoter.errors import TransientError
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import utc
from rdo_promoter.model.decisions import Answer, Decisions, Doomed
from rdo_promoter.model.text import one_line
from rdo_promoter.model.verdict import JobState
from rdo_promoter.operators.base import PromoterOperator, Result, fail, is_dry_run, run_build, skip
from rdo_promoter.operators.gate_question import entries, question, why_not
from rdo_promoter.operators.question import Reply, close, give_up, keep_open, read_reply, was_given_up
from rdo_promoter.operators.why import log_why
from rdo_promoter.triggers.dlrn import LabelsSource
from rdo_promoter.triggers.gate import Call, GateTrigger, call
from rdo_promoter.triggers.links import VotesLink, links
from rdo_promoter.triggers.outcome import Finding, Known, find
from rdo_promoter.triggers.terms import Terms, read_since
from rdo_promoter.triggers.zuul import votes_source

#: The jobs that the gate's question names; Airflow keeps that, too, over retries and clears.
_NAMED = "named_in_question"

#: Whether it was said that only a rerun can save the build; survives retries and clears.
_DOOMED_SAID = "doomed_said"


@dataclass(frozen=True)
class Asked:
    """The question that a gate has open.

    :param jobs: the jobs that an answer is about; none when no question is open.
    :param until: how long it stays open, seconds since the epoch.
    """

    jobs: list[str] = field(default_factory=list)
    until: int = 0


class GateOperator(PromoterOperator):
    """Let the build through when the votes in DLRN, and waivers, meet the criteria.

    It waits in the triggerer beside the sensors, which are for people to see, and decides on what it then
    reads itself. Superseded, displaced and bad builds end as skipped. When the time is over and jobs have not
    passed it fails, or asks a person; while the question is open votes are still read.

    :param terms: what is waited for.
    :param release_jobs: the jobs that any stage of the release requires, to tell waivers of unknown ones.
    :param since: when the build got the candidate label, seconds since the epoch; templated.
    :param look_again: seconds until it looks again without being woken: the release file may have changed.
    """

    template_fields: Sequence[str] = ("since",)
    ui_color = "#fdf3d8"
    operator_extra_links = (VotesLink(),)

    def __init__(
        self,
        *,
        terms: Terms,
        release_jobs: Sequence[str] = (),
        since: str,
        look_again: float = 600,
        **kwargs: Any,
    ) -> None:
        # It would end the waiting.
        kwargs["execution_timeout"] = None
        super().__init__(**kwargs)
        self.terms = terms
        self.release_jobs = tuple(release_jobs)
        self.since = since
        self.look_again = look_again

    def act(self, context: Context) -> Result:
        """Decide now, or wait until there is something to decide."""
        return self._decide(context, Asked())

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], asked: Mapping[str, Any] | None = None
    ) -> Result | None:
        """Go on after having waited.

        :param event: why the trigger woke the gate, or what a person answered.
        :param asked: the question that was open meanwhile.
        """

        def go_on() -> Result:
            so_far = Asked(**(asked or {}))
            if so_far.jobs and (reply := read_reply(event)):
                self._take(context, reply, so_far.jobs)
                so_far = Asked()
            return self._decide(context, so_far)

        return self.guarded(context, go_on)

    def _decide(self, context: Context, asked: Asked) -> Result:
        build = run_build(context)
        store = context["task_state_store"]
        said = bool(store.get(_DOOMED_SAID))
        try:
            known, finding = self._look(build)
        except TransientError as error:
            if is_dry_run(context):
                raise
            # A try is not spent on it: a gate waits for days, and then nine of them are nothing.
            self.log.warning("%s %s; waiting goes on", build.short, one_line(str(error)))
            return self._wait(build, asked, doomed_said=said)
        for key, address in links(votes=known.votes.page).items():
            context["ti"].xcom_push(key=key, value=address)
        self._report(build, finding, known)
        if is_dry_run(context):
            self._explain(build, finding, known)
            return {"dry_run": True, "met": finding.verdict.met, "summary": finding.summary()}
        # Whoever is called wants to know why; once, while the gate looks on with its question open.
        if (finding.late and not asked.jobs) or (finding.verdict.doomed and not said):
            self._explain(build, finding, known)
        match call(self.terms, finding, late=finding.late, doomed_said=said):
            case Call.MET:
                waived = [str(result) for result in finding.verdict.in_state(JobState.WAIVED)]
                return {"met": True, "summary": finding.summary(), "waived": waived}
            case Call.LOST:
                assert finding.lost is not None
                raise skip(context, finding.lost[1])
            case Call.DOOMED:
                self._doom(context, build, finding)
                store.set(_DOOMED_SAID, True, retention=NEVER_EXPIRE)
                said = True
        if finding.late:
            self._check_not_given_up(context, build, known)
            asked = self._ask(context, build, finding, asked)
        elif asked.jobs:
            # The deadline has moved while the question was open: to look at the old one again would not end.
            asked = Asked(asked.jobs, max(asked.until, finding.until))
        else:
            self.log.info("%s waits until %s", build.short, utc(finding.until))
        return self._wait(build, asked, doomed_said=said)

    def _explain(self, build: Build, finding: Finding, known: Known) -> None:
        """Write the table of the jobs into the log, unless there is nothing to explain."""
        if finding.met or finding.lost:
            return
        log_why(
            self.log,
            self.services,
            self.terms,
            build,
            decisions=known.decisions or Decisions.NONE,
            release_jobs=self.release_jobs,
        )

    def _check_not_given_up(self, context: Context, build: Build, known: Known) -> None:
        """Refuse what a person gave up, when this is but another try; a person's clear asks anew."""
        decisions = known.decisions or Decisions.NONE
        given_up = decisions.rejected(build.full_hash, self.terms.gate)
        if given_up and was_given_up(context):
            why = given_up.reason or "no reason given"
            raise fail(context, f"{build.full_hash} is not promoted, as {given_up.by} decided: {why}")

    def _ask(self, context: Context, build: Build, finding: Finding, asked: Asked) -> Asked:
        """Ask a person what to do about the missing jobs, or leave the question open that there is."""
        jobs = [result.job for result in finding.verdict.blocking]
        unanswered = bool(asked.jobs) and finding.now >= asked.until
        store = context["task_state_store"]
        if unanswered or not self.terms.ask:
            close(context)
            raise self._not_met(context, build, finding, unanswered=unanswered)
        # Airflow keeps one question a task and never changes its text; nobody waives what it does not name.
        kept = store.get(_NAMED)
        named = kept if isinstance(kept, list) else list[JsonValue](jobs)
        if more := ", ".join(job for job in jobs if job not in named):
            why = f", and the question that was asked does not name {more}"
            raise self._not_met(context, build, finding, why=why)
        if asked.jobs:
            return Asked(jobs, asked.until)
        store.set(_NAMED, named, retention=NEVER_EXPIRE)
        within = self.terms.answer_within
        until = keep_open(context, question(build, finding, within=within), now=finding.now, within=within)
        self.log.info("%s asked what to do about %s, until %s", build.short, ", ".join(jobs), utc(until))
        return Asked(jobs, until)

    def _look(self, build: Build) -> tuple[Known, Finding]:
        terms = self.terms
        known = Known(
            votes_source(terms, build).ask(),
            LabelsSource(terms.where).ask(),
            DecisionsReader(terms.dag_id, terms.waivers_file).read(),
        )
        return known, find(terms, build, read_since(self.since, terms.gate), known)

    def _wait(self, build: Build, asked: Asked, *, doomed_said: bool) -> NoReturn:
        self.defer(
            trigger=GateTrigger(
                terms=self.terms.to_json(),
                build=build.to_json(),
                since=read_since(self.since, self.terms.gate),
                until=asked.until if asked.jobs else None,
                doomed_said=doomed_said,
                again=self.look_again,
            ),
            method_name="execute_complete",
            kwargs={"asked": dataclasses.asdict(asked)},
        )

    def _report(self, build: Build, finding: Finding, known: Known) -> None:
        self.log.info("%s %s", build.short, finding.summary())
        for result in finding.verdict.results:
            if result.state is not JobState.PASSED:
                self.log.info("%s   %s", build.short, result)
        decisions = known.decisions or Decisions.NONE
        jobs = {*self.release_jobs, *(result.job for result in finding.verdict.results)}
        for ignored in decisions.ignored(build.full_hash, jobs, now=finding.now):
            self.log.warning("%s %s", build.short, ignored)

    def _doom(self, context: Context, build: Build, finding: Finding) -> None:
        """Say once that only a rerun or a person can save the build; end the stage when it says so."""
        lost = ", ".join(result.job for result in finding.verdict.doomed)
        reason = f"{build.full_hash} is doomed: {lost} failed, and only a rerun or a waiver can save it"
        entry = Doomed(
            dag_id=self.terms.dag_id,
            at=finding.now,
            by=context["run_id"],
            via="airflow",
            reason=reason,
            full_hash=build.full_hash,
            task_id=self.terms.gate,
        )
        ledger().append(entry)
        context["ti"].xcom_push(key="doomed", value=reason)
        if self.terms.fail_fast:
            raise fail(
                context,
                f"{reason}; fail_fast is set. Rerun it on this hash and clear this gate with what follows it",
            )
        self.log.warning("%s %s", build.short, reason)

    def _not_met(
        self, context: Context, build: Build, finding: Finding, *, unanswered: bool = False, why: str = ""
    ) -> AirflowFailException:
        asked = ", nobody answered what to do about it" if unanswered else why
        return fail(
            context,
            f"{build.full_hash} does not meet the criteria until {utc(finding.until)}{asked}: "
            f"{finding.summary()}. Rerun those jobs on this hash, or waive them, and clear this gate with "
            "what follows it",
        )

    def _take(self, context: Context, reply: Reply, asked: Sequence[str]) -> None:
        """Write down what a person answered; a rejection ends the task."""
        build, now = run_build(context), self.services.dlrn.now()
        if problem := why_not(reply):
            self.log.warning(
                "%s what %s answered does not count: %s", build.short, reply.by, one_line(problem)
            )
            close(context)
            return
        run, gate = context["run_id"], self.terms.gate
        book = ledger()
        for entry in entries(
            reply, asked, dag_id=self.terms.dag_id, build=build, run=run, gate=gate, now=now
        ):
            book.append(entry)
        close(context)
        reason = one_line(reply.reason)
        self.log.info("%s %s answered %r: %s", build.short, reply.by, str(reply.answer), reason)
        if reply.answer is Answer.REJECT:
            give_up(context)
            why = reason or "no reason given"
            raise fail(context, f"{build.full_hash} is not promoted, as {reply.by} decided: {why}")
