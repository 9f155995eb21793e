"""A container engine that runs containers: Debian's podman, with the API of Docker's engine on a socket.

It works inside a small virtual machine: files are copied instead of overlaid, containers share the network of
this machine, nothing is limited. Root is needed.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import resource
import socket
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from lab import images
from lab.prerequisites import BUSYBOX, CRUN, PODMAN
from lab.service import LabError, Service
from rdo_promoter.clients.registry import digest_of
from rdo_promoter.clients.registry.manifest import DOCKER_MANIFEST

#: Characters that a socket's path may have. Source: unix(7).
_LONGEST_SOCKET = 107

#: In a mount namespace of its own: crun refuses a machine with both kinds of cgroups, and the engine uses
#: neither. The machine itself keeps what it has mounted.
_START = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'


def socket_of(root: Path) -> Path:
    """Return the engine's socket."""
    return _folder(root) / "engine.sock"


def connection(root: Path) -> dict[str, object]:
    """Return the Airflow Connection, as `AIRFLOW_CONN_*` takes it in JSON."""
    return {"conn_type": "docker", "host": f"unix://{socket_of(root)}"}


def service(root: Path, *, insecure: Sequence[str] = ()) -> Service:
    """Return the engine's process.

    :param insecure: registries that speak plain HTTP, each ``host:port``.
    """

    def command(_: int) -> list[str]:
        if os.geteuid() != 0:
            raise LabError("the lab's container engine needs root")
        if len(str(path := socket_of(root))) > _LONGEST_SOCKET:
            raise LabError(f"{path} is too long for a socket: put the lab into a folder with a shorter path")
        _prepare(root, insecure)
        words = [PODMAN.require(), "system", "service", "--time", "0", f"unix://{socket_of(root)}"]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _START, "sh", *words]

    return Service(
        name="podman",
        run=root / "run",
        command=command,
        ready=lambda _: _answers(socket_of(root)),
        env=_environment(root),
    )


def remove_all(root: Path) -> None:
    """End and remove every container; they are no children of the engine and would outlive it."""
    if not (_folder(root) / "graph").exists():
        return
    subprocess.run(
        [PODMAN.require(), "rm", "--all", "--force", "--time", "0"],
        env={**os.environ, **_environment(root)},
        capture_output=True,
        check=False,
    )


def job_image() -> images.Image:
    """Build an image in which shell scripts run: busybox, and nothing else."""
    busybox = Path(BUSYBOX.require()).read_bytes()
    if b"/ld-linux" in busybox:
        raise LabError(f"the machine's {BUSYBOX.name} needs libraries: install {BUSYBOX.package} instead")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        program = tarfile.TarInfo("bin/busybox")
        program.size, program.mode = len(busybox), 0o755
        tar.addfile(program, io.BytesIO(busybox))
        for name in ("sh", "echo", "sleep", "env", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    layer = gzip.compress(archive.getvalue(), compresslevel=1, mtime=0)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(archive.getvalue())]},
    }
    return images.image_of(DOCKER_MANIFEST, json.dumps(config, sort_keys=True).encode(), [layer])


def _folder(root: Path) -> Path:
    return root.absolute() / "podman"


def _environment(root: Path) -> dict[str, str]:
    folder = _folder(root)
    return {
        "HOME": str(folder),  # its policy is looked for there
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "TMPDIR": str(folder),
    }


def _prepare(root: Path, insecure: Sequence[str]) -> None:
    CRUN.require()
    folder = _folder(root)
    (folder / ".config" / "containers").mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        socket_of(root).unlink()
    (folder / ".config" / "containers" / "policy.json").write_text(
        '{"default": [{"type": "insecureAcceptAnything"}]}'
    )
    (folder / "containers.conf").write_text(
        f"""[containers]
cgroups = "disabled"
cgroupns = "host"
netns = "host"
default_sysctls = []
log_driver = "k8s-file"
pids_limit = 0
# Its own are more than a sandbox allows.
default_ulimits = ["nofile={_limit(resource.RLIMIT_NOFILE)}", "nproc={_limit(resource.RLIMIT_NPROC)}"]
[engine]
runtime = "crun"
# Otherwise all engines of a machine share them, and wait for each other's containers.
lock_type = "file"
tmp_dir = "{folder}/tmp"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
    )
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
    )
    (folder / "registries.conf").write_text(
        "".join(f'[[registry]]\nlocation = "{name}"\ninsecure = true\n' for name in insecure)
    )


def _limit(what: int) -> str:
    """Return a limit that may be set by whoever has no right to raise one."""
    _, hard = resource.getrlimit(what)
    number = 4096 if hard == resource.RLIM_INFINITY else min(4096, max(1, hard // 2))
    return f"{number}:{number}"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        return probe.connect_ex(str(path)) == 0
