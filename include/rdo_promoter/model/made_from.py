"""Which text of a release file something was made from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """A release file as it was when it was read.

    :param file: as messages name it, for example ``releases/master.yaml``.
    :param digest: sha256 over the file and what it includes, 64 hex digits.
    """

    file: str
    digest: str

    def __str__(self) -> str:
        return f"{self.file} (sha256 {self.digest[:12]})"
