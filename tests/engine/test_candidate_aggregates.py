"""The way of an aggregate into CI, on a real DLRN in component mode."""

from __future__ import annotations

import dataclasses

import pytest

from lab import dlrn_components
from lab.dlrn_orders import PastAggregate
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.engine.candidate import CandidateRules, admit, newest_aggregate
from rdo_promoter.errors import ConfigError, PreflightError
from rdo_promoter.model.build import AggregateHash
from rdo_promoter.model.order import Wait
from rdo_promoter.model.verdict import Criteria
from tests.clients.component_lab import COMPONENTS, ComponentDlrn

pytest_plugins = ["tests.clients.component_fixtures"]
pytestmark = pytest.mark.lab

JOBS = ("build", "test")


def rules(label: str, *, within: int = 86_400) -> CandidateRules:
    return CandidateRules(label, (Wait(Criteria(JOBS), within),))


def vote(components: DlrnClient, build: AggregateHash) -> None:
    for job in JOBS:
        components.report_vote(build, job, True, "https://logs.example.org/1")


def past(component_dlrn: ComponentDlrn, label: str, when: int) -> AggregateHash:
    """Let an aggregate that nobody has seen yet have entered a label."""
    builds = component_dlrn.add(*COMPONENTS)
    (made,) = dlrn_components.add_promotions(component_dlrn.root, [PastAggregate(builds, label, when)])
    return made


def test_consistent_goes_into_an_idle_ci_and_is_nothing_new_then(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    build = component_dlrn.aggregate("compute")
    found = newest_aggregate(components, "consistent", label)
    assert (found.build, found.nothing_new) == (build, None)
    assert admit(build, rules(label), components, dry_run=True).moved
    assert components.aggregates.current(label) is None
    admission = admit(build, rules(label), components)
    assert admission.moved
    assert admission.entry == components.aggregates.current(label)
    assert components.aggregates.label_hash(label) == build
    assert admit(build, rules(label), components) == dataclasses.replace(admission, moved=False)
    asked = components.requests_made
    again = newest_aggregate(components, "consistent", label)
    assert components.requests_made - asked == 3
    assert str(again.nothing_new).startswith(f"nothing new: consistent is {build}, in {label} since ")


def test_what_components_were_promoted_to_one_by_one_goes_into_ci(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    """``promoted-components``: each component's own pipeline moves its part."""
    source = f"{label}-source"
    with pytest.raises(PreflightError, match=f"nothing holds {source} yet"):
        newest_aggregate(components, source, label)
    for build in component_dlrn.add("common", "compute"):
        components._api.post(
            "promote",
            {"commit_hash": build.commit_hash, "distro_hash": build.distro_hash, "promote_name": source},
        )
    found = newest_aggregate(components, source, label)
    assert found.build == components.aggregates.label_hash(source)
    assert admit(found.build, rules(label), components, source=source).moved
    assert components.aggregates.read(found.build, label).components == ("common", "compute")


def test_a_busy_ci_refuses_an_aggregate_until_every_job_has_voted_on_the_other(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    """Rows of components, on which nobody votes, keep CI busy with nothing."""
    first, second = component_dlrn.aggregate(), component_dlrn.aggregate()
    admit(first, rules(label), components)
    assert admit(second, rules(label), components).refused == f"CI busy with {first}"
    assert admit(second, rules(label), components, dry_run=True).refused
    vote(components, first)
    assert admit(second, rules(label), components).moved
    assert components.aggregates.label_hash(label) == second


def test_an_aggregate_whose_deadline_has_passed_keeps_ci_no_longer(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    old = past(component_dlrn, label, components.now() - 7200)
    build = component_dlrn.aggregate("compute")
    assert admit(build, rules(label), components).refused == f"CI busy with {old}"
    assert admit(build, rules(label, within=3600), components).moved


def test_an_aggregate_of_the_past_keeps_its_entry_unless_it_is_to_be_tested_again(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    """Also when it is not any more where it came from."""
    now = components.now()
    old, new = (past(component_dlrn, label, now - age) for age in (7200, 3600))
    vote(components, new)
    admission = admit(old, rules(label), components)
    assert (admission.moved, [admission.entry]) == (False, components.entries(label, old))
    source = f"{label}-source"
    assert not components.aggregates.has_directory(old, source)
    assert admit(old, rules(label), components, source=source, again=True).moved
    assert components.aggregates.label_hash(label) == old
    assert [row.build for row in components.aggregates.history(label)] == [old, new, old]


def test_one_component_is_no_candidate(
    component_dlrn: ComponentDlrn, components: DlrnClient, label: str
) -> None:
    admit(component_dlrn.aggregate(), rules(label), components)
    rows = components.promotions(label)
    assert len(rows) >= len(COMPONENTS)
    (build,) = component_dlrn.add("compute")
    for component in (build, rows[0].build):
        with pytest.raises(ConfigError, match=r"is a build of the component \w+ alone"):
            admit(component, rules(label), components)
