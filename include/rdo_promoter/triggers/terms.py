"""What a stage waits for at one point: the same for the sensors of its jobs and for its gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rdo_promoter.errors import ConfigError
from rdo_promoter.model.build import Build, build_from_json
from rdo_promoter.model.ci import Pipeline
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.model.votes import VotePolicy

#: Seconds that a question to a person stays open when nobody says otherwise.
ANSWER_WITHIN = 86_400

#: Seconds that a person can let a gate wait on, at most.
LONGEST_WAIT = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Where:
    """The DLRN and the labels of a stage.

    :param dlrn_conn_id: Connection of type ``dlrn``.
    :param repo_url: DLRN's repository tree.
    :param candidate_label: the label that CI tests; it gives builds their order.
    :param promoted_label: the label that the stage promotes to, None when it promotes to none.
    """

    dlrn_conn_id: str
    repo_url: str
    candidate_label: str
    promoted_label: str | None


@dataclass(frozen=True, slots=True)
class Ci:
    """The CI system that tests a stage's builds.

    :param zuul_conn_id: Connection of type ``zuul``.
    :param pipeline: the pipeline.
    :param decides: whether its buildset decides in place of votes.
    """

    zuul_conn_id: str
    pipeline: Pipeline
    decides: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of waiting.

    :param where: the DLRN and the labels.
    :param dag_id: the release's Dag: its decisions count.
    :param waivers_file: the reviewed file of waivers, relative to the releases folder; None without one.
    :param gate: id of the gate's task.
    :param criteria: what has to pass.
    :param stage_jobs: all jobs of the stage, alternatives among them.
    :param within: seconds after the build got the candidate label until its jobs have to have passed.
    :param poll: seconds between two questions for votes.
    :param fail_fast: end as soon as nothing but a rerun could help.
    :param ask: ask a person when the time is over.
    :param answer_within: seconds that the question stays open.
    :param ci: where to look for jobs that have not voted; None when that is not known.
    """

    where: Where
    dag_id: str
    waivers_file: str | None = None
    gate: str
    criteria: Criteria
    stage_jobs: frozenset[str] = field(default_factory=frozenset)
    within: int
    poll: float
    fail_fast: bool = False
    ask: bool = False
    answer_within: int = ANSWER_WITHIN
    ci: Ci | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the terms as JSON values: triggers are stored as such."""
        where, criteria, ci = self.where, self.criteria, self.ci
        return {
            "where": [where.dlrn_conn_id, where.repo_url, where.candidate_label, where.promoted_label],
            "dag_id": self.dag_id,
            "waivers_file": self.waivers_file,
            "gate": self.gate,
            "jobs": list(criteria.jobs),
            "alternatives": {job: list(others) for job, others in criteria.alternatives.items()},
            "policy": str(criteria.policy),
            "soak": criteria.soak,
            "stage_jobs": sorted(self.stage_jobs),  # two parses give the same Dag
            "within": self.within,
            "poll": self.poll,
            "fail_fast": self.fail_fast,
            "ask": self.ask,
            "answer_within": self.answer_within,
            "ci": [ci.zuul_conn_id, ci.pipeline.name, ci.pipeline.promote_job, ci.decides] if ci else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Terms:
        """Read what `to_json` made."""
        alternatives = {job: tuple(others) for job, others in value["alternatives"].items()}
        ci = None
        if known := value.get("ci"):  # what waits since before this was known has none
            conn_id, name, promote_job, decides = known
            ci = Ci(conn_id, Pipeline(name, promote_job), decides)
        plain = ("dag_id", "waivers_file", "gate", "within", "poll", "fail_fast", "ask", "answer_within")
        return cls(
            where=Where(*value["where"]),
            criteria=Criteria(tuple(value["jobs"]), alternatives, VotePolicy(value["policy"]), value["soak"]),
            stage_jobs=frozenset(value["stage_jobs"]),
            ci=ci,
            **{name: value[name] for name in plain},
        )


def read_build(build: str, what: str) -> Build:
    """Read the run's build from what a template has left as text.

    :param what: for whom, for the message.
    :raises ConfigError: when there is none: an XCom that is missing becomes ``None``.
    """
    try:
        return build_from_json(json.loads(build))
    except (json.JSONDecodeError, TypeError) as error:
        raise ConfigError(
            f"{what}: the run's build is not known, the task that pins it left {build!r}; "
            "clear that task together with what follows it"
        ) from error


def read_since(since: str | int, what: str) -> int:
    """Read the time from which deadlines count from what a template has left as text.

    :param what: for whom, for the message.
    :raises ConfigError: when there is none.
    """
    try:
        return int(since)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{what}: it is not known since when the build is a candidate, the task that admits it left "
            f"{since!r}; clear that task together with what follows it"
        ) from error
