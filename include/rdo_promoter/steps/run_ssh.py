"""The run_ssh step: run a command on another machine for the run's build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from rdo_promoter.model.jobs import TESTED, TOLD
from rdo_promoter.steps.jobs import JobStep, Line, Template, ToldMap

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext


def _words(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value[0] or value[0].startswith("-") or "=" in value[0]:
        raise ValueError(
            f"{value[0]!r} is no program: write it as the first word, and its arguments as further ones"
        )
    return value


class RunSsh(JobStep):
    """Run a command on another machine, detached, and wait for its end.

    :param command: the program and its arguments, a word each, which no shell reads; ``{full_hash}``,
        ``{commit_hash}``, ``{distro_hash}``, ``{label}`` and ``{repo_url}`` (the build's own folder) are
        filled in.
    :param environment: environment variables, filled in as well.
    :param tested: an expression for the line of the output that names the tested hash, its group ``hash``; a
        command that names another one, or none, counts for nothing.
    """

    kind: ClassVar[str] = "run_ssh"

    command: Annotated[tuple[Template, ...], Field(min_length=1, max_length=200), AfterValidator(_words)]
    environment: ToldMap = Field(default=TOLD, validate_default=True)
    tested: Line = TESTED

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        return self.describe_job(f"runs `{self.command[0]}` on `{self.connection}`")

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that starts the command and waits."""
        from rdo_promoter.operators.ssh import RunSshOperator

        task = RunSshOperator(
            **self.arguments(context, name), words=self.command, told=self.environment, line=self.tested
        )
        return self.attach(task, chain)
