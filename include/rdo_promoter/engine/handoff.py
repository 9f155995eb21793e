"""Collect what a hand-off says of a promoted build. Changes nothing.

Only what stays as it is goes into the record: what DLRN, the ledger and people said until the label was moved
to the build, and what lies under the build's hash. So the same is collected whenever it is done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.engine.observe import digests, place_problem, single
from rdo_promoter.engine.services import Services
from rdo_promoter.errors import AnswerError, ConflictError, PreflightError
from rdo_promoter.model.build import CONSISTENT, Build
from rdo_promoter.model.decisions import Answer, Answered
from rdo_promoter.model.handoff import Approval, CiResult, Container, Handoff, ImageFile, WaivedJob
from rdo_promoter.model.ledger import Promoted
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.text import one_line
from rdo_promoter.model.verdict import Criteria, JobState, judge
from rdo_promoter.model.votes import Vote
from rdo_promoter.model.waivers import Waiver


@dataclass(frozen=True)
class Scope:
    """What of a release a hand-off tells of.

    :param label: the promoted label.
    :param containers: names without namespace.
    :param registries: where their digests are looked up.
    :param images: image files.
    :param servers: image servers that have them.
    :param own_images: the image files on servers that have others.
    :param criteria: what the stages up to the promotion require.
    """

    label: str
    containers: tuple[str, ...]
    registries: tuple[str, ...]
    images: tuple[str, ...]
    servers: tuple[str, ...]
    criteria: tuple[Criteria, ...]
    own_images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def promotion_row(dlrn: DlrnClient, build: Build, label: str) -> PromotionRow:
    """Return the promotion by which the label names the build.

    :raises SupersededError: when a newer build holds the label.
    :raises ConflictError: when it names nothing, or was moved back to an older build.
    """
    row = dlrn.current(label)
    if row is not None and row.build == build:
        return row
    place_problem(dlrn, build, row, candidate_label=label, promoted_label=label)
    raise ConflictError(
        f"{build} is not handed off: {label} names {row.build if row else 'nothing'}"
        f"{f', moved there by {row.user}' if row and row.user else ''}; promote the build again, or hand off "
        "what the label names"
    )


def collect(
    scope: Scope,
    row: PromotionRow,
    promoted: Promoted,
    services: Services,
    *,
    waivers: Iterable[Waiver],
    answers: Iterable[Answered],
) -> Handoff:
    """Return the record of a promoted build.

    :param scope: what it tells of.
    :param row: the promotion, DLRN's row of it.
    :param promoted: the promotion, the ledger's fact about it.
    :param waivers: those that counted for the build then.
    :param answers: of people who approved the build.
    :raises PreflightError: naming what of the build is not in place.
    """
    build = single(row.build)
    problems: list[str] = []
    containers = [
        each for name in scope.registries for each in _containers(scope, services, name, build, problems)
    ]
    images = [each for name in scope.servers for each in _images(scope, services, name, build, problems)]
    if problems:
        raise PreflightError(f"the hand-off of {build.full_hash}", problems)
    votes = [
        vote
        for vote in services.dlrn.votes(build)
        # CONSISTENT is DLRN's own mark, and what is in progress is no result.
        if not vote.in_progress and vote.job != CONSISTENT and vote.timestamp <= row.timestamp
    ]
    return Handoff(
        release=promoted.dag_id,
        label=scope.label,
        build=build,
        repo_url=f"{services.dlrn.repo_url}/{build.path}",
        promoted_at=row.timestamp,
        release_file=promoted.file,
        release_digest=promoted.digest,
        packages=tuple(sorted(services.dlrn.packages(build))),
        votes=tuple(
            sorted(CiResult(v.timestamp, one_line(v.job), v.success, one_line(v.url)) for v in votes)
        ),
        waivers=_waived(scope, votes, waivers),
        approvals=tuple(
            sorted(
                Approval(each.at, one_line(each.by), each.task_id, one_line(each.reason))
                for each in answers
                if each.answer is Answer.APPROVE and each.full_hash == build.full_hash
            )
        ),
        containers=tuple(sorted(containers)),
        images=tuple(sorted(images)),
    )


def _containers(
    scope: Scope, services: Services, name: str, build: Build, problems: list[str]
) -> Iterable[Container]:
    host = urlsplit(services.registry(name).url).netloc
    for container, digest in digests(services, name, scope.containers, build.full_hash).items():
        image = f"{host}/{services.namespace(name)}/{container}"
        if digest is None:
            problems.append(
                f"registry {name}: {image}:{build.full_hash} does not exist; promote the build again"
            )
        else:
            yield Container(image, digest)


def _images(
    scope: Scope, services: Services, name: str, build: Build, problems: list[str]
) -> Iterable[ImageFile]:
    with services.server(name) as server:
        files = server.files(build.full_hash) or {}
        for image in scope.own_images.get(name, scope.images):
            file = server.layout.file(image)
            path = server.build_path(build.full_hash, file)
            try:
                md5 = server.declared_md5(build.full_hash, file) if file in files else None
            except AnswerError as error:
                problems.append(str(error))
                continue
            if md5 is None:
                lacks = "has no .md5 file" if file in files else "does not exist"
                problems.append(f"image server {name}: {path} {lacks}; promote the build again")
            else:
                yield ImageFile(name, path, files[file], md5)


def _waived(scope: Scope, votes: Iterable[Vote], waivers: Iterable[Waiver]) -> tuple[WaivedJob, ...]:
    """Return the waivers that counted: others have decided nothing, and may have been written later."""
    votes, waivers = tuple(votes), tuple(waivers)
    counted = (
        result.waiver
        for criteria in scope.criteria
        for result in judge(criteria, votes, waivers).in_state(JobState.WAIVED)
    )
    found = {
        WaivedJob(one_line(each.job), one_line(each.by), one_line(each.reason), each.expires)
        for each in counted
        if each is not None
    }
    return tuple(sorted(found))
