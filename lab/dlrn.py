"""The lab's DLRN: the real API behind gunicorn, and its repository tree over HTTP."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.dlrn_env import ensure_environment, environment_python, locked
from lab.dlrn_orders import PROMOTER, NewBuild, PastPromotion, PastVote
from lab.secret_files import write_secret
from lab.service import HOST, LabError, Service
from rdo_promoter.model.build import DlrnHash

__all__ = [
    "CI",
    "PROMOTER",
    "READER",
    "DlrnFacts",
    "NewBuild",
    "PastPromotion",
    "PastVote",
    "add_build",
    "add_builds",
    "add_history",
    "add_promotions",
    "ensure_environment",
    "facts",
    "fill_disk",
    "lacks_users",
    "purge",
    "run_stage",
    "services",
    "stage",
    "tree_folder",
]

#: Its folder, and what the names of its services begin with; a lab may have another beside it.
NAME = "dlrn"

CI = "ci"
READER = "reader"
USERS = (PROMOTER, CI, READER)

_INI = """[DEFAULT]
datadir={root}/data
scriptsdir={root}/scripts
configdir=
baseurl={baseurl}
distro=rpm-master
source=master
target=centos7
smtpserver=
reponame=delorean
templatedir=
project_name=RDO
maxretries=3
pkginfo_driver={driver}
build_driver=dlrn.drivers.mockdriver.MockBuildDriver
tags=
rsyncdest=
workers=1
database_connection=sqlite:///{root}/commits.sqlite
use_components={components}
"""

# Absolute paths: DLRN reads them wherever gunicorn was started.
_CFG = """DB_PATH = 'sqlite:///{root}/commits.sqlite'
REPO_PATH = '{root}/data/repos'
CONFIG_FILE = '{root}/projects.ini'
"""


@dataclass(frozen=True)
class DlrnFacts:
    """Where the lab's DLRN is and who may use it.

    :param username: may promote.
    :param ci_username: the user of the CI jobs that vote.
    :param reader_username: may log in, and not promote: a stand-in for the roles of newer servers.
    """

    api_url: str
    repo_url: str
    username: str
    password: str = field(repr=False)
    ci_username: str
    ci_password: str = field(repr=False)
    reader_username: str
    reader_password: str = field(repr=False)


def stage(root: Path, name: str = NAME, *, components: bool = False) -> None:
    """Make database, configuration and an empty tree; done twice, it changes nothing.

    :param root: the lab's folder; `ensure_environment` was called with it.
    :param components: in component mode; which there are is told by the file `components`.
    """
    folder = _folder(root, name)
    (folder / "data" / "repos").mkdir(parents=True, exist_ok=True)
    _, tree = services(root, name)
    ini = _INI.format(
        root=folder,
        baseurl=f"http://{HOST}:{tree.port}",
        driver="dlrn_pkginfo.LabInfoDriver" if components else "dlrn.drivers.rdoinfo.RdoInfoDriver",
        components=str(components).lower(),
    )
    _write(folder / "projects.ini", ini)
    _write(folder / "api.cfg", _CFG.format(root=folder))
    run_stage(root, [{"op": "init", "users": _passwords(root)}], name)


def services(root: Path, name: str = NAME) -> tuple[Service, Service]:
    """Return the API and the repository tree, ready to be started."""
    folder = _folder(root, name)
    run = root / "run"
    python = environment_python(root)

    def api(port: int) -> Sequence[str]:
        # Not from the lab's own folder, where another module is called dlrn.
        for module in ("dlrn_app.py", "dlrn_pkginfo.py"):
            shutil.copyfile(Path(__file__).with_name(module), folder / module)
        # One process: DLRN's own locks are what the client has to live with, not gunicorn's.
        return [
            *(str(python), "-m", "gunicorn", "--bind", f"{HOST}:{port}", "--threads", "4"),
            *("--no-control-socket", "--graceful-timeout", "1", "dlrn_app:app"),
        ]

    def tree(port: int) -> Sequence[str]:
        server = (sys.executable, "-m", "http.server", "--bind", HOST, "--protocol", "HTTP/1.1")
        return [*server, "--directory", str(folder / "data" / "repos"), str(port)]

    env = {
        "CONFIG_FILE": str(folder / "api.cfg"),
        "LAB_DLRN_COMPONENTS": str(folder / "components"),
        "LAB_DLRN_READERS": READER,
        "LAB_DLRN_FULL": str(folder / "full"),
        "PYTHONPATH": str(folder),
        "TZ": "UTC",
    }
    return (
        Service(f"{name}-api", run, api, ready=_api_answers, env=env, cwd=folder),
        Service(f"{name}-repo", run, tree),
    )


def facts(root: Path, name: str = NAME) -> DlrnFacts:
    """Return addresses and users of the lab's DLRN.

    :raises LabError: when it is not staged.
    """
    if not (_folder(root, name) / "projects.ini").exists():
        raise LabError(f"{root} has no DLRN in {name} yet: call stage first")
    api, tree = services(root, name)
    passwords = _passwords(root)
    return DlrnFacts(
        api_url=f"http://{HOST}:{api.port}",
        repo_url=f"http://{HOST}:{tree.port}",
        username=PROMOTER,
        password=passwords[PROMOTER],
        ci_username=CI,
        ci_password=passwords[CI],
        reader_username=READER,
        reader_password=passwords[READER],
    )


def add_build(
    root: Path,
    *,
    when: int,
    extended: bool | str = False,
    project: str = "openstack-nova",
    failed: bool = False,
    name: str | None = None,
) -> DlrnHash:
    """Add one build; the parameters are those of `NewBuild`."""
    named = {"name": name} if name else {}
    return add_builds(root, [NewBuild(when, extended, project, failed, **named)])[0]


def add_builds(root: Path, builds: Iterable[NewBuild]) -> list[DlrnHash]:
    """Add builds in the order given, in one go: the last one that is good holds ``current``."""
    made = run_stage(root, [build.step() for build in builds])
    return [DlrnHash(**each["build"]) for each in made]


def add_history(
    root: Path,
    builds: Iterable[NewBuild],
    votes: Iterable[PastVote] = (),
    promotions: Iterable[PastPromotion] = (),
) -> None:
    """Add builds, then votes and promotions of theirs, each oldest first, in one go.

    The API could make neither: promotions get its own time, and a login for each vote takes a while.
    """
    orders: list[NewBuild | PastVote | PastPromotion] = [*builds, *votes, *promotions]
    run_stage(root, [order.step() for order in orders])


def add_promotions(root: Path, promotions: Iterable[PastPromotion]) -> None:
    """Add promotions that the API could not make, oldest first: it always writes its own time."""
    add_history(root, (), (), promotions)


def purge(root: Path, build: DlrnHash, *, flagged: bool = True, name: str = NAME) -> None:
    """Remove a build's directory.

    :param flagged: DLRN knows it (``dlrn-purge``); otherwise only the files are gone.
    """
    run_stage(root, [{"op": "purge", "build": build.to_json(), "flagged": flagged}], name)


def fill_disk(root: Path, full: bool, name: str = NAME) -> None:
    """Let the API find that its disk is full, or has space again, while it runs; see `dlrn_app`."""
    file = _folder(root, name) / "full"
    file.touch() if full else file.unlink(missing_ok=True)


def tree_folder(root: Path, name: str = NAME) -> Path:
    """Return the folder that the repository tree serves."""
    return _folder(root, name) / "data" / "repos"


def _folder(root: Path, name: str = NAME) -> Path:
    return root.resolve() / name


def run_stage(root: Path, steps: list[dict[str, Any]], name: str = NAME) -> Any:
    """Carry out steps in DLRN's environment, one caller at a time as one builder would."""
    folder = _folder(root, name)
    _, tree = services(root, name)
    order = {"root": str(folder), "baseurl": f"http://{HOST}:{tree.port}", "steps": steps}
    with locked(folder / "stage.lock"):
        done = subprocess.run(
            # Isolated: beside the script stands a module that is called dlrn as well.
            [str(environment_python(root)), "-I", str(Path(__file__).with_name("dlrn_stage.py"))],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise LabError(f"DLRN's stage failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _secrets(root: Path) -> Path:
    return _folder(root) / "secrets.json"


def lacks_users(root: Path) -> bool:
    """Tell whether the lab was staged when there were fewer users."""
    return not set(USERS) <= set(_known_passwords(root))


def _passwords(root: Path) -> dict[str, str]:
    """Return the users' passwords; made at the first question, for this lab alone."""
    known = _known_passwords(root)
    if missing := {user: secrets.token_urlsafe(18) for user in USERS if user not in known}:
        known |= missing
        write_secret(_secrets(root), json.dumps(known))
    return known


def _known_passwords(root: Path) -> dict[str, str]:
    file = _secrets(root)
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    return known


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.rename(file)


def _api_answers(port: int) -> bool:
    """Tell whether the API answers; gunicorn accepts before the application is there, so it may hang."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/api/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
