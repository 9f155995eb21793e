"""Tokens that a registry believes: signed JSON web tokens (RFC 7519)."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from rdo_promoter.clients.registry.bearer import Scopes


@dataclass(frozen=True)
class Signer:
    """Signs tokens as docker-registry 2.8 wants them: ES256, with the certificate in the header.

    :param folder: where `server_certificate` has put certificate and key.
    """

    folder: Path
    _key: ec.EllipticCurvePrivateKey = field(init=False, repr=False)
    _header: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = serialization.load_pem_private_key((self.folder / "server.key").read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate((self.folder / "server.crt").read_bytes())
        der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_header", _part({"typ": "JWT", "alg": "ES256", "x5c": [der]}))

    def token(self, issuer: str, account: str, service: str, scopes: Scopes, *, valid: int) -> str:
        """Return a token.

        :param issuer: who signs it.
        :param account: whom it is for, empty for an anonymous user.
        :param service: the registry that it is for.
        :param scopes: what it allows.
        :param valid: seconds that it lasts.
        """
        now = int(time.time())
        claims = {
            "iss": issuer,
            "sub": account,
            "aud": service,
            "exp": now + valid,
            # A token that is over when it begins would be refused for that.
            "nbf": min(now, now + valid) - 60,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "access": [
                {"type": scope.kind, "name": scope.name, "actions": list(scope.actions)} for scope in scopes
            ],
        }
        content = self._header + b"." + _part(claims)
        r, s = decode_dss_signature(self._key.sign(content, ec.ECDSA(hashes.SHA256())))
        # RFC 7518, section 3.4: both numbers side by side, 32 bytes each.
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return (content + b"." + _base64url(signature)).decode()


def _part(content: Mapping[str, object]) -> bytes:
    return _base64url(json.dumps(content, separators=(",", ":")).encode())


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
