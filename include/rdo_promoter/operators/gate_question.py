"""What a gate asks when the time is over and jobs have not passed; what an answer leaves in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import utc
from rdo_promoter.model.decisions import WAIVER_TIME, Answer, Answered, Decision, Waived
from rdo_promoter.model.text import markdown, one_line, web_address
from rdo_promoter.model.verdict import JobResult
from rdo_promoter.operators.question import NOBODY, Question, Reply, hours_field, reason_field
from rdo_promoter.triggers.outcome import Finding
from rdo_promoter.triggers.terms import LONGEST_WAIT


def question(build: Build, finding: Finding, *, within: int) -> Question:
    """Return what a person is asked about a build that has not passed in time.

    Its text is that of the first time: Airflow shows it whenever the same task asks again.

    :param build: the build.
    :param finding: how it stands.
    :param within: how long the question stays open, in seconds.
    """
    jobs, every = finding.verdict.blocking, len(finding.verdict.results)
    body = [
        f"At {utc(finding.now)} these jobs had not passed:",
        "",
        *(f"- {_line(result)}" for result in jobs),
        "",
        "You can:",
        "",
        f"- *{Answer.WAIVE}*: those of them that still have not passed, for this build alone; the reason",
        "  is needed: the link of a bug.",
        f"- *{Answer.WAIT}*: look on for so many hours, then ask again.",
        f"- *{Answer.REJECT}*: the build ends here.",
        "",
        f"A rerun that passes closes this question. It stays open for {within // 3600} h; without an answer",
        "the build is not promoted. How the jobs stand now is told at the end of the task's log.",
    ]
    return Question(
        subject=f"{build.full_hash}: {len(jobs)} of {every} jobs have not passed",
        body="\n".join(body),
        answers=(Answer.WAIVE, Answer.WAIT, Answer.REJECT),
        form={"reason": reason_field("The link of a bug; needed to waive."), "hours": hours_field()},
    )


def why_not(reply: Reply) -> str | None:
    """Say why an answer does not count, None when it does: Airflow's API checks no field of a form.

    :param reply: the answer.
    """
    if reply.answer is Answer.WAIVE and not web_address(reply.reason):
        return f"{reply.reason!r} is no reason to waive a job: write the link of a bug"
    if reply.answer is Answer.WAIVE and reply.by in NOBODY:
        return f"{reply.by} is nobody who could waive a job: answer with an account of your own"
    if reply.answer is Answer.WAIT and reply.seconds is None:
        return f"hours: write how long to wait on, as a number up to {LONGEST_WAIT // 3600}"
    return None


def entries(
    reply: Reply, asked: Sequence[str], *, dag_id: str, build: Build, run: str, gate: str, now: int
) -> list[Decision]:
    """Return what an answer leaves in the ledger: the waivers first, so that none is lost on the way.

    :param reply: the answer, one that counts.
    :param asked: the jobs that the question was about.
    :param dag_id: the release's Dag.
    :param build: the build.
    :param run: the run's id.
    :param gate: the gate's task id.
    :param now: DLRN's time, seconds since the epoch.
    """
    common: dict[str, Any] = {
        "dag_id": dag_id,
        "at": reply.at,
        "by": reply.by,
        "via": "airflow",
        "reason": one_line(reply.reason),
        "full_hash": build.full_hash,
    }
    jobs = asked if reply.answer is Answer.WAIVE else ()
    return [
        *(Waived(**common, job=job, expires=now + WAIVER_TIME) for job in jobs),
        Answered(
            **common,
            run_id=run,
            task_id=gate,
            question=f"not passed: {', '.join(asked)}",
            answer=reply.answer,
            until=now + reply.seconds if reply.answer is Answer.WAIT and reply.seconds else None,
        ),
    ]


def _line(result: JobResult) -> str:
    """Return Markdown about a job that has not passed, with the link of its log."""
    log = web_address(result.vote.url) if result.vote else ""
    text = f"{markdown(result.job)}: {result.state}"
    return f"{text}, [its log](<{log}>)" if log and not set(log) & set("<>") else text
