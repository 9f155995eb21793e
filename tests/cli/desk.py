"""The command line as somebody on duty starts it: in a process of its own, while no part of Airflow runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rdo_promoter
from lab.lab import Lab
from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.hooks.ledger import ENVIRONMENT as LEDGER
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.release import ENVIRONMENT as RELEASES
from tests.engine.rdo import CONTAINERS, IMAGES, MIRROR, PUSH_TO, Rdo

INCLUDE = Path(rdo_promoter.__file__).parents[1]

RELEASE = """
release: {name}
distro: {{name: centos, version: 7}}
dlrn: {{connection: dlrn_centos7_master, repo_url: {repo_url}}}
registries:
  rdo: {{connection: registry_rdo, namespace: {name}rdo}}
{registries}
image_servers:
  images: {{connection: images_rdo, path: {image_root}}}
  rh1: {{connection: images_rh1, path: {mirror_root}, layout: by_label, names: {names}}}
containers: {{source: rdo, list: containers/list.yaml}}
images: [{images}]
stages:
  - name: upstream
    source: consistent
    steps:
      - candidate: {{label: {name}-ci-testing}}
      - wait_for: {{name: builds, jobs: [build-containers], within: 4h}}
      - wait_for: {{name: tests, jobs: [standalone, scenario001], within: 12h,
                   alternatives: {{scenario001: [scenario001-internal]}}}}
      - promote: {{label: {name}-current, tag_in: [rdo], push_to: [{push_to}], link_on: [images],
                 mirror_to: [rh1]}}
"""

JOBS = ("build-containers", "standalone", "scenario001")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so; for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Nursery:
    """Starts commands in processes that have Airflow loaded already, see `tests.cli.zygote`."""

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}
        self._started = 0
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.zygote"],
            cwd=INCLUDE.parent,
            env=os.environ | {"PYTHONPATH": f"{INCLUDE}{os.pathsep}{INCLUDE.parent}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        patch: Mapping[str, object],
        *,
        reader: bool = True,
    ) -> Command:
        """Start a command; its output goes to files in the folder."""
        self._started += 1
        out, err = (folder / f"{kind}{self._started}" for kind in ("out", "err"))
        job = {"words": words, "env": env, "out": str(out), "err": str(err), "patch": patch, "reader": reader}
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(job) + "\n")
        self._zygote.stdin.flush()
        while "code" in (answer := self._read()):
            self._codes[answer["pid"]] = answer["code"]
        return Command(answer["pid"], (out, err), self)

    def wait(self, pid: int) -> int:
        """Return the exit code of a command, when it has ended."""
        while pid not in self._codes:
            answer = self._read()
            self._codes[answer["pid"]] = answer["code"]
        return self._codes[pid]

    def close(self) -> None:
        """End the zygote; commands end with their tests."""
        self._zygote.communicate(timeout=30)

    def _read(self) -> dict[str, int]:
        assert self._zygote.stdout is not None
        line = self._zygote.stdout.readline()
        assert line, f"the zygote has ended with {self._zygote.wait()}"
        answer: dict[str, int] = json.loads(line)
        return answer


@dataclass(frozen=True)
class Command:
    """A command that was started.

    :param pid: its process.
    :param files: where standard output and standard error go.
    :param nursery: knows when it ends.
    """

    pid: int
    files: tuple[Path, Path]
    nursery: Nursery

    @property
    def said(self) -> str:
        return "".join(file.read_text() for file in self.files if file.exists())

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end and return its exit code; pytest's time limit is the deadline."""
        return self.nursery.wait(self.pid)

    def until(self, said: str) -> None:
        """Wait until it says something."""
        wait_for(lambda: said in self.said)


