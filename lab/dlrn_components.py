"""The lab's second DLRN, in component mode. `up` does not start it: whoever needs it does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lab import dlrn
from lab.dlrn import DlrnFacts
from lab.dlrn_env import ensure_environment, locked
from lab.dlrn_orders import NewBuild, PastAggregate
from lab.service import Service
from rdo_promoter.model.build import AggregateHash, DlrnHash

NAME = "dlrn-components"

#: Those of RDO's train; a component without a build counts for nothing.
COMPONENTS = (
    *("baremetal", "cinder", "clients", "cloudops", "common", "compute", "glance", "manila"),
    *("network", "octavia", "security", "swift", "tempest", "tripleo", "ui", "validation"),
)


def start(root: Path) -> DlrnFacts:
    """Start it unless it runs; other labs' parts are not needed.

    :param root: the lab's folder.
    """
    with locked(root / NAME / "start.lock"):
        ensure_environment(root)
        if not all(service.process() for service in services(root)):
            if not _list(root).exists():
                _list(root).write_text("\n".join(COMPONENTS))
            dlrn.stage(root, NAME, components=True)
            for service in services(root):
                service.ensure()
    return facts(root)


def services(root: Path) -> tuple[Service, Service]:
    """Return the API and the repository tree."""
    return dlrn.services(root, NAME)


def facts(root: Path) -> DlrnFacts:
    """Return its addresses and users, who are those of the other DLRN.

    :raises LabError: when it was never started.
    """
    return dlrn.facts(root, NAME)


def tree_folder(root: Path) -> Path:
    """Return the folder that the repository tree serves."""
    return dlrn.tree_folder(root, NAME)


def add_builds(root: Path, builds: Iterable[NewBuild]) -> list[DlrnHash]:
    """Let the builder make builds of components, in the order given."""
    return [build for build, _ in add_aggregates(root, builds)]


def add_aggregates(root: Path, builds: Iterable[NewBuild]) -> list[tuple[DlrnHash, AggregateHash | None]]:
    """Do what `add_builds` does; return with each build the aggregate that `consistent` then names.

    None stands for a build at which `consistent` stayed where it was.
    """
    made = dlrn.run_stage(root, [build.step() for build in builds], NAME)
    return [
        (DlrnHash(**each["build"]), AggregateHash(each["aggregate"]) if each["aggregate"] else None)
        for each in made
    ]


def add_promotions(root: Path, promotions: Iterable[PastAggregate]) -> list[AggregateHash]:
    """Add promotions that the API could not make, oldest first: it always writes its own time."""
    made = dlrn.run_stage(root, [promotion.step() for promotion in promotions], NAME)
    return [AggregateHash(aggregate) for aggregate in made]


def listed(root: Path) -> list[str]:
    """Return the components that DLRN puts together, when they have a build."""
    return _list(root).read_text().split()


def give_up(root: Path, component: str) -> None:
    """Take a component off the list, as RDO does when nobody maintains it: DLRN leaves it out from now on."""
    left = [other for other in listed(root) if other != component]
    fresh = _list(root).with_name("components_")
    fresh.write_text("\n".join(left))
    fresh.rename(_list(root))


def fill_disk(root: Path, full: bool) -> None:
    """Let the API find that its disk is full, or has space again, while it runs; see `dlrn_app`."""
    dlrn.fill_disk(root, full, NAME)


def purge(root: Path, build: DlrnHash, *, flagged: bool = True) -> None:
    """Remove a build's directory.

    :param flagged: DLRN knows it (``dlrn-purge``); otherwise only the files are gone.
    """
    dlrn.purge(root, build, flagged=flagged, name=NAME)


def _list(root: Path) -> Path:
    return root / NAME / "components"
