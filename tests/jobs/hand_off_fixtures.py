"""What hand-offs are tested with: a build in place in the lab, a key, and a fake receiver."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab.fake_receiver import FakeReceiver
from lab.images import push_build
from lab.lab import Lab
from rdo_promoter.clients.handoff_key import PublicKey
from rdo_promoter.hooks.ledger import ledger
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.layout import BY_HASH
from tests.engine.rdo import CONTAINERS, Rdo
from tests.jobs.hand_off_world import REGISTRIES, Connect, World, fact, vote


@pytest.fixture(scope="module")
def rdo(lab: Lab) -> Iterator[Rdo]:
    with lab.dlrn_client() as dlrn:
        yield Rdo(lab, f"t{uuid.uuid4().hex[:8]}", dlrn)


@pytest.fixture(scope="module")
def older(rdo: Rdo) -> DlrnHash:
    return rdo.build()


@pytest.fixture(scope="module")
def handed(rdo: Rdo, older: DlrnHash) -> DlrnHash:
    """A build that is in place under its hash, with votes."""
    build = rdo.build(extended=True)
    rdo.ci_builds(build)
    push_build(rdo.registry("dockerhub"), rdo.namespace("dockerhub"), CONTAINERS, build.full_hash, prefix="")
    vote(rdo, build, "standalone", at=1000)
    vote(rdo, build, "scenario001", success=False, at=2000)
    return build


@pytest.fixture
def receiver(connect: Connect) -> Iterator[FakeReceiver]:
    fake = FakeReceiver()
    with fake.serve():
        connect("receiver", fake.connection())
        yield fake


@pytest.fixture
def key(connect: Connect) -> PublicKey:
    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    connect("key", {"conn_type": "handoff_key", "login": "rdo-2026", "password": text})
    return PublicKey(private.public_key())


@pytest.fixture
def world(  # noqa: PLR0917 - fixtures
    rdo: Rdo,
    handed: DlrnHash,
    receiver: FakeReceiver,
    key: PublicKey,
    connect: Connect,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> World:
    for name, content in rdo.lab.connections().items():
        connect(name, json.loads(content))
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path))
    services = ConnectionServices(
        "dlrn_centos7_master",
        rdo.lab.dlrn.repo_url,
        {name: (f"registry_{name}", rdo.namespace(name)) for name in REGISTRIES},
        {"images": ("images_rdo", str(rdo.image_root), BY_HASH)},
    )
    row = rdo.dlrn.promote(handed, f"{namespace}-handed")
    ledger().append(fact(row))
    return World(rdo, row, receiver, key, services)
