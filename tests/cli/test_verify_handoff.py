"""A hand-off is verified from one file and a public key, and by other tools than this one."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from rdo_promoter.cli import main
from rdo_promoter.clients.handoff_key import HandoffKey, read_key
from rdo_promoter.errors import ConfigError
from rdo_promoter.model.canonical import canonical
from tests.unit.test_cli import run
from tests.unit.test_handoff import ONE

PRIVATE = Ed25519PrivateKey.generate()
KEY = HandoffKey("rdo-2026", PRIVATE)
PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
FORMS = (PrivateFormat.PKCS8, PrivateFormat.OpenSSH)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "handoff-current-tripleo.json"
    file.write_bytes(KEY.sign(ONE.to_json()).to_bytes())
    return file


@pytest.fixture
def key(tmp_path: Path) -> Path:
    key = tmp_path / "handoff.pub"
    key.write_text(f"{KEY.public.line} somebody@somewhere\n")
    return key


def private(form: PrivateFormat) -> str:
    return PRIVATE.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def test_a_good_one_says_what_it_says(
    file: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify-handoff", str(file), "--key", str(key)]) == 0
    said = capsys.readouterr().out
    shown = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"good: signed with {shown.split()[1]}\nhand-off {ONE.key}\n")
    assert said.splitlines()[2:] == ONE.lines()
    (tmp_path / "key.pem").write_bytes(PEM)
    assert main(["verify-handoff", str(file), "--key", str(tmp_path / "key.pem")]) == 0


def test_airflow_is_never_loaded(file: Path, key: Path) -> None:
    code = (
        "import sys; from rdo_promoter.cli import main; code = main(sys.argv[1:]); "
        "assert 'airflow' not in sys.modules; sys.exit(code)"
    )
    done = run("verify-handoff", str(file), "--key", str(key), code=code)
    assert done.returncode == 0, done.stderr


def test_openssl_verifies_it_as_well(file: Path, tmp_path: Path) -> None:
    envelope = json.loads(file.read_bytes())
    record, signature, key = (tmp_path / name for name in ("record", "signature", "key.pem"))
    # What a reader without this package has to write: sorted keys, no spaces, UTF-8.
    text = json.dumps(envelope["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    record.write_bytes(text.encode())
    signature.write_bytes(base64.b64decode(envelope["signature"]))
    key.write_bytes(PEM)
    words = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key), "-in", str(record)]
    done = subprocess.run([*words, "-sigfile", str(signature)], capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout, done.stderr


def test_what_changed_since_is_refused(file: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    envelope = json.loads(file.read_bytes())
    envelope["record"]["votes"][0]["success"] = True
    file.write_bytes(canonical(envelope))
    assert main(["verify-handoff", str(file), "--key", str(key)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{file}: it was not signed with the key {KEY.public.fingerprint}, or changed since" in said.err
    assert said.err.count("\n") == 1


def test_another_key_is_refused(file: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = HandoffKey("other", Ed25519PrivateKey.generate())
    key.write_text(other.public.line)
    assert main(["verify-handoff", str(file), "--key", str(key)]) == 1
    said = capsys.readouterr().err
    assert f"not signed with the key {other.public.fingerprint}" in said
    assert "it says that it was signed with 'rdo-2026': use that one's public key" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no JSON", "it is no JSON"),
        ('{"record": {}, "key_id": "x", "signature": "\u00e9"}'.encode(), "its signature is no base64"),
        (b'{"a": 1}', "the envelope lacks"),
        (KEY.sign({"format": "rdo-handoff/2"}).to_bytes(), "this version knows 'rdo-handoff/1'"),
    ],
)
def test_what_is_no_hand_off_is_refused(
    file: Path, key: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    file.write_bytes(content)
    assert main(["verify-handoff", str(file), "--key", str(key)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"{file}: ")
    assert said in err


def test_a_usage_that_is_none(
    file: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "handoff"
    secret.write_text(private(PrivateFormat.OpenSSH))
    for words, said in (
        ([str(file)], "the following arguments are required: --key"),
        ([str(tmp_path / "nowhere"), "--key", str(key)], "nowhere' cannot be read: No such file"),
        ([str(file), "--key", str(file)], f"'{file}' is no public Ed25519 key: a line `ssh-ed25519"),
        ([str(file), "--key", str(secret)], f"'{secret}' is no public Ed25519 key"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["verify-handoff", *words])
        assert left.value.code == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lost", ["\n", " ", "", "\\n"])
def test_a_key_is_read_though_a_form_lost_its_lines(form: PrivateFormat, lost: str) -> None:
    read = read_key("rdo-2026", private(form).replace("\n", lost), "password of Connection 'k'")
    assert read.public.line == KEY.public.line
    assert "PRIVATE" not in repr(read)


def _wrong_keys() -> dict[str, tuple[str, str]]:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    hidden = BestAvailableEncryption(b"x")
    broken = private(PrivateFormat.PKCS8).replace("MC4", "MC5")
    return {
        "text": ("s3cret", "is no private key in PEM or OpenSSH's form: copy the whole file"),
        "broken": (broken, "is no private key in PEM or OpenSSH's form"),
        "passphrase": (
            PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden).decode(),
            "passphrase",
        ),
        "ec": (
            elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "is no Ed25519 key: make one with",
        ),
    }


@pytest.mark.parametrize("wrong", ["text", "broken", "passphrase", "ec"])
def test_what_is_no_key_is_refused_and_not_repeated(wrong: str) -> None:
    text, said = _wrong_keys()[wrong]
    with pytest.raises(ConfigError, match=said) as refused:
        read_key("rdo-2026", text, "password of Connection 'k'")
    assert str(refused.value).startswith("password of Connection 'k' ")
    assert text.splitlines()[-2 if "\n" in text else 0] not in str(refused.value)
