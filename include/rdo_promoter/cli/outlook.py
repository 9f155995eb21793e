"""Look at a stage as its tasks would, and print what was seen. Loads Airflow, for its Connections alone."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable, Iterator, Sequence

from rdo_promoter.cli.target import Target
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.engine.candidate import newest_build
from rdo_promoter.engine.outlook import Outlook, Stage, look_ahead
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.hooks.ledger import ENVIRONMENT, is_named, ledger, ledger_connection
from rdo_promoter.hooks.outside import bring_connections, load_airflow
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import Build
from rdo_promoter.model.clock import utc
from rdo_promoter.model.ledger import Planned
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.release import Release
from rdo_promoter.release.promotions import services_of
from rdo_promoter.steps import Approve, WaitFor
from rdo_promoter.steps.jobs import JobStep


def open_services(targets: Iterable[Target]) -> list[ConnectionServices]:
    """Return each target's services, after its Connections and the ledger's were found.

    :raises ConfigError: when a Connection does not exist.
    :raises ServiceError: when it may be in the metadata database, which does not answer.
    """
    targets = list(targets)
    load_airflow()
    needed = {conn_id: "the release file" for target in targets for conn_id in target.connections}
    bring_connections({**needed, **dict.fromkeys(ledger_connection(), ENVIRONMENT)})
    return [services_of(target.release).only(*target.uses, zuul=target.asks_zuul) for target in targets]


def open_dlrn(release: Release) -> DlrnClient:
    """Return a release's DLRN, after its Connection and the ledger's were found.

    :raises ConfigError: when a Connection does not exist.
    :raises ServiceError: when it may be in the metadata database, which does not answer.
    """
    load_airflow()
    ledgers = dict.fromkeys(ledger_connection(), ENVIRONMENT)
    bring_connections({release.dlrn.connection: "the release file", **ledgers})
    return services_of(release).only().dlrn


def find_build(target: Target, dlrn: DlrnClient, full_hash: str | None) -> Build:
    """Return the build with a full hash, or without one the newest of the stage's source label.

    :raises NotFoundError: when there is no such build.
    """
    if full_hash is None:
        return newest_build(dlrn, target.stage.source, target.stage.candidate_label).build
    return dlrn.named(full_hash)


def look(target: Target, services: ConnectionServices, build: Build, *, reads_only: bool = False) -> Outlook:
    """Look at everything that decides whether the stage may promote the build now.

    :param reads_only: leave out what cannot be found out by reading: whether our user may promote in DLRN.
    """
    registries, servers = target.uses
    before = target.stage.named_steps[: target.stage.steps.index(target.step)]
    policy = target.stage.policy
    stage = Stage(
        source=target.stage.source,
        criteria={name: step.criteria(policy) for name, step in before if isinstance(step, WaitFor)},
        jobs=target.release.jobs,
        approvals=tuple(f"{target.stage.name}.{name}" for name, step in before if isinstance(step, Approve)),
        started=tuple(
            f"{target.stage.name}.{name}"
            for name, step in before
            if isinstance(step, JobStep) and step.holds_back
        ),
        registries=tuple(registries),
        servers=tuple(servers),
        buildset_of={
            name: pipeline
            for name, step in before
            if isinstance(step, WaitFor) and step.by_buildset and (pipeline := target.pipeline)
        },
    )
    decisions = DecisionsReader(target.release.dag_id, target.release.waivers, book()).read()
    return look_ahead(
        target.promotion(build), stage, services, decisions, reads_only=reads_only, open_zuul=services.zuul
    )


def unfinished(target: Target) -> tuple[Planned, ...]:
    """Return the promotions to the stage's label that the ledger shows as begun and not done.

    :raises ServiceError: when the ledger does not answer.
    """
    return book().unfinished(target.release.dag_id, target.step.label)


def book() -> Ledger:
    """Return the ledger that Airflow's runs write to."""
    return ledger(make=False)


def heading(target: Target) -> str:
    """Return the lines that say by which text of the release file, and by which ledger, all is decided."""
    release = target.release
    place = book().where + ("" if is_named() else f": {ENVIRONMENT} is not set, for Airflow neither?")
    return f"{release.dag_id} by {release.file} (sha256 {release.digest})\nledger {place}"


def lines(target: Target, seen: Outlook) -> Iterator[str]:
    """Yield what a person should see of a stage; the last lines say what follows from it."""
    promotion = seen.promotion
    yield f"stage {target.stage.name}: {promotion.subject}"
    for name, verdict in seen.verdicts.items():
        yield f"  criteria of {name}: {'met' if verdict.met else 'not met'}, {_count(verdict.results)}"
        for result in verdict.results:
            yield f"    {result}"
    yield f"  order: {_place(promotion, seen)}"
    if seen.found is not None:
        yield f"  plan: {seen.plan.summary()}"
        yield from (f"    {change}" for change in seen.plan.changes)
    yield from (f"  note: {note}" for note in (*seen.notes, *seen.plan.notes))
    if seen.done:
        yield f"  -> {promotion.label} names this build everywhere: nothing to do"
    elif seen.ready:
        yield "  -> can be promoted now"
    else:
        yield "  -> refused:"
        yield from (f"     - {refusal}" for refusal in seen.refusals)


def person() -> str:
    """Return what the ledger calls the person who started this process: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # until Python 3.12, and from 3.13 on
        # In a container with a uid of its own nobody has a name.
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def others(begun: Iterable[Planned]) -> list[Planned]:
    """Return the promotions that somebody else has begun, each as it was planned last."""
    return list({(plan.by, plan.build): plan for plan in begun if plan.by != person()}.values())


def in_the_way(target: Target, plans: Sequence[Planned]) -> Iterator[str]:
    """Yield who has begun a promotion to the label, and how to see whether they still work on it."""
    if not plans:
        return
    yield f"refused: somebody else has begun to promote to {target.step.label} and is not done:"
    for plan in plans:
        run = f"run {plan.by}" if plan.via == "airflow" else plan.by
        yield f"  - {plan.build.full_hash}, planned by {run} ({plan.via}) at {utc(plan.at)}: {plan.summary}"
        if plan.via == "airflow":
            yield f"    at work? `airflow tasks states-for-dag-run {plan.dag_id} '{plan.by}'` needs only the"
            yield "    database; without it look for `airflow worker --` in `ps ax` on each worker machine"
        else:
            yield f"    at work? ask {plan.by}, or look for `rdo-promoter promote` in `ps ax` there"
    yield "If nobody works on it any more, `promote --take-over` goes on. Two at once would mix two builds."


def _place(promotion: Promotion, seen: Outlook) -> str:
    label = promotion.label
    if seen.superseded:
        return f"superseded by {seen.superseded}, which holds {label}"
    if seen.found is None:
        return "not looked at, see below"
    if seen.found.was is None:
        return f"nothing holds {label} yet"
    if seen.found.was == promotion.build:
        return f"it holds {label} in DLRN"
    return f"after {seen.found.was.full_hash}, which holds {label}"


def _count(results: Iterable[object]) -> str:
    number = len(list(results))
    return f"{number} job{'' if number == 1 else 's'}"
