"""What a stage waits for, for tests: one job with two alternatives unless they say otherwise."""

from __future__ import annotations

from typing import Any

from rdo_promoter.model.verdict import Criteria
from rdo_promoter.triggers.terms import Terms, Where

WITHIN = 3600
JOB = "job"


def terms(**changes: Any) -> Terms:
    """Return terms; `jobs`, `alternatives`, `policy` and `soak` are those of their criteria.

    :param changes: fields that differ.
    """
    of_criteria = {"jobs": (JOB,), "alternatives": {}, **changes}
    criteria = {
        name: of_criteria[name] for name in ("jobs", "alternatives", "policy", "soak") if name in of_criteria
    }
    fields: dict[str, Any] = {
        "where": Where("dlrn_test", "http://repo", "tripleo-ci-testing", "current-tripleo"),
        "dag_id": "centos7-test",
        "gate": "upstream.wait_for.gate",
        "criteria": Criteria(**criteria),
        "stage_jobs": frozenset(Criteria(**criteria).known_jobs),
        "within": WITHIN,
        "poll": 15,
    }
    return Terms(**{**fields, **{name: value for name, value in changes.items() if name not in criteria}})
