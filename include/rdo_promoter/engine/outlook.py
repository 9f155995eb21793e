"""Could a build be promoted now, and if not, why? Everything that a stage's tasks would ask, in one go.

Changes nothing. The tasks ask the same one after the other: `StartStageOperator` for access and the source
label, the gates for the criteria, `HoldOperator` for what people keep back, `PlanOperator` for the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from rdo_promoter.clients.zuul import ZuulClient
from rdo_promoter.engine import promote
from rdo_promoter.engine.access import check_access
from rdo_promoter.engine.evidence import evidence_of
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import ConfigError, SupersededError, TransientError
from rdo_promoter.model.build import CONSISTENT
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.model.clock import is_over, utc
from rdo_promoter.model.decisions import Decisions, describe
from rdo_promoter.model.evidence import Evidence, judge_evidence
from rdo_promoter.model.plan import Plan
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.model.refusals import refusals, unanswered
from rdo_promoter.model.verdict import Criteria, Verdict


@dataclass(frozen=True)
class Stage:
    """A stage, as far as it decides about a promotion.

    :param source: the label that the stage starts from.
    :param criteria: what has to pass, by the step that waits for it.
    :param jobs: the jobs that any stage of the release requires, to tell waivers of unknown ones.
    :param approvals: the tasks that ask for an approval before it.
    :param started: the tasks before it that start a job, and hold back what follows when it does not pass.
    :param registries: registries that the promotion works on.
    :param servers: image servers that it works on.
    :param buildset_of: the pipeline whose buildset decides in place of votes, by the step that waits.
    """

    source: str
    criteria: Mapping[str, Criteria]
    jobs: frozenset[str] = frozenset()
    approvals: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    buildset_of: Mapping[str, Pipeline] = field(default_factory=dict)


@dataclass(frozen=True)
class Outlook:
    """How a promotion stands.

    :param promotion: what is wanted.
    :param verdicts: the criteria's verdict on fresh votes, by the step that waits for them.
    :param refusals: why it may not begin; one line each.
    :param notes: what a person should know, though it forbids nothing.
    :param found: plan and holder of the label, None when they were not looked at.
    :param superseded: which build left this one nothing to win, None when none did.
    """

    promotion: Promotion
    verdicts: Mapping[str, Verdict]
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    found: promote.Preflight | None = None
    superseded: str | None = None

    @property
    def plan(self) -> Plan:
        """The changes that are left, as far as they are known."""
        return self.found.plan if self.found else Plan()

    @property
    def done(self) -> bool:
        """Whether the label names the build everywhere already."""
        if self.found is None or self.found.was != self.promotion.build:
            return False
        return not self.plan.changes and not self.plan.problems

    @property
    def ready(self) -> bool:
        """Whether the promotion may begin."""
        return not self.refusals


def look_ahead(
    promotion: Promotion,
    stage: Stage,
    services: Services,
    decisions: Decisions,
    *,
    reads_only: bool = False,
    open_zuul: Callable[[], ZuulClient] | None = None,
) -> Outlook:
    """Look at everything that decides whether a promotion may begin, and at what it would change.

    :param decisions: what people decided about the release.
    :param reads_only: do not ask DLRN whether we may promote: a POST, though one that changes nothing.
    :param open_zuul: makes a client of the release's Zuul; needed where a buildset decides.
    :raises ServiceError: when DLRN, or a Zuul that decides, does not answer.
    """
    verdicts, unmet = _judge(promotion, stage, services, decisions, open_zuul)
    refused = [
        *unmet,
        *_not_soaked(promotion, stage, services),
        *_not_from(promotion, stage, services),
        *_kept_back(promotion, stage, services, decisions),
    ]
    labels = [] if reads_only else [promotion.label]
    access = check_access(services, stage.registries, stage.servers, labels)
    ignored = decisions.ignored(promotion.build.full_hash, stage.jobs, now=services.dlrn.now())
    unknown = (*_not_approved(promotion, stage, decisions), *_not_known_to_pass(promotion, stage))
    notes = (*access.notes, *map(str, ignored), *unknown)
    seen = Outlook(promotion, verdicts, (*refused, *access.problems), notes)
    if access.problems:
        return seen
    try:
        found = promote.look(promotion, services, reads_only=reads_only)
    except SupersededError as error:
        return replace(seen, refusals=(*seen.refusals, str(error)), superseded=error.by)
    except TransientError as error:
        # Said at the door already, as a rule.
        notes = tuple(note for note in notes if str(error) not in note)
        return replace(seen, refusals=(*seen.refusals, str(error)), notes=notes)
    return replace(seen, refusals=(*seen.refusals, *found.plan.problems), found=found)


def _judge(
    promotion: Promotion,
    stage: Stage,
    services: Services,
    decisions: Decisions,
    open_zuul: Callable[[], ZuulClient] | None,
) -> tuple[dict[str, Verdict], list[str]]:
    """Return the verdicts on fresh evidence and the waivers, and a line about each that is not met."""
    found: dict[Pipeline | None, Evidence] = {}
    for pipeline in dict.fromkeys(stage.buildset_of.get(name) for name in stage.criteria):
        found[pipeline] = evidence_of(
            services.dlrn,
            open_zuul or _no_zuul,
            promotion.build,
            candidate_label=promotion.candidate_label,
            buildset_of=pipeline,
        )
    waivers = decisions.waivers_for(promotion.build.full_hash, now=services.dlrn.now())
    verdicts = {
        name: judge_evidence(criteria, found[stage.buildset_of.get(name)], waivers)
        for name, criteria in stage.criteria.items()
    }
    unmet = [
        f"{promotion.build.full_hash} does not meet the criteria of {name}: {verdict.summary()}"
        for name, verdict in verdicts.items()
        if not verdict.met
    ]
    if not verdicts:
        unmet = ["no step before the promotion waits for votes, so nothing says that the build is good"]
    return verdicts, unmet


def _kept_back(promotion: Promotion, stage: Stage, services: Services, decisions: Decisions) -> Iterator[str]:
    """Say who holds the label or the build, marked it bad, or did not approve it."""
    full_hash = promotion.build.full_hash
    if mark := decisions.marked_bad(full_hash):
        yield describe(mark)
    yield from map(describe, decisions.held(full_hash, promotion.label, now=services.dlrn.now()))
    yield from refusals(decisions, full_hash, approvals=stage.approvals)


def _not_approved(promotion: Promotion, stage: Stage, decisions: Decisions) -> Iterator[str]:
    """Say where nobody has been asked, or has answered: without Airflow nobody can."""
    full_hash = promotion.build.full_hash
    for task in unanswered(decisions, full_hash, stage.approvals):
        yield f"nobody has approved {full_hash} at {task}: whoever promotes it by hand answers for it"


def _not_known_to_pass(promotion: Promotion, stage: Stage) -> Iterator[str]:
    """Say which jobs hold back the promotion in the Dag: how they ended only Airflow knows."""
    for task in stage.started:
        yield (
            f"whether the job of {task} passed for {promotion.build.full_hash} nobody knows without Airflow, "
            "where it holds back the promotion: look where it runs; whoever promotes by hand answers for it"
        )


def _no_zuul() -> ZuulClient:
    raise ConfigError("the release names no Zuul: add `zuul: {connection: ..., pipeline: ...}`")


def _not_soaked(promotion: Promotion, stage: Stage, services: Services) -> list[str]:
    """Say that the build has not been a candidate for long enough, if so."""
    soak = max((criteria.soak for criteria in stage.criteria.values()), default=0)
    entries = services.dlrn.entries(promotion.candidate_label, promotion.build) if soak else []
    if not entries or is_over(entries[0].timestamp, soak, now=services.dlrn.now()):
        return []
    return [f"{promotion.build.full_hash} has to soak until {utc(entries[0].timestamp + soak)}"]


def _not_from(promotion: Promotion, stage: Stage, services: Services) -> list[str]:
    """Say that the build never held the label that the stage starts from, if so."""
    if stage.source == CONSISTENT or services.dlrn.entries(stage.source, promotion.build):
        return []
    missing = f"{promotion.build.full_hash} never held {stage.source}, from which the stage starts"
    return [f"{missing}: promote it to {stage.source} first"]
