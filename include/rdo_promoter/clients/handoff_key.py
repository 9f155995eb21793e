"""Ed25519 keys of hand-offs: ours signs, and whoever has its public half verifies."""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from rdo_promoter.errors import AnswerError, ConfigError
from rdo_promoter.model.canonical import canonical
from rdo_promoter.model.handoff import Envelope

_ARMOUR = re.compile(r"(-----BEGIN [A-Z0-9 ]+-----)(.*?)(-----END [A-Z0-9 ]+-----)", re.DOTALL)
_MAKE = "make one with `openssl genpkey -algorithm ed25519 -out handoff.pem`"


class HandoffKey:
    """The key that hand-offs are signed with.

    :param key_id: how people call it.
    :param private: the private key.
    """

    def __init__(self, key_id: str, private: Ed25519PrivateKey) -> None:
        self.key_id = key_id
        self._private = private

    def __repr__(self) -> str:
        return f"HandoffKey({self.key_id!r})"

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self._private.public_key())

    def sign(self, record: object) -> Envelope:
        """Return the record with its signature; of the same record it is the same.

        :param record: the record's JSON value.
        """
        return Envelope(record, self.key_id, self._private.sign(canonical(record)))


class PublicKey:
    """What verifies hand-offs.

    :param public: the public key.
    """

    def __init__(self, public: Ed25519PublicKey) -> None:
        self._public = public

    @property
    def line(self) -> str:
        """The key as OpenSSH writes it, ``ssh-ed25519 AAAA..``."""
        return self._public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint as ``ssh-keygen -l`` shows it."""
        wire = base64.b64decode(self.line.split()[1])
        return "SHA256:" + base64.b64encode(hashlib.sha256(wire).digest()).decode().rstrip("=")

    def verify(self, envelope: Envelope) -> None:
        """Make sure that the envelope's record was signed with this key, and is what was signed.

        :raises AnswerError: when it was not.
        """
        try:
            self._public.verify(envelope.signature, canonical(envelope.record))
        except InvalidSignature as error:
            raise AnswerError(
                f"it was not signed with the key {self.fingerprint}, or changed since; it says that it was "
                f"signed with {envelope.key_id!r}: use that one's public key, or get the hand-off anew"
            ) from error


def read_key(key_id: str, text: str, source: str) -> HandoffKey:
    """Read a private key, PEM or OpenSSH's; its lines may have been lost in a form of one line.

    :param key_id: how people call it.
    :param text: the key.
    :param source: where it is written, for messages, which never repeat it.
    :raises ConfigError: when it is none of Ed25519, or needs a passphrase.
    """
    content = _lines(text).encode()
    load = load_ssh_private_key if b"OPENSSH" in content else load_pem_private_key
    try:
        private = load(content, password=None)
    except TypeError:
        raise ConfigError(f"{source} needs a passphrase: store it without one, Airflow encrypts it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            f"{source} is no private key in PEM or OpenSSH's form: copy the whole file; {_MAKE}"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{source} is no Ed25519 key: {_MAKE}")
    return HandoffKey(key_id, private)


def read_public_key(content: bytes) -> PublicKey:
    """Read a public key, PEM or a line of OpenSSH's.

    :raises ConfigError: when it is none of Ed25519.
    """
    load = load_pem_public_key if b"-----BEGIN" in content else load_ssh_public_key
    try:
        public = load(content.strip())
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise ConfigError(
            "is no public Ed25519 key: a line `ssh-ed25519 AAAA..`, or PEM that begins with "
            "`-----BEGIN PUBLIC KEY-----`"
        )
    return PublicKey(public)


def _lines(text: str) -> str:
    """Return the key with its lines: a field of one line makes spaces of them, or nothing."""
    found = _ARMOUR.search(text.replace("\\n", "\n"))
    if found is None:
        return text
    begin, body, end = found.groups()
    packed = "".join(body.split())
    return "\n".join((begin, *(packed[at : at + 64] for at in range(0, len(packed), 64)), end, ""))
