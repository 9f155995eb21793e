"""Connections that cannot be used: what stands in them, and what is said when they are opened.

Each is one of the lab's Connections with something else in it, opened by its hook as a task would.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.lab import Lab
from rdo_promoter.errors import MissingConnectionError, PermanentError
from rdo_promoter.hooks.dlrn import DlrnHook
from rdo_promoter.hooks.image_server import ImageServerHook
from rdo_promoter.hooks.registry import RegistryHook
from rdo_promoter.model.promotions import PromotionRow
from tests.bad_input.spoil import other_host_key, other_login_key

pytestmark = pytest.mark.lab

DLRN, HUB, IMAGES = "dlrn_centos7_master", "registry_dockerhub", "images_rdo"
#: No message may repeat it.
SECRET = "open-sesame"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNlc2FtZQ==\n-----END OPENSSH PRIVATE KEY-----\n"


@dataclass(frozen=True)
class Case:
    """A Connection with something wrong in it.

    :param what: for people.
    :param connection: one of the lab's.
    :param changes: its fields that are different, None for a Connection that does not exist.
    :param extra: keys of its extra that are different; None for a key that is not there.
    :param said: parts of the message.
    """

    what: str
    connection: str
    said: tuple[str, ...]
    changes: Mapping[str, Any] | None = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def missing(connection: str, kind: str) -> Case:
    said = (
        f"Connection '{connection}' does not exist: create it",
        f"Admin > Connections with type {kind}, or",
    )
    return Case(f"no {connection}", connection, (*said, f"AIRFLOW_CONN_{connection.upper()}"), None)


def kind(connection: str, wrong: str, right: str) -> Case:
    said = f"Connection '{connection}' has type {wrong}; it has to be {right}"
    return Case(f"{wrong} where {right} is needed", connection, (said,), {"conn_type": wrong})


def host(connection: str, what: str, value: str | None, said: str, **changes: Any) -> Case:
    parts = (f"of Connection '{connection}' {said}", "write the whole address there, for example https://")
    return Case(f"{connection}: {what}", connection, parts, {"host": value, **changes})


ADDRESSES = tuple(
    case
    for connection in (DLRN, HUB)
    for case in (
        host(connection, "no host", None, "is empty"),
        host(connection, "a blank host", "  ", "is empty"),
        host(connection, "a scheme alone", "https://", "is no address of a web service"),
        host(connection, "another protocol", "ftp://example.org", "is no address of a web service"),
        host(connection, "a login in the host", f"https://user:{SECRET}@example.org", "holds a login"),
        *(
            host(
                connection,
                f"a password with {sign} in the host",
                f"https://u:{SECRET}{sign}{SECRET}@x.org",
                "holds",
            )
            for sign in "/#?@"
        ),
        host(connection, "a query", f"example.org?token={SECRET}", "is no address of a web service"),
        host(connection, "a port that is none", "https://example.org:port", "is no address"),
        host(connection, "half an IPv6 address", "https://[::1", "is no address"),
        host(connection, "two dots in its name", "https://trunk..rdoproject.org", "is no address"),
        host(connection, "its path in the schema", "example.org", "is not read", schema="api"),
    )
)

EXTRAS = tuple(
    case
    for connection in (DLRN, HUB)
    for case in (
        Case(
            f"{connection}: no certificate check",
            connection,
            ("'verify' false, but certificates are always verified: write the path of",),
            extra={"verify": False},
        ),
        Case(
            f"{connection}: no certificate check, as a word",
            connection,
            ("'verify' false, but certificates are always verified",),
            extra={"verify": "False"},
        ),
        Case(
            f"{connection}: a CA file that is missing",
            connection,
            ("names the CA file /nowhere/ca.pem, which does not exist on this machine",),
            extra={"ca": "/nowhere/ca.pem"},
        ),
        Case(
            f"{connection}: two CA files",
            connection,
            ("names two CA files, in 'ca' and in 'verify': keep 'ca'",),
            extra={"ca": "/a", "verify": "/b"},
        ),
        Case(
            f"{connection}: a list for a path",
            connection,
            ("cannot be used: 'ca': Input should be a valid string; known keys: ca, verify",),
            extra={"ca": [SECRET]},
        ),
        Case(
            f"{connection}: no JSON",
            connection,
            ("is no JSON", "write an object such as {}"),
            {"extra": SECRET},
        ),
        Case(
            f"{connection}: a JSON list",
            connection,
            ("is a JSON list; write an object such as {}",),
            {"extra": f'["{SECRET}"]'},
        ),
    )
)

CASES: tuple[Case, ...] = (
    missing(DLRN, "dlrn"),
    missing(HUB, "docker"),
    missing(IMAGES, "sftp or ssh"),
    kind(DLRN, "http", "dlrn"),
    kind(HUB, "http", "docker"),
    kind(IMAGES, "ftp", "sftp or ssh"),
    *ADDRESSES,
    *EXTRAS,
    # DLRN
    Case(
        "a wrong password at DLRN",
        DLRN,
        ("/api/promote answered 401", f"(user 'promoter'); check login and password of Connection '{DLRN}'"),
        {"password": SECRET},
    ),
    Case(
        "no login at DLRN",
        DLRN,
        ("needs a user and a password; set them in Connection 'dlrn_centos7_master'",),
        {"login": None, "password": None},
    ),
    # registries
    Case(
        "a login without its password",
        HUB,
        ("Connection 'registry_dockerhub' has only one of login and password: set both, or none",),
        {"password": None},
    ),
    Case(
        "a wrong password at a registry",
        HUB,
        ("registry hub (https://", "refuses the login 'promoter': check login and password"),
        {"password": SECRET},
    ),
    Case(
        "an unknown CA",
        HUB,
        ("registry hub (https://", "certificate could not be verified"),
        extra={"ca": None},
    ),
    # image servers
    Case(
        "no host",
        IMAGES,
        ("Connection 'images_rdo' has no host: set the image server's host",),
        {"host": None},
    ),
    *(
        Case(
            f"a host that no machine can be called ({what})",
            IMAGES,
            (f"host '{value}' of Connection 'images_rdo' is no name of a machine: write it", "single dots"),
            {"host": value},
        )
        for what, value in (("two dots", "images..rdoproject.org"), ("too long", f"{'x' * 64}.org"))
    ),
    Case(
        "no login",
        IMAGES,
        ("Connection 'images_rdo' has no login: set the image server's login",),
        {"login": ""},
    ),
    *(
        Case(
            f"{switch} {value}",
            IMAGES,
            (
                f"extra of Connection 'images_rdo' has '{switch}', but host keys are always checked",
                "set 'host_key'",
            ),
            extra={switch: value},
        )
        for switch in ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change")
        for value in (True, "true")
    ),
    *(
        Case(
            f"no host key ({value!r})",
            IMAGES,
            (
                "is not known: extra 'host_key' of Connection 'images_rdo' is missing",
                'set extra "host_key" of',
            ),
            extra={"host_key": value},
        )
        for value in (None, "")
    ),
    Case(
        "another host key",
        IMAGES,
        (
            "showed another host key than the one in extra 'host_key' of Connection 'images_rdo'",
            "Nothing was sent",
        ),
        extra={"host_key": other_host_key()},
    ),
    Case(
        "a host key that is none",
        IMAGES,
        ("extra 'host_key' of Connection 'images_rdo' is no public key; write the one line of",),
        extra={"host_key": "ssh-ed25519"},
    ),
    Case(
        "a host key that is a number",
        IMAGES,
        ("extra of Connection 'images_rdo' cannot be used: 'host_key': Input should be a valid string",),
        extra={"host_key": 7},
    ),
    Case(
        "a key file that is missing",
        IMAGES,
        ("extra 'key_file' /nowhere/id of Connection 'images_rdo' cannot be read",),
        extra={"key_file": "/nowhere/id"},
    ),
    Case(
        "a private key that is none",
        IMAGES,
        ("extra 'private_key' of Connection 'images_rdo' is no private key that can be used",),
        extra={"key_file": None, "private_key": KEY},
    ),
    Case(
        "two private keys",
        IMAGES,
        ("Connection 'images_rdo' has both extras 'private_key' and 'key_file': keep one",),
        extra={"private_key": KEY},
    ),
    Case(
        "a private key that is a list",
        IMAGES,
        ("cannot be used: 'private_key': Input should be a valid string",),
        extra={"private_key": [SECRET]},
    ),
    Case(
        "a private key that is not let in",
        IMAGES,
        ("was refused", "check login and key of Connection 'images_rdo'"),
        extra={"key_file": None, "private_key": other_login_key()},
    ),
    Case(
        "nothing to log in with",
        IMAGES,
        ("Connection 'images_rdo' holds nothing to log in with: set extra 'key_file' or",),
        extra={"key_file": None},
    ),
    Case(
        "no JSON for an image server",
        IMAGES,
        ("Connection 'images_rdo' is no JSON",),
        {"extra": f"{{{SECRET}"},
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_it_is_told_when_it_is_opened(lab: Lab, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    for name, content in lab.connections().items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", content)
    variable = f"AIRFLOW_CONN_{case.connection.upper()}"
    if case.changes is None:
        monkeypatch.delenv(variable)
    else:
        fields = json.loads(lab.connections()[case.connection])
        extra = {
            key: value
            for key, value in {**fields.get("extra", {}), **case.extra}.items()
            if value is not None
        }
        monkeypatch.setenv(variable, json.dumps({**fields, "extra": extra, **case.changes}))
    before = rows(lab)
    with pytest.raises((PermanentError, MissingConnectionError)) as refused:
        enter(lab, case.connection)
    assert isinstance(refused.value, MissingConnectionError) == (case.changes is None)
    assert rows(lab) == before
    said = str(refused.value)
    for part in case.said:
        assert part in said
    assert SECRET not in said
    assert "b3BlbnNlc2FtZQ" not in said


def test_what_is_right_is_let_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the cases above are refused for what is wrong with them, and not for something else."""
    for name, content in lab.connections().items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", content)
    before = rows(lab)
    for connection in (DLRN, HUB, IMAGES):
        enter(lab, connection)
    assert rows(lab) == before


def rows(lab: Lab) -> list[PromotionRow]:
    """Return DLRN's rows of the label for which it is asked whether we may promote."""
    with lab.dlrn_client() as dlrn:
        return dlrn.promotions("current-tripleo")


def enter(lab: Lab, connection: str) -> None:
    """Open the Connection and let the service say whether it lets us in."""
    if connection == DLRN:
        with DlrnHook(DLRN, lab.dlrn.repo_url).get_conn() as dlrn:
            dlrn.check_may_promote("current-tripleo")
    elif connection == HUB:
        with RegistryHook(HUB, "hub").get_conn() as registry:
            registry.ping()
    else:
        with ImageServerHook(IMAGES, "images", str(lab.image_folder)).connect() as server:
            server.link("current-tripleo")