@dataclass
class Desk:
    """Where somebody works while Airflow is down.

    :param rdo: a corner of the lab; its labels and namespaces are the release's.
    :param folder: of the release files and of the ledger.
    :param nursery: starts commands.
    :param env: what is in the environment beside what a shell has; Connections among it.
    """

    rdo: Rdo
    folder: Path
    nursery: Nursery
    env: dict[str, str] = field(default_factory=dict, repr=False)
    connections: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        (self.folder / "releases" / "containers").mkdir(parents=True)
        self.file.write_text(
            RELEASE.format(
                name=self.name,
                repo_url=self.lab.dlrn.repo_url,
                image_root=self.rdo.image_root,
                mirror_root=self.rdo.mirror_root,
                names=json.dumps(dict(MIRROR.names)),
                images=", ".join(IMAGES),
                push_to=", ".join(PUSH_TO),
                registries="\n".join(
                    f"  {name}: {{connection: registry_{name}, namespace: {self.rdo.namespace(name)}}}"
                    for name in PUSH_TO
                ),
            )
        )
        listed = {"container_images": [{"imagename": f"docker.io/{self.name}/{c}"} for c in CONTAINERS]}
        (self.folder / "releases" / "containers" / "list.yaml").write_text(json.dumps(listed))
        (self.folder / "ledger").mkdir()
        (self.folder / "home").mkdir()
        self.connections = self.lab.connections()
        self.env |= {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "home"),
            "PYTHONPATH": str(INCLUDE),
            "COLUMNS": "200",
            "NO_PROXY": "*",
            "AIRFLOW_HOME": str(self.folder / "home"),
            RELEASES: str(self.folder / "releases"),
            LEDGER: str(self.folder / "ledger"),
            **{f"AIRFLOW_CONN_{key.upper()}": value for key, value in self.connections.items()},
        }

    @property
    def lab(self) -> Lab:
        return self.rdo.lab

    @property
    def name(self) -> str:
        return self.rdo.namespace_

    @property
    def dag_id(self) -> str:
        return f"centos7-{self.name}"

    @property
    def file(self) -> Path:
        return self.folder / "releases" / f"{self.name}.yaml"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger")

    @property
    def secrets(self) -> list[str]:
        """Every secret that the command works with."""
        contents = [json.loads(text) for text in self.connections.values()]
        found = [content.get("password") for content in contents]
        found += [(content.get("extra") or {}).get("private_key") for content in contents]
        return [secret for secret in found if secret]

    def connection(self, conn_id: str, **changes: Any) -> None:
        """Change an Airflow Connection of the environment."""
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        self.env[variable] = json.dumps(json.loads(self.env[variable]) | changes)

    def start(self, *words: str, reader: bool = True, **patch: Any) -> Command:
        """Start the command in a process that has Airflow loaded already.

        :param reader: False when nobody reads its standard output.
        :param patch: constants of `rdo_promoter.cli.by_hand` and `rdo_promoter.hooks.outside` to replace.
        """
        modules = {"PAUSES": "rdo_promoter.cli.by_hand", "DEADLINE": "rdo_promoter.hooks.outside"}
        constants = {f"{modules[name]}.{name}": value for name, value in patch.items()}
        return self.nursery.start(words, self.env, self.folder, constants, reader=reader)

    def run(self, *words: str, code: int, **patch: Any) -> str:
        """Run the command to its end and return what it said; no secret may be in that."""
        return self.ended(self.start(*words, **patch), code=code)

    def ended(self, command: Command, *, code: int) -> str:
        """Wait for a command's end and return what it said."""
        found = command.wait()
        said = command.said
        assert found == code, said
        self.check(said)
        return said

    def check(self, said: str) -> None:
        """Make sure that no secret was said."""
        assert not [secret for secret in self.secrets if secret in said]

    def python(self, *words: str) -> subprocess.Popen[str]:
        """Start Python as a shell would."""
        return subprocess.Popen(
            [sys.executable, *words],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def promote(self, build: DlrnHash, *words: str, code: int) -> str:
        """Run ``promote`` for a build, a dry run unless the words say otherwise."""
        return self.run(*self.words(build), *words, code=code)

    def words(self, build: DlrnHash) -> tuple[str, ...]:
        """The words of ``promote`` for a build."""
        return ("promote", self.name, "--hash", build.full_hash, "--stage", "upstream")

    def vote(self, build: DlrnHash, jobs: Sequence[str] = JOBS, *, success: bool = True) -> None:
        """Let CI vote."""
        with self.lab.dlrn_client(ci=True) as ci:
            for job in jobs:
                ci.report_vote(build, job, success, f"https://ci/{job}")

    def tested(self, count: int = 1) -> list[DlrnHash]:
        """Make builds that CI built and tested, oldest first."""
        builds = self.rdo.candidates(count)
        for build in builds:
            self.rdo.ci_builds(build)
            self.vote(build)
        return builds
