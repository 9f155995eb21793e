"""Fault 8 of the script before this package: any host key was accepted, passwords were arguments."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from lab import image_server
from lab.service import HOST, wait_for
from rdo_promoter.cli import parser
from rdo_promoter.engine import promote
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.errors import AuthError, UnfinishedError
from tests.bad_input.spoil import other_host_key
from tests.bad_input.world import Spoilt, everything
from tests.clients.sshd_fixtures import running_sshd
from tests.regression.start import BUT_DLRN, begun
from tests.regression.watch import command_lines, this_process

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("host_key", [None, other_host_key()], ids=["unknown", "changed"])
def test_08_a_host_that_is_not_the_one_that_is_known_gets_nothing(
    rdo: Spoilt, tmp_path: Path, host_key: str | None
) -> None:
    """SSH accepted any host key: whoever answered got the login, and was given the links to move."""
    wanted, _ = begun(rdo, BUT_DLRN - 2)
    before = everything(rdo)
    with running_sshd(tmp_path) as stranger:
        facts = image_server.facts(tmp_path)
        ssh = {"port": facts.port, "key_file": facts.key_file, "host_key": host_key}
        with pytest.raises(UnfinishedError, match="Nothing was sent") as raised:
            promote.link_on(wanted, dataclasses.replace(rdo, ssh=ssh), "images", None)
        assert isinstance(raised.value.__cause__, AuthError)
        wait_for(lambda: "preauth" in stranger.log.read_text(), "the stranger has seen us go")
        assert "Accepted" not in stranger.log.read_text()
    assert everything(rdo) == before


def test_08_no_program_is_started_and_no_password_is_on_a_command_line(rdo: Spoilt) -> None:
    """Passwords were arguments of programs: everybody on the machine could read them."""
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    wanted = rdo.promotion(build)
    secrets = {
        "DLRN's password": rdo.lab.dlrn.password,
        "the login key": rdo.lab.images.private_key.split("\n")[1],
    }
    secrets |= {f"{each.name}'s": each.password for each in rdo.lab.registries if each.password}
    assert len(secrets) >= 4
    with command_lines() as lines, this_process() as did:
        carry_out(wanted, rdo, promote.preflight(wanted, rdo).was, say=lambda _: None)
    assert any("pytest" in line for line in lines), "this process has one, too"
    assert not [whose for whose, secret in secrets.items() if any(secret in line for line in lines)]
    assert did.programs == []
    assert did.addresses, "it was looked on"
    # No local daemon either, through which images would travel (9).
    assert {address[0] for address in did.addresses if isinstance(address, tuple)} == {HOST}
    assert not [address for address in did.addresses if isinstance(address, str)]


def test_08_the_command_line_takes_no_password() -> None:
    """Passwords were arguments of programs: everybody on the machine could read them."""
    words = ("password", "passwd", "secret", "token", "key", "login", "user")
    top = parser()
    (verbs,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    assert {"validate", "plan", "promote"} <= set(verbs.choices)
    for verb in (top, *verbs.choices.values()):
        # A public key is no secret, and it is the name of its file that is passed.
        actions = [action for action in verb._actions if action.metavar != "PUBLIC_KEY_FILE"]
        options = [option for action in actions for option in action.option_strings]
        assert not [option for option in options if any(word in option for word in words)]
