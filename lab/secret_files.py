"""Files that only their owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_secret(file: Path, content: str | bytes) -> None:
    """Write a file that nobody else can read, also not for a moment, and that is never half there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
    partial.replace(file)


def secret(file: Path) -> str:
    """Return the random secret that the file keeps; it is made at the first call."""
    if not file.exists():
        write_secret(file, secrets.token_urlsafe(24))
    return file.read_text()
