"""Jobs that we start ourselves: their ids, what they are told, what they say, what is remembered. Pure."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import Build, DlrnHash
from rdo_promoter.model.text import one_line

#: The parameter or environment variable in which a job is told its id.
ID_NAME = "RDO_PROMOTER_ID"

#: What a release file may write between braces in what a job is told.
FIELDS = ("full_hash", "commit_hash", "distro_hash", "label", "repo_url")

#: What a job is told unless its step says something else.
TOLD: Mapping[str, str] = {f"RDO_{name.upper()}": f"{{{name}}}" for name in FIELDS}

#: How a line of a job's output names what it has tested, unless its step says something else.
TESTED = r"^tested (?P<hash>\S+)$"

#: Longer lines name nothing: an expression could take its time over them.
_LONGEST_LINE = 2000

#: No shell gives these a meaning, quoted or not. Source: ``shlex.quote``.
_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]*")


def fields_of(template: str) -> tuple[str, ...]:
    """Return the names between braces.

    :raises ConfigError: when the text is no template of `FIELDS`.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{template!r} cannot be filled in ({error}): write {{{{ for a brace") from error
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ConfigError(f"{template!r} has more than a name between braces: write {{full_hash}}")
    return tuple(name for _, name, _, _ in parts if name is not None)


@dataclass(frozen=True, slots=True)
class Told:
    """What a job may be told of the run's build.

    :param build: the build.
    :param label: the label that CI tests in this stage.
    :param repo_url: DLRN's repository tree.
    """

    build: Build
    label: str
    repo_url: str

    def fill(self, template: str) -> str:
        """Return the text with the values in place of the names.

        :raises ConfigError: when the build has no such value, or a shell could understand one.
        """
        return template.format(**{name: self._value(name) for name in fields_of(template)})

    def _value(self, name: str) -> str:
        value = self._values().get(name)
        if value is None:
            raise ConfigError(f"{self.build} has no {name}: it is no build of a single pipeline")
        if not _SAFE.fullmatch(value):
            # Quoted it would be harmless; in `[bash, -c, "... {repo_url}"]` nobody could quote it.
            raise ConfigError(
                f"{name} {one_line(value)!r} has a character that means something to a shell; letters, "
                "digits and _@%+=:,./- can be passed on"
            )
        return value

    def _values(self) -> dict[str, str]:
        build = self.build
        values = {"full_hash": build.full_hash, "label": self.label}
        if isinstance(build, DlrnHash):
            values |= {"commit_hash": build.commit_hash, "distro_hash": build.distro_hash}
        tree = self.repo_url if isinstance(build, DlrnHash) else f"{self.repo_url}/{self.label}"
        # The build's own folder: what a label names may change while the job runs.
        return values | {"repo_url": f"{tree}/{build.path}"}


def named_hashes(lines: Iterable[str], pattern: str) -> frozenset[str]:
    """Return what the lines say was tested.

    :param pattern: an expression with a group ``hash``.
    """
    compiled = re.compile(pattern)
    return frozenset(
        match["hash"]
        for line in lines
        if len(line) <= _LONGEST_LINE
        # All of them: what names two builds may have tested the other one.
        for match in compiled.finditer(line)
        if match["hash"] is not None
    )


def doubt(said: Iterable[str], build: Build, where: str) -> str | None:
    """Return why a job was not for the build, None when it says that it was.

    :param said: the hashes that it names.
    :param where: what should name it, for the message.
    """
    named = sorted(set(said))
    if named == [build.full_hash]:
        return None
    if not named:
        return f"{where} does not name the build that was tested; it has to name {build.full_hash}"
    return f"{where} names {one_line(', '.join(named), limit=300)}, and this run carries {build.full_hash}"


class End(StrEnum):
    """How a job that we started can end."""

    PASSED = "passed"
    FAILED = "failed"
    #: Somebody ended it: it says nothing about the build.
    ABORTED = "aborted"
    #: Nobody knows of it any more.
    LOST = "lost"
    #: It does not say that it was for the run's build.
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a job.

    :param end: how it ended.
    :param reason: in the words of what ran it, for people.
    :param url: its log.
    """

    end: End
    reason: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives retries and clears of the task.

    :param full_hash: the build.
    :param life: Airflow's ``max_tries``, which grows with each clear by a person and not with a retry.
    :param since: when this life began, seconds since the epoch.
    :param attempt: how many jobs we have started, this one included.
    :param asked: when its start was asked for last, None before; seconds since the epoch.
    :param handle: where it was found, empty before.
    :param ended: how it ended, None before; everything that follows from it was done then.
    """

    full_hash: str
    life: int
    since: int
    attempt: int = 1
    asked: int | None = None
    handle: str = ""
    ended: Ended | None = None

    def to_json(self) -> dict[str, str | int | None]:
        """Return the fields as JSON values."""
        end = self.ended
        return {
            "full_hash": self.full_hash,
            "life": self.life,
            "since": self.since,
            "attempt": self.attempt,
            "asked": self.asked,
            "handle": self.handle,
            "end": str(end.end) if end else None,
            "reason": end.reason if end else "",
            "url": end.url if end else "",
        }


def read_memory(stored: object) -> Memory | None:
    """Read what `Memory.to_json` made; None when there is nothing yet.

    :raises ConfigError: when it is something else: a job could be started twice.
    """
    if stored is None:
        return None
    try:
        if not isinstance(stored, Mapping):
            raise TypeError("no object")  # noqa: TRY301 - one message for all that can be wrong
        asked, end = stored["asked"], stored["end"]
        return Memory(
            full_hash=str(stored["full_hash"]),
            life=int(stored["life"]),
            since=int(stored["since"]),
            attempt=int(stored["attempt"]),
            asked=None if asked is None else int(asked),
            handle=str(stored["handle"]),
            ended=None if end is None else Ended(End(end), str(stored["reason"]), str(stored["url"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"what this task has stored of its job cannot be read ({type(error).__name__}: {error}): whether "
            "one runs is not known; look for it, then start a new run for this build"
        ) from error


def take_up(memory: Memory | None, full_hash: str, *, life: int, now: int) -> Memory:
    """Return what a try goes by: whether it goes on with a job, or starts the next one.

    A retry by Airflow goes on, whatever the job has come to. A clear by a person starts the next job when the
    last one has ended without a pass; a job that still runs is waited for again, and a pass stays one.

    :param memory: what the task had stored.
    :param full_hash: the run's build.
    :param life: Airflow's ``max_tries``.
    :param now: seconds since the epoch.
    """
    if memory is None or memory.full_hash != full_hash:
        return Memory(full_hash, life, now)
    if memory.life == life:
        return memory
    if memory.ended is None or memory.ended.end is End.PASSED:
        return replace(memory, life=life, since=now)
    return Memory(full_hash, life, now, memory.attempt + 1)


def job_id(dag_id: str, run_id: str, task_id: str, memory: Memory) -> str:
    """Return the id of a task's job, which is the same in each try: letters, digits, ``.``, ``_`` and ``-``.

    :param memory: says for which build, and the how manieth.
    """
    digest = hashlib.sha256("\n".join((dag_id, run_id, task_id, memory.full_hash)).encode()).hexdigest()
    # What stands before it is for people, and may not be too long for a container's name.
    return f"rdo-promoter.{dag_id[:40]}.{task_id[:60]}.{digest[:16]}.{memory.attempt}"
