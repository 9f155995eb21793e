"""Jobs that run detached on a machine: where they are, and what has become of them.

The folder of a job is named by its id and made before anything else, so that a second start finds it there.
In it lies the folder that the ssh provider makes: ``pid``, ``stdout.log``, and ``exit_code`` at the end.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import paramiko

from rdo_promoter.clients.ssh_commands import run
from rdo_promoter.errors import AnswerError, ServiceError

#: In the account's home, where nobody else can write: in /tmp anybody could make the folder of a job to come.
BASE = ".rdo-promoter/jobs"

#: Bytes of a job's output that are read; what it has tested has to be said in these last ones.
OUTPUT_MAX = 4_000_000

#: What the folder says of the job: not there, not begun yet, at work, ended, or ended without a word.
ABSENT, STARTING, ALIVE, OVER, DEAD = "absent", "starting", "alive", "over", "dead"


@dataclass(frozen=True, slots=True)
class SshJob:
    """A job.

    :param state: one of the five above.
    :param folder: the provider's folder in the job's, empty before there is one.
    :param status: its exit status, None before its end.
    """

    state: str
    folder: str = ""
    status: int | None = None


def base_of(job_id: str) -> str:
    """Return the folder of a job, relative to the account's home."""
    return f"{BASE}/{job_id}"


def claimed(job_id: str, script: str) -> str:
    """Return a script that runs another one unless the job's folder is there already.

    ``mkdir`` decides: of two that do this at the same moment, one makes the folder.
    """
    base = shlex.quote(base_of(job_id))
    return (
        f"(umask 077; mkdir -p {BASE}) || exit 73\n"
        f"if mkdir -m 700 {base}; then\n{script}\n"
        f"elif [ -d {base} ]; then echo claimed already\nelse exit 73; fi"
    )


def look(client: paramiko.SSHClient, job_id: str, where: str) -> SshJob:
    """Return what has become of a job.

    :param where: the machine, for messages.
    """
    # Asked again after the process was seen to have ended: it writes its status as its last act.
    script = f"""alive() {{
  kill -0 "$1" 2>/dev/null || return 1
  # A machine whose first process buries nobody keeps the dead.
  case "$(ps -o stat= -p "$1" 2>/dev/null)" in Z*) return 1;; esac
}}
cd {shlex.quote(base_of(job_id))} 2>/dev/null || {{ echo {ABSENT}; exit 0; }}
for d in af_*; do
  [ -d "$d" ] || {{ echo {STARTING}; exit 0; }}
  if [ -s "$d/exit_code" ]; then echo "{OVER} $d $(cat "$d/exit_code")"
  elif [ ! -s "$d/pid" ]; then echo "{STARTING} $d"
  elif alive "$(cat "$d/pid")"; then echo "{ALIVE} $d"
  elif [ -s "$d/exit_code" ]; then echo "{OVER} $d $(cat "$d/exit_code")"
  else echo "{DEAD} $d"; fi
  exit 0
done"""
    status, said = run(client, script, f"looking for job {job_id} on {where}")
    words = said.split()
    if status != 0 or not words or words[0] not in (ABSENT, STARTING, ALIVE, OVER, DEAD):
        raise AnswerError(f"looking for job {job_id} on {where}: status {status}, {said.strip()[:200]!r}")
    code = words[2] if len(words) > 2 else ""
    if words[0] == OVER and not code.isdecimal():
        raise AnswerError(f"job {job_id} on {where} has left {code!r} for an exit status")
    return SshJob(words[0], words[1] if len(words) > 1 else "", int(code) if code else None)


def output(client: paramiko.SSHClient, job_id: str, folder: str, where: str) -> str:
    """Return the last bytes of a job's output.

    :param folder: the provider's folder.
    """
    file = shlex.quote(f"{base_of(job_id)}/{folder}/stdout.log")
    status, said = run(client, f"tail -c {OUTPUT_MAX} {file}", f"reading the output of {job_id} on {where}")
    if status != 0:
        raise ServiceError(f"reading the output of {job_id} on {where}: {said.strip()[:200]}")
    return said


def remove(client: paramiko.SSHClient, job_id: str, where: str) -> None:
    """Remove the folder of a job that has ended."""
    run(client, f"rm -rf {shlex.quote(base_of(job_id))}", f"removing job {job_id} on {where}")
