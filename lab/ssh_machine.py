"""A machine on which commands run over SSH: Debian's sshd for one user, whose home is a folder of the lab."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.image_server import account, greets, locked_account, make_key
from lab.prerequisites import SSHD
from lab.service import HOST, MARK, Service


@dataclass(frozen=True)
class SshMachineFacts:
    """What a client has to know.

    :param key_file: private key of the only account.
    :param host_key: the machine's public key, one line.
    :param home: where commands begin.
    """

    host: str
    port: int
    username: str
    key_file: Path
    host_key: str
    home: Path

    def connection(self) -> dict[str, object]:
        """Return the Airflow Connection, as `AIRFLOW_CONN_*` takes it in JSON."""
        return {
            "conn_type": "ssh",
            "host": self.host,
            "port": self.port,
            "login": self.username,
            "extra": {"key_file": str(self.key_file), "host_key": self.host_key},
        }


def facts(root: Path) -> SshMachineFacts:
    """Return address and keys; the keys are made at the first call."""
    prepare(root)
    folder = _folder(root)
    return SshMachineFacts(
        host=HOST,
        port=service(root).port,
        username=account(),
        key_file=folder / "id_ed25519",
        host_key=(folder / "ssh_host_ed25519_key.pub").read_text().strip(),
        home=_home(root),
    )


def prepare(root: Path) -> None:
    """Make keys and configuration, once for a lab's life."""
    folder = _folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    _home(root).mkdir(exist_ok=True)
    make_key(folder / "ssh_host_ed25519_key")
    make_key(folder / "id_ed25519")
    shutil.copyfile(folder / "id_ed25519.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(_config(root))


def service(root: Path) -> Service:
    """Return the machine's sshd."""

    def command(port: int) -> list[str]:
        prepare(root)
        if os.geteuid() == 0:
            # sshd refuses to start without it; it lives in /run, so it is gone after a reboot.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        return [SSHD.require(), "-D", "-e", "-p", str(port), "-f", str(_folder(root) / "sshd_config")]

    return Service(name="sshd-machine", run=root / "run", command=command, ready=greets)


def _folder(root: Path) -> Path:
    return root.absolute() / "ssh-machine" / "sshd"


def _home(root: Path) -> Path:
    return root.absolute() / "ssh-machine" / "home"


def _config(root: Path) -> str:
    folder, home = _folder(root), _home(root)
    # The account is whoever runs the lab: its own home is not for tests, and a shell would read files there.
    # What a command leaves running is known by the mark, as everything of a lab.
    return f"""# Written by the lab at each start; the port is an argument.
ListenAddress {HOST}
HostKey "{folder}/ssh_host_ed25519_key"
PidFile "{folder}/sshd.pid"
AuthorizedKeysFile "{folder}/authorized_keys"
AllowUsers {account()}
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM {"yes" if locked_account() else "no"}
StrictModes no
SetEnv HOME="{home}" {MARK}="{root.absolute()}"
ForceCommand cd "$HOME" && exec bash -c "$SSH_ORIGINAL_COMMAND"
DisableForwarding yes
PermitTTY no
PrintMotd no
MaxStartups 100:30:200
LogLevel INFO
"""
