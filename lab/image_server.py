"""The lab's image servers: real OpenSSH servers for one user, and the uploads of the image build job.

Each has a folder, a host key and an account key of its own, so what is right for one is wrong for the other.
"""

from __future__ import annotations

import hashlib
import io
import os
import pwd
import random
import shutil
import socket
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.prerequisites import SSHD
from lab.secret_files import write_secret
from lab.service import HOST, Service

#: The server that CI's image job uploads to.
IMAGES = "images"

#: The mirror: nothing lands there unless a promotion copies it.
MIRROR = "rh1"

SERVERS = (IMAGES, MIRROR)


@dataclass(frozen=True)
class ImageServerFacts:
    """What a client has to know.

    :param key_file: private key of the lab's only account.
    :param host_key: the server's public key, one line.
    :param images: folder of all releases' images on the server.
    """

    host: str
    port: int
    username: str
    key_file: Path
    host_key: str
    images: Path

    @property
    def private_key(self) -> str:
        """The text of the private key."""
        return self.key_file.read_text()

    def path(self, release: str) -> str:
        """Return the folder of a release's builds and links, as `image_servers: path` names it."""
        return str(self.images / release / "rdo_trunk")

    def connection(self) -> dict[str, object]:
        """Return the Airflow Connection, as `AIRFLOW_CONN_*` takes it in JSON."""
        return {
            "conn_type": "sftp",
            "host": self.host,
            "port": self.port,
            "login": self.username,
            "extra": {"key_file": str(self.key_file), "host_key": self.host_key},
        }


def facts(root: Path, server: str = IMAGES) -> ImageServerFacts:
    """Return the addresses and keys of a prepared server.

    :param server: one of `SERVERS`.
    """
    folder = _folder(root, server)
    return ImageServerFacts(
        host=HOST,
        port=service(root, server).port,
        username=account(),
        key_file=folder / "id_ed25519",
        host_key=(folder / "ssh_host_ed25519_key.pub").read_text().strip(),
        images=_images(root, server),
    )


def prepare(root: Path, server: str = IMAGES) -> None:
    """Make a server's keys and configuration, once for a lab's life.

    :param server: one of `SERVERS`.
    :raises LabError: when openssh-server is not installed.
    """
    SSHD.require()
    folder = _folder(root, server)
    folder.mkdir(parents=True, exist_ok=True)
    _images(root, server).mkdir(parents=True, exist_ok=True)
    make_key(folder / "ssh_host_ed25519_key")
    make_key(folder / "id_ed25519")
    shutil.copyfile(folder / "id_ed25519.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(_config(folder))


def service(root: Path, server: str = IMAGES) -> Service:
    """Return a server's process.

    :param server: one of `SERVERS`.
    """

    def command(port: int) -> list[str]:
        prepare(root, server)
        if os.geteuid() == 0:
            # sshd refuses to start without it; it lives in /run, so it is gone after a reboot.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # sshd has to be called by its absolute path. A session that may write no byte more gets an error
        # then, as from a disk without space, and not the signal that would end it; see `breaking`.
        program = ["env", "--ignore-signal=XFSZ", SSHD.require()]
        return [*program, "-D", "-e", "-p", str(port), "-f", str(_folder(root, server) / "sshd_config")]

    name = "sshd" if server == IMAGES else f"sshd-{server}"
    return Service(name=name, run=root / "run", command=command, ready=greets)


def put_images(root: Path, release: str, full_hash: str, files: Mapping[str, int | bytes]) -> Path:
    """Put image files and their md5 where the image build job uploads them; return their folder.

    The job writes each file and then its md5, so that a file without md5 is an upload that has not ended.

    :param files: name -> the content, or the bytes that a disk image in a tar shall have; the same build
        and name always give the same content.
    """
    folder = Path(facts(root).path(release)) / full_hash
    folder.mkdir(parents=True, exist_ok=True)
    for name, wanted in files.items():
        content = wanted if isinstance(wanted, bytes) else _tar(full_hash, name, wanted)
        (folder / name).write_bytes(content)
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        (folder / f"{name}.md5").write_text(f"{digest}  {name}\n")
    return folder


def _folder(root: Path, server: str) -> Path:
    return root.absolute() / server / "sshd"


def _images(root: Path, server: str) -> Path:
    return root.absolute() / server / "www"


def account() -> str:
    """Return the only account that may log in: whoever runs the lab."""
    return pwd.getpwuid(os.geteuid()).pw_name


def make_key(file: Path) -> None:
    """Make a private key and, beside it, its public half, unless they are there."""
    public = file.with_name(f"{file.name}.pub")
    if public.exists():
        return
    key = Ed25519PrivateKey.generate()
    write_secret(file, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    # Written last and at once: a key that has its public half is complete.
    temporary = public.with_suffix(".tmp")
    temporary.write_text(f"{line}\n")
    temporary.replace(public)


def _config(folder: Path) -> str:
    return f"""# Written by the lab at each start; the port is an argument.
ListenAddress {HOST}
# Quoted for folders with spaces in their names.
HostKey "{folder}/ssh_host_ed25519_key"
PidFile "{folder}/sshd.pid"
AuthorizedKeysFile "{folder}/authorized_keys"
AllowUsers {account()}
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM {"yes" if locked_account() else "no"}
# The lab may lie below a folder that others can write to.
StrictModes no
Subsystem sftp internal-sftp
ForceCommand internal-sftp
DisableForwarding yes
PermitTTY no
PrintMotd no
# Tests open many sessions at once; the default drops some from the tenth on.
MaxStartups 100:30:200
LogLevel INFO
"""


def locked_account() -> bool:
    """Tell whether sshd would refuse the account for its locked password, unless PAM decides.

    Debian's installer locks root where it sets up sudo. Without root, sshd can neither see that nor use PAM.
    """
    if os.geteuid() != 0:
        return False
    prefix = f"{account()}:!"
    return any(line.startswith(prefix) for line in Path("/etc/shadow").read_text().splitlines())


def greets(port: int) -> bool:
    """Tell whether an SSH server answers."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as probe:
            return probe.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def _tar(full_hash: str, name: str, size: int) -> bytes:
    content = random.Random(f"{full_hash}/{name}").randbytes(size)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(f"{name.removesuffix('.tar')}.qcow2")
        member.size = size
        tar.addfile(member, io.BytesIO(content))
    return out.getvalue()
