"""Running a command on another machine for the run's build."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from rdo_promoter.errors import NotFoundError, ServiceError
from rdo_promoter.hooks.ssh import SshMachineHook
from rdo_promoter.model.jobs import ID_NAME, End, Ended, doubt, named_hashes
from rdo_promoter.operators import started
from rdo_promoter.operators.started import StartedJobOperator, Work

if TYPE_CHECKING:
    import paramiko

#: How often the provider's trigger connects again, for about twenty minutes; then the task looks why.
_RECONNECTS = 30

#: Seconds after which a job that has left no sign of life was never begun: its machine went down just then.
_BEGINS_WITHIN = 600


class RunSshOperator(StartedJobOperator, SSHRemoteJobOperator):  # type: ignore[misc]  # returns more
    """Runs a command detached on a machine, by the ssh provider's operator and its trigger.

    From there: how a command is detached, where it leaves its output and its exit status, and the waiting.
    From here: the job's folder has the same name in each try and is made only once; the connection knows the
    machine's key; nothing is a Jinja template, for ``run.sh`` would be read as the name of one.

    :param words: program and arguments, each a template of `rdo_promoter.model.jobs.FIELDS`.
    :param told: environment variables, each a template.
    :param line: an expression for the line of the output that names the tested hash.
    """

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()
    noun: ClassVar[str] = "SSH job"

    def __init__(
        self, *, conn_id: str, words: Sequence[str], told: Mapping[str, str], line: str, **kwargs: Any
    ) -> None:
        super().__init__(
            conn_id=conn_id, ssh_conn_id=conn_id, command=shlex.join(words), remote_os="posix", **kwargs
        )
        self.words = list(words)
        self.told = dict(told)
        self.line = line

    @property
    def _machine(self) -> SshMachineHook:
        return SshMachineHook(self.conn_id)

    def plan(self, work: Work) -> str:
        """Say what is started."""
        return f"{self._command(work)} on {self.conn_id}"

    def check(self) -> None:
        """Log in."""
        with self._machine.connect():
            pass

    def find(self, work: Work) -> str | None:
        """Return the provider's folder of the job, None when there is none."""
        from rdo_promoter.clients.ssh_job import ABSENT, look

        with self._machine.connect() as client:
            found = look(client, work.id, self.conn_id)
        if found.state == ABSENT:
            return work.memory.handle or None
        return found.folder or "claimed"

    def start(self, context: Context, work: Work) -> str:
        """Let the provider's operator start the command in the job's own folder, unless that is there."""
        from rdo_promoter.clients.ssh_job import base_of

        self.command = (
            f"env {self._command(work)}"  # no word is the shell's own: `exit` would leave no status
        )
        self.environment = self._environment(work)
        self.remote_base_dir = base_of(work.id)
        # A property of the provider's, cached: the connection is ours.
        submission = self.__dict__["ssh_hook"] = _Submission(self._machine, work.id)
        with suppress(TaskDeferred):
            SSHRemoteJobOperator.execute(self, context)
        return (submission.folder == self._job_id and self._job_id) or self.find(work) or ""

    def look(self, context: Context, work: Work, *, lost: bool) -> Ended | None:  # noqa: ARG002 - Jenkins's
        """Return how the command has ended, None while it runs."""
        from rdo_promoter.clients.ssh_job import ABSENT, DEAD, OVER, STARTING, look, output

        log_url = str(context["ti"].log_url)
        with self._machine.connect() as client:
            found = look(client, work.id, self.conn_id)
            if found.state == ABSENT:
                return Ended(End.LOST, f"its folder is not on {self.conn_id} any more", log_url)
            if found.state == STARTING and _age(work) > _BEGINS_WITHIN:
                return Ended(End.LOST, f"it has never begun on {self.conn_id}", log_url)
            if found.state not in (OVER, DEAD):
                return None
            lines = output(client, work.id, found.folder, self.conn_id).splitlines()
        self._show(work, lines)
        if found.state == DEAD:
            return Ended(End.ABORTED, f"killed on {self.conn_id}, or the machine was restarted", log_url)
        ended = f"ended with {found.status}"
        if why := doubt(named_hashes(lines, self.line), work.build, "its output"):
            return Ended(End.DOUBTFUL, f"{ended}, but {why}", log_url)
        return Ended(End.FAILED if found.status else End.PASSED, ended, log_url)

    def wait(self, work: Work, until: int) -> None:
        """Defer to the provider's trigger."""
        from airflow.providers.ssh.triggers.ssh_remote_job import SSHRemoteJobTrigger
        from airflow.providers.ssh.utils.remote_job import RemoteJobPaths

        from rdo_promoter.clients.ssh_job import base_of

        if not work.memory.handle.startswith("af_"):
            raise ServiceError(
                f"{work.build.short} {self.noun} {work.id} has not begun yet; looking again soon"
            )
        paths = RemoteJobPaths(work.memory.handle, "posix", base_of(work.id))
        self.defer(
            trigger=SSHRemoteJobTrigger(
                ssh_conn_id=self.conn_id,
                remote_host=None,
                job_id=work.id,
                job_dir=paths.job_dir,
                log_file=paths.log_file,
                exit_code_file=paths.exit_code_file,
                remote_os="posix",
                poll_interval=max(1, round(self.poll)),
                max_reconnect_attempts=_RECONNECTS,
            ),
            method_name="execute_complete",
            # Its own end is an error, after which the next try says that it was too late.
            timeout=timedelta(seconds=max(1, until - started.now())),
        )

    def tidy(self, work: Work) -> None:
        """Remove the job's folder."""
        from rdo_promoter.clients.ssh_job import remove

        with suppress(NotFoundError), self._machine.connect() as client:
            remove(client, work.id, self.conn_id)

    def _command(self, work: Work) -> str:
        return shlex.join(work.told.fill(word) for word in self.words)

    def _environment(self, work: Work) -> dict[str, str]:
        return {**{name: work.told.fill(text) for name, text in self.told.items()}, ID_NAME: work.id}


class _Submission:
    """What the provider's operator knows as its hook: one strict connection, and one claimed start.

    :param machine: logs in.
    :param job_id: the job's id.
    """

    def __init__(self, machine: SshMachineHook, job_id: str) -> None:
        self.remote_host = machine.ssh_conn_id
        #: What the provider's script said: the folder that it has made, unless one was there.
        self.folder = ""
        self._machine = machine
        self._job_id = job_id

    def get_conn(self) -> Any:
        """Return a connection, to be used in a `with` block."""
        return self._machine.connect()

    def exec_ssh_client_command(
        self, client: paramiko.SSHClient, command: str, **_: object
    ) -> tuple[int, bytes, bytes]:
        """Run the provider's script, unless the job's folder shows that it was run before."""
        from rdo_promoter.clients.ssh_commands import run
        from rdo_promoter.clients.ssh_job import claimed

        what = f"starting job {self._job_id} on {self.remote_host}"
        status, said = run(client, claimed(self._job_id, command), what)
        if status != 0:
            raise ServiceError(f"{what}: status {status}, {said.strip()[:200]}")
        self.folder = said.strip()
        return status, said.encode(), b""


def _age(work: Work) -> int:
    """Return how many seconds ago the job was asked for."""
    now = started.now()
    return now - (work.memory.asked or now)
