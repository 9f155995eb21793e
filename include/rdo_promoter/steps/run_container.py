"""The run_container step: run a container for the run's build."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictStr

from rdo_promoter.model.jobs import TESTED, TOLD
from rdo_promoter.steps.jobs import JobStep, Line, Template, ToldMap

if TYPE_CHECKING:
    from rdo_promoter.steps.context import Chain, StageContext

#: Source: the grammar in ``reference.go`` of distribution, with the registry's name required.
_IMAGE = re.compile(
    r"(?=.{1,400}$)(localhost|[A-Za-z0-9.-]+\.[A-Za-z0-9.-]+|[A-Za-z0-9.-]+(?=:))(:[0-9]{1,5})?"
    r"(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)


def _image(value: str) -> str:
    if not _IMAGE.fullmatch(value) or (":" not in value.rpartition("/")[2] and "@" not in value):
        raise ValueError(
            f"{value!r} is no image: write registry, name and a tag or digest, for example "
            "quay.io/rdo/tempest:2026.1"
        )
    return value


class RunContainer(JobStep):
    """Run a container and wait for its end.

    :param image: the image with its registry and a tag or digest; the engine pulls it when it has it not.
    :param command: the command's words, the image's own without it; ``{full_hash}``, ``{commit_hash}``,
        ``{distro_hash}``, ``{label}`` and ``{repo_url}`` (the build's own folder) are filled in.
    :param environment: environment variables, filled in as well.
    :param network: how the container reaches others; the engine's default without it.
    :param tested: an expression for the line of the output that names the tested hash, its group ``hash``; a
        container that names another one, or none, counts for nothing.
    """

    kind: ClassVar[str] = "run_container"

    image: Annotated[StrictStr, AfterValidator(_image)]
    command: Annotated[tuple[Template, ...], Field(max_length=200)] = ()
    environment: ToldMap = Field(default=TOLD, validate_default=True)
    network: Literal["bridge", "host", "none"] | None = None
    tested: Line = TESTED

    def describe(self) -> str:
        """Say in one sentence what the step does, for the Dag's documentation."""
        return self.describe_job(f"runs `{self.image}` on `{self.connection}`")

    def tasks(self, context: StageContext, name: str, chain: Chain) -> Chain:
        """Make the one task that starts the container and waits."""
        from rdo_promoter.operators.container import RunContainerOperator

        task = RunContainerOperator(
            **self.arguments(context, name),
            image=self.image,
            words=self.command,
            told=self.environment,
            line=self.tested,
            network=self.network,
        )
        return self.attach(task, chain)
