"""Short commands on a machine that we are logged in to."""

from __future__ import annotations

import shlex
import time

import paramiko

from rdo_promoter.errors import ServiceError

#: Seconds between the beginning of a command and its end; these only look, or start something.
DEADLINE = 60.0


def run(client: paramiko.SSHClient, script: str, what: str, *, deadline: float = DEADLINE) -> tuple[int, str]:
    """Run a script by bash, whatever the account's own shell is; return its exit status and its output.

    :param what: what is done on which machine, for the message.
    :param deadline: seconds.
    :raises ServiceError: when the connection ends before the script does, or the script takes too long.
    """
    until, output = time.monotonic() + deadline, b""
    try:
        _, stdout, _ = client.exec_command(f"bash -c {shlex.quote(script)}", timeout=deadline)
        stdout.channel.shutdown_write()
        stdout.channel.set_combine_stderr(True)
        while chunk := stdout.channel.recv(65536):
            output += chunk
            if time.monotonic() > until:
                raise TimeoutError(f"no end within {deadline:.0f} s")
        # Asked for after the end of the output it could wait for ever.
        if not stdout.channel.status_event.wait(max(0.1, until - time.monotonic())):
            raise TimeoutError(f"no exit status within {deadline:.0f} s")
        status = stdout.channel.recv_exit_status()
    except (paramiko.SSHException, EOFError, OSError) as error:
        # A channel that was silent for too long says nothing.
        raise ServiceError(f"{what}: {str(error) or f'no answer within {deadline:.0f} s'}") from error
    if status < 0:
        raise ServiceError(f"{what}: the connection ended before the command did")
    return status, output.decode(errors="replace")
