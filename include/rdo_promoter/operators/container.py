"""Running a container for the run's build."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context

from rdo_promoter.clients import engine
from rdo_promoter.errors import NotFoundError, ServiceError
from rdo_promoter.hooks.engine import engine_of
from rdo_promoter.model.jobs import ID_NAME, End, Ended, doubt, named_hashes
from rdo_promoter.operators.started import StartedJobOperator, Work
from rdo_promoter.triggers.started import ContainerTrigger

if TYPE_CHECKING:
    from docker import APIClient

#: What engines say of an image that there is not, or that we may not have.
_ABSENT = re.compile(r"manifest unknown|not found|name unknown|denied|unauthorized", re.IGNORECASE)

#: The label by which people find the containers of ours.
LABEL = "rdo-promoter.job"


class RunContainerOperator(StartedJobOperator, DockerOperator):  # type: ignore[misc]  # returns less
    """Runs a container, by the docker provider's operator, and waits for its end in the triggerer.

    From there: pulling the image, making the container and starting it. From here: its name, which is the
    same in each try and which an engine gives only once, and the waiting, for which the provider would hold
    a worker.

    :param image: the image, with its registry.
    :param words: the command's words, each a template of `rdo_promoter.model.jobs.FIELDS`; empty for the
        image's own.
    :param told: environment variables, each a template.
    :param line: an expression for the line of the output that names the tested hash.
    :param network: the engine's network mode, None for its default.
    """

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()
    noun: ClassVar[str] = "container"

    def __init__(
        self,
        *,
        image: str,
        words: Sequence[str],
        told: Mapping[str, str],
        line: str,
        network: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image=image,
            network_mode=network,
            # A folder of this machine could not be mounted by an engine that is elsewhere.
            mount_tmp_dir=False,
            auto_remove="never",
            docker_url="unix:///set-when-it-runs",
            **kwargs,
        )
        self.words = list(words)
        self.told = dict(told)
        self.line = line

    @cached_property
    def _engine(self) -> APIClient:
        return engine_of(self.conn_id).client()

    @property
    def cli(self) -> Any:
        """The engine as the provider's operator sees it."""
        return _Detached(self._engine)

    def plan(self, work: Work) -> str:
        """Say what is started."""
        words = " ".join(self._command(work) or ["its own command"])
        return f"{self.image} on {self.conn_id}: {words}"

    def check(self) -> None:
        """Ask the engine whether it is there."""
        with engine.engine_errors(f"container engine {self.conn_id}"):
            self._engine.ping()

    def find(self, work: Work) -> str | None:
        """Return the container's id, None when there is none."""
        found = engine.look(self._engine, work.id, self.conn_id)
        if found is None:
            return work.memory.handle or None
        if not found.begun:
            # Killed between making it and starting it.
            engine.start(self._engine, work.id, self.conn_id)
        return found.id

    def start(self, context: Context, work: Work) -> str:
        """Let the provider's operator pull, make and start."""
        self.container_name = work.id
        self.labels = {LABEL: work.id}
        self.command = self._command(work)
        filled = {name: work.told.fill(text) for name, text in self.told.items()}
        self.environment = {**filled, ID_NAME: work.id}
        with engine.engine_errors(f"starting {self.image} on {self.conn_id}"):
            DockerOperator.execute(self, context)
        return self.find(work) or ""

    def look(self, context: Context, work: Work, *, lost: bool) -> Ended | None:  # noqa: ARG002 - Jenkins's
        """Return how the container has ended, None while it runs."""
        log_url = str(context["ti"].log_url)
        found = engine.look(self._engine, work.id, self.conn_id)
        if found is None:
            return Ended(End.LOST, f"it is not on {self.conn_id} any more", log_url)
        if found.status is None:
            return None
        lines = engine.output(self._engine, work.id, self.conn_id).splitlines()
        self._show(work, lines)
        ended = f"ended with {found.status}"
        if why := doubt(named_hashes(lines, self.line), work.build, "its output"):
            return Ended(End.DOUBTFUL, f"{ended}, but {why}", log_url)
        return Ended(End.FAILED if found.status else End.PASSED, ended, log_url)

    def wait(self, work: Work, until: int) -> None:
        """Defer until the container has ended."""
        self.defer(
            trigger=ContainerTrigger(
                conn_id=self.conn_id,
                job_id=work.id,
                handle=work.memory.handle,
                until=until,
                poll=self.poll,
            ),
            method_name="execute_complete",
        )

    def tidy(self, work: Work) -> None:
        """Remove the container."""
        engine.remove(self._engine, work.id, self.conn_id)

    def _command(self, work: Work) -> list[str] | None:
        return [work.told.fill(word) for word in self.words] or None


class _Detached:
    """An engine that starts containers and says at once that they have ended: our trigger waits for that.

    :param client: the engine.
    """

    def __init__(self, client: APIClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pull(self, image: str, **options: Any) -> Iterator[Any]:
        """Yield the progress, and raise what docker's library only yields."""
        for said in self._client.pull(image, **options):
            if isinstance(said, dict) and (error := said.get("error")):
                kind = NotFoundError if _ABSENT.search(str(error)) else ServiceError
                raise kind(f"pulling {image}: {error}")
            yield said

    def attach(self, **_: object) -> tuple[bytes, ...]:
        """Return no output."""
        return ()

    def wait(self, _: str) -> dict[str, int]:
        """Return what a container without a failure ends with."""
        return {"StatusCode": 0}
