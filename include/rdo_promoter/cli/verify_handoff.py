"""``rdo-promoter verify-handoff``: is this what was signed with that key? Asks nobody, loads no Airflow."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rdo_promoter.cli.process import tell
from rdo_promoter.errors import ConfigError, PermanentError
from rdo_promoter.model.text import one_line

if TYPE_CHECKING:
    from rdo_promoter.clients.handoff_key import PublicKey


def add(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_parser(
        "verify-handoff",
        help="verify the signature of a hand-off, and print what it says",
        description="Verify a file handoff-<label>.json with a public key and print what it says. Exit code "
        "0: it was signed with that key and is whole; 1: it was not, or it is no hand-off.",
    )
    parser.add_argument("file", metavar="FILE", type=_content, help="the hand-off")
    parser.add_argument(
        "--key",
        required=True,
        metavar="PUBLIC_KEY_FILE",
        type=_key,
        help="the public key of whoever hands off: PEM, or OpenSSH's line `ssh-ed25519 AAAA..`",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what a hand-off says; 0 when it was signed with the key."""
    from rdo_promoter.model.handoff import digest, read_envelope, read_handoff

    path, content = options.file
    key: PublicKey = options.key
    try:
        envelope = read_envelope(content)
        key.verify(envelope)
        record = read_handoff(envelope.record)
    except PermanentError as error:
        raise PermanentError(one_line(f"{path}: {error}")) from error
    tell([f"good: signed with {key.fingerprint}", f"hand-off {digest(envelope.record)}", *record.lines()])
    return 0


def _content(text: str) -> tuple[str, bytes]:
    try:
        return text, Path(text).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be read: {error.strerror}") from error


def _key(text: str) -> PublicKey:
    from rdo_promoter.clients.handoff_key import read_public_key

    path, content = _content(text)
    try:
        return read_public_key(content)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{path!r} {error}") from error
