"""The run_jenkins step: build a Jenkins job for the run's build."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, StrictStr, model_validator

from rdo_promoter.files.document import Problem
from rdo_promoter.model.jobs import TESTED
from rdo_promoter.steps.base import Scope
from rdo_promoter.steps.fields import Frozen, nearest
from rdo_promoter.steps.jobs import JobStep, Line, ToldMap, Variable

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext

_JOB = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,199}(/[A-Za-z0-9_][A-Za-z0-9_. -]{0,199}){0,9}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,19}")


def _job(value: str) -> str:
    if not _JOB.fullmatch(value) or "job" in value.split("/")[:-1]:
        raise ValueError(
            f"{value!r} is no Jenkins job: write its name, with its folders before it as in folder/name; not "
            "its address"
        )
    return value


def _file(value: str) -> str:
    if not _FILE.fullmatch(value):
        raise ValueError(
            f"{value!r} is no artifact: write its path as Jenkins shows it, for example logs/tested.txt"
        )
    return value


class Tested(Frozen):
    """Where a build of Jenkins names the hash that it has tested: one of the first three.

    :param parameter: in this parameter.
    :param description: in its description, which is searched with this expression.
    :param artifact: in this file, which it has archived.
    :param line: an expression for the lines of that file.
    """

    parameter: Variable | None = None
    description: Line | None = None
    artifact: Annotated[StrictStr, AfterValidator(_file)] | None = None
    line: Line | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        named = [key for key in ("parameter", "description", "artifact") if getattr(self, key) is not None]
        if len(named) != 1:
            what = " and ".join(named) if named else "nothing"
            raise ValueError(f"{what} is named: write one of parameter, description and artifact")
        if self.line is not None and self.artifact is None:
            raise ValueError("line is for the lines of an artifact: remove it, or name the artifact")
        return self


class RunJenkins(JobStep):
    """Build a Jenkins job with the run's build as parameters, and wait for its end.

    The job has to declare the parameters, and a string parameter ``RDO_PROMOTER_ID``, by which a build is
    found again.

    :param job: the job's name, with its folders: ``folder/name``.
    :param parameters: what it is given; ``{full_hash}``, ``{commit_hash}``, ``{distro_hash}``, ``{label}``
        and ``{repo_url}`` (the build's own folder) are filled in.
    :param tested: where a build says which hash it has tested; a build for another one counts for nothing.
    """

    kind: ClassVar[str] = "run_jenkins"

    job: Annotated[StrictStr, AfterValidator(_job)]
    parameters: ToldMap = Field(default={"RDO_FULL_HASH": "{full_hash}"}, validate_default=True)
    tested: Tested = Tested(parameter="RDO_FULL_HASH")

    def check(self, scope: Scope) -> Iterable[Problem]:
        """Return what is wrong with the step where it stands."""
        yield from super().check(scope)
        name = self.tested.parameter
        if name is None:
            return
        if name not in self.parameters:
            yield Problem(
                ("tested", "parameter"),
                f"{name!r} is not among the parameters; {nearest(name, tuple(self.parameters))}",
            )
        elif self.parameters[name] != "{full_hash}":
            yield Problem(
                ("parameters", name),
                f"{self.parameters[name]!r} is compared with the build's full hash: write '{{full_hash}}', "
                "or name another parameter in `tested:`",
            )

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        return self.describe_job(f"builds `{self.job}` in Jenkins `{self.connection}`")

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that starts the build and waits."""
        from rdo_promoter.operators.jenkins import RunJenkinsOperator

        task = RunJenkinsOperator(
            **self.arguments(context, name),
            job=self.job,
            parameters=self.parameters,
            parameter=self.tested.parameter,
            artifact=self.tested.artifact,
            description=self.tested.description,
            line=self.tested.line or TESTED,
        )
        return self.attach(task, chain)
