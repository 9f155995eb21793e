"""Questions to a person, asked and answered in Airflow's own UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow.sdk import Context, Param
from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

from rdo_promoter.model.decisions import Answer

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
    :param seconds: for how long to wait on.
    """

    answer: Answer
    by: str
    at: int
    reason: str = ""
    seconds: int = WAIT_ON


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
        maximum=24 * 30,
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


def read_reply(event: Mapping[str, Any]) -> Reply | None:
    """Read what Airflow resumes a task with when a person has answered, None when nobody has.

    :param event: the event with which the task was resumed.
    """
    if not event.get("chosen_options"):
        return None
    form, user, at = event.get("params_input") or {}, event.get("responded_by_user"), event["responded_at"]
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
    hours = form.get("hours")
    return Reply(
        Answer(event["chosen_options"][0]),
        by=_name(user),
        at=int(moment.timestamp()),
        reason=str(form.get("reason") or "").strip(),
        seconds=int(float(hours) * 3600) if hours else WAIT_ON,
    )


def _name(user: Any) -> str:
    """Return a person's name; the event has it as a mapping or as an object of Airflow's."""
    if user is None:
        return "nobody"
    fields = user if isinstance(user, Mapping) else vars(user)
    return str(fields.get("name") or fields.get("id"))
