"""Questions to a person, asked and answered in Airflow's own UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow.sdk import Context, Param
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

from rdo_promoter.model.decisions import Answer
from rdo_promoter.triggers.terms import LONGEST_WAIT

#: Until when a task's question is open, in its state store; kept until it is answered.
_OPEN_UNTIL = "question_open_until"

#: The task's `max_tries` when a person gave the build up: a clear raises it, another try does not.
_GIVEN_UP = "given_up"

#: Seconds of waiting on when the form does not say how long.
WAIT_ON = 4 * 3600


@dataclass(frozen=True)
class Question:
    """What a person is asked.

    :param subject: the question, in one line.
    :param body: what there is to know, in Markdown.
    :param answers: what can be answered.
    :param form: further fields, by their names.
    :param users: the names of those who may answer; everybody who may edit the Dag without them.
    """

    subject: str
    body: str
    answers: tuple[Answer, ...]
    form: Mapping[str, Param] = field(default_factory=dict)
    users: Sequence[str] = ()


@dataclass(frozen=True)
class Reply:
    """What a person answered.

    :param answer: the option that was chosen.
    :param by: who answered, as Airflow knows the person.
    :param at: when, in seconds since the epoch.
    :param reason: what was written as the reason.
    :param seconds: for how long to wait on; None when what was written is no such time.
    """

    answer: Answer
    by: str
    at: int
    reason: str = ""
    seconds: int | None = WAIT_ON


def reason_field(what: str) -> Param:
    """Return the form's field for a reason; Airflow's form insists on a value unless null is allowed.

    :param what: what it is needed for.
    """
    return Param(None, type=["null", "string"], title="Reason", description=what)


def hours_field() -> Param:
    """Return the form's field for how long to wait on."""
    return Param(
        WAIT_ON / 3600,
        type="number",
        minimum=0.01,
        maximum=LONGEST_WAIT / 3600,
        title="Hours",
        description=f"How long to wait on; counts for {Answer.WAIT!s} alone.",
    )


def ask(context: Context, question: Question) -> None:
    """Put a question to people; the task has to wait for the answer then.

    Airflow (3.3.2) keeps one question a task, over retries and clears: asked again, it shows the text of the
    first time, and forgets the answer.

    :param question: the question.
    """
    upsert_hitl_detail(
        ti_id=context["ti"].id,
        options=[str(answer) for answer in question.answers],
        subject=question.subject,
        body=question.body,
        params={name: param.serialize() for name, param in question.form.items()},
        assigned_users=[HITLUser(id=name, name=name) for name in question.users],
    )


def keep_open(context: Context, question: Question, *, now: int, within: int) -> int:
    """Put a question to people, unless a try before this one did; return until when it is open.

    Asking again would forget what was answered meanwhile: a quick answer after a quick wait lets Airflow
    (3.3.2) take the task for failed, and try again.

    :param question: the question.
    :param now: seconds since the epoch.
    :param within: how long it is open, in seconds.
    """
    store = context["task_state_store"]
    until = store.get(_OPEN_UNTIL)
    if not isinstance(until, int) or until <= now:
        until = now + within
        ask(context, question)
        store.set(_OPEN_UNTIL, until, retention=NEVER_EXPIRE)
    return until


def close(context: Context) -> None:
    """Note that the question was answered, or that nobody did: the next one is put anew."""
    context["task_state_store"].delete(_OPEN_UNTIL)


def give_up(context: Context) -> None:
    """Note that a person gave the build up, for the tries that Airflow takes by itself."""
    context["task_state_store"].set(_GIVEN_UP, context["ti"].max_tries, retention=NEVER_EXPIRE)


def was_given_up(context: Context) -> bool:
    """Return whether this is but another try of what a person gave up; a person's clear asks anew."""
    return bool(context["task_state_store"].get(_GIVEN_UP) == context["ti"].max_tries)


def read_reply(event: Mapping[str, Any]) -> Reply | None:
    """Read what Airflow resumes a task with when a person has answered, None when nobody has.

    :param event: the event with which the task was resumed.
    """
    if not event.get("chosen_options"):
        return None
    form, user, at = event.get("params_input") or {}, event.get("responded_by_user"), event["responded_at"]
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
    return Reply(
        Answer(event["chosen_options"][0]),
        by=_name(user),
        at=int(moment.timestamp()),
        reason=str(form.get("reason") or "").strip(),
        seconds=_seconds(form.get("hours")),
    )


def _seconds(hours: Any) -> int | None:
    """Read for how long to wait on: Airflow's form checks it, its API (3.3.2) takes whatever is sent."""
    if hours is None or hours == "":
        return WAIT_ON
    try:
        seconds = float(hours) * 3600
    except (TypeError, ValueError):
        return None
    return int(seconds) if 0 < seconds <= LONGEST_WAIT else None


#: What a user is called whom nobody knows.
NOBODY = frozenset({"nobody", "Anonymous"})


def _name(user: Any) -> str:
    """Return a person's name; the event has it as a mapping or as an object of Airflow's."""
    if user is None:
        return "nobody"
    fields = user if isinstance(user, Mapping) else vars(user)
    return str(fields.get("name") or fields.get("id"))
