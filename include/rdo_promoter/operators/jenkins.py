"""Building a Jenkins job for the run's build."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from airflow.sdk import Context

from rdo_promoter.clients.jenkins import JenkinsClient
from rdo_promoter.clients.jenkins_answers import JenkinsBuild
from rdo_promoter.clients.jenkins_job import Found, follow
from rdo_promoter.errors import ConfigError, NotFoundError
from rdo_promoter.hooks.jenkins import JenkinsHook
from rdo_promoter.model.jobs import ID_NAME, TESTED, End, Ended, doubt, named_hashes
from rdo_promoter.operators.started import StartedJobOperator, Work
from rdo_promoter.triggers.started import JenkinsTrigger

#: What Jenkins's results say about the build; UNSTABLE: tests have failed. Source: hudson.model.Result.
_ENDS = {
    "SUCCESS": End.PASSED,
    "UNSTABLE": End.FAILED,
    "FAILURE": End.FAILED,
    "ABORTED": End.ABORTED,
    "NOT_BUILT": End.ABORTED,
}


class RunJenkinsOperator(StartedJobOperator):
    """Builds a Jenkins job with the run's build as parameters, and waits for its end in the triggerer.

    :param job: the Jenkins job, with its folders.
    :param parameters: what it is given, templates of `rdo_promoter.model.jobs.FIELDS`.
    :param parameter: the parameter in which a build names the hash that it has tested.
    :param artifact: a file of the build that names it, instead.
    :param description: an expression for the build's description, instead.
    :param line: an expression for the artifact's lines.
    """

    noun: ClassVar[str] = "Jenkins build"
    #: As long as a client waits for an answer: a proxy may still hold the question.
    quiet: ClassVar[int] = 60

    def __init__(
        self,
        *,
        job: str,
        parameters: Mapping[str, str],
        parameter: str | None = None,
        artifact: str | None = None,
        description: str | None = None,
        line: str = TESTED,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.parameters = dict(parameters)
        self.parameter = parameter
        self.artifact = artifact
        self.description = description
        self.line = line

    @cached_property
    def _jenkins(self) -> JenkinsClient:
        return JenkinsHook(self.conn_id).get_conn()

    def plan(self, work: Work) -> str:
        """Say what is started."""
        given = " ".join(f"{name}={value}" for name, value in self._given(work).items())
        return f"{self.job} in {self.conn_id} with {given}"

    def check(self) -> None:
        """Refuse a job that cannot be built, or whose builds could not be found again."""
        definition = self._jenkins.definition(self.job)
        if not definition.buildable:
            raise ConfigError(f"{self.job} in {self.conn_id} is disabled: enable it, or remove the step")
        if undeclared := sorted({*self.parameters, ID_NAME} - definition.parameters):
            raise ConfigError(
                f"{self.job} in {self.conn_id} does not declare {', '.join(undeclared)}, and Jenkins drops "
                "parameters that a job does not declare: add them to the job as string parameters "
                f"({ID_NAME} is how a build of ours is found again)"
            )

    def find(self, work: Work) -> str | None:
        """Return where the build is, None when there is none."""
        found = self._follow_build(work)
        return found.handle or work.memory.handle or None

    def start(self, context: Context, work: Work) -> str:  # noqa: ARG002 - the base class's
        """Ask for a build."""
        self.check()
        return str(self._jenkins.start(self.job, self._given(work)))

    def look(self, context: Context, work: Work, *, lost: bool) -> Ended | None:  # noqa: ARG002 - as above
        """Return how the build has ended, None while it waits or runs."""
        found = self._follow_build(work)
        if found.gone:
            return Ended(End.LOST, f"{self.job} has no such build (any more)") if lost else None
        if found.cancelled:
            return Ended(End.ABORTED, "somebody took it out of the queue")
        build = found.build
        if build is None or build.building:
            if found.item is not None:
                self.log.info("%s %s waits: %s", work.build.short, self.job, found.item.why)
            return None
        result = str(build.result)
        end = _ENDS.get(result, End.ABORTED)
        if end in (End.PASSED, End.FAILED) and (why := self._doubt(work, build)):
            return Ended(End.DOUBTFUL, f"{result}, but {why}", build.url)
        return Ended(end, f"{self.job} {build.number} ended as {result}", build.url)

    def wait(self, work: Work, until: int) -> None:
        """Defer until the build has ended."""
        self.defer(
            trigger=JenkinsTrigger(
                conn_id=self.conn_id,
                job=self.job,
                job_id=work.id,
                handle=work.memory.handle,
                since=_since(work),
                until=until,
                poll=self.poll,
            ),
            method_name="execute_complete",
        )

    def _follow_build(self, work: Work) -> Found:
        return follow(
            self._jenkins, self.job, (ID_NAME, work.id), handle=work.memory.handle, since=_since(work)
        )

    def _given(self, work: Work) -> dict[str, str]:
        filled = {name: work.told.fill(template) for name, template in self.parameters.items()}
        return {**filled, ID_NAME: work.id}

    def _doubt(self, work: Work, build: JenkinsBuild) -> str | None:
        """Return why the build was not for the run's build, None when it says that it was."""
        if self.artifact is not None:
            try:
                text = self._jenkins.artifact(self.job, build.number, self.artifact)
            except NotFoundError:
                return f"it has archived no {self.artifact}, which has to name {work.build.full_hash}"
            return doubt(named_hashes(text.splitlines(), self.line), work.build, f"its {self.artifact}")
        if self.description is not None:
            said = named_hashes(build.description.splitlines(), self.description)
            return doubt(said, work.build, "its description")
        assert self.parameter is not None, "the step names one of the three"
        value = build.parameters.get(self.parameter)
        return doubt([value] if value else [], work.build, f"its parameter {self.parameter}")


def _since(work: Work) -> int:
    """Return when the build was asked for at the earliest: a life that began with a clear is younger."""
    return min(work.memory.asked or work.memory.since, work.memory.since)
