"""A required job need not pass: what such a decision says, and whom it serves. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rdo_promoter.model.clock import utc

#: Seconds after its end for which it is said that a waiver has expired: as long as most of them hold. By then
#: whoever counted on it has seen that the job blocks again, and without an end each look would tell of all.
TOLD_AFTER = 7 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A required job need not pass: of the ledger, or of the reviewed file.

    :param job: the job.
    :param full_hash: the build, None for every build.
    :param reason: why: the link of a bug.
    :param by: who decided it.
    :param expires: until when, in seconds since the epoch.
    :param origin: where it is written: the entry's name, or ``file:line``.
    """

    job: str
    full_hash: str | None
    reason: str
    by: str
    expires: int
    origin: str

    def __str__(self) -> str:
        return f"waived by {self.by} until {utc(self.expires)}: {self.reason}"

    def why_ignored(self, full_hash: str, *, now: int) -> str | None:
        """Say why it does not count for a build, None when it does.

        :param full_hash: the build.
        :param now: DLRN's time, seconds since the epoch.
        """
        if self.full_hash not in (None, full_hash):
            return f"it is for another build, {self.full_hash}"
        if self.expires <= now:
            return f"it expired at {utc(self.expires)}"
        return None

    def is_told(self, full_hash: str, *, now: int) -> bool:
        """Tell whether somebody may still wonder why it does not count for a build.

        :param full_hash: the build.
        :param now: DLRN's time, seconds since the epoch.
        """
        # One for another build counts there or, once it has expired, nowhere.
        return now < self.expires + (TOLD_AFTER if self.full_hash in (None, full_hash) else 0)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A waiver that does not count here.

    :param waiver: the waiver.
    :param why: why not, in a few words.
    """

    waiver: Waiver
    why: str

    def __str__(self) -> str:
        named = f"waiver of {self.waiver.job} by {self.waiver.by} ({self.waiver.origin})"
        return f"{named} is ignored: {self.why}"
