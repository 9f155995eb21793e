"""A label's ``delorean.repo``: which build installers get who follow the label. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rdo_promoter.model.text import one_line

#: Builds named in a message.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class RepoFile:
    """What was fetched.

    :param address: where from, without credentials.
    :param sha256: of the content, 64 hex digits.
    :param md5: of the content, 32 hex digits.
    :param declared: the md5 that stands beside the file, None where none does.
    :param builds: the last part of each section's ``baseurl``, each once: the builds that it names.
    """

    address: str
    sha256: str
    md5: str
    declared: str | None
    builds: tuple[str, ...]

    @property
    def torn(self) -> bool:
        """Whether file and md5 are of two builds: DLRN replaces one after the other."""
        return self.declared not in (None, self.md5)

    @property
    def names(self) -> str:
        """What it names, fit for a message."""
        more = f" and {len(self.builds) - _NAMED} more" if len(self.builds) > _NAMED else ""
        return ", ".join(one_line(build, limit=100) for build in self.builds[:_NAMED]) + more
