"""Faults that the script before this package had with real services, by number: none may come back."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import uuid
from pathlib import Path

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent
from urllib3.util.retry import Retry

from lab import dlrn as lab_dlrn
from lab.faults import Fault, FaultProxy
from lab.outage import Outage
from lab.service import HOST
from rdo_promoter.clients.dlrn import DlrnClient
from rdo_promoter.engine import promote
from rdo_promoter.engine.candidate import CandidateRules, admit, newest_build
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.errors import (
    ConfigError,
    ServiceError,
    SupersededError,
    TransientError,
    UnfinishedError,
)
from rdo_promoter.hooks.recipe import write_recipe
from rdo_promoter.hooks.services import ConnectionServices
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.order import Wait
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.model.verdict import Criteria
from rdo_promoter.sentinel.unfinished import UnfinishedOperator
from rdo_promoter.triggers.job import JobTrigger
from rdo_promoter.triggers.terms import Where
from tests.bad_input.world import Spoilt, everything
from tests.engine.rdo import CONTAINERS, PUSH_TO
from tests.regression.start import BUT_DLRN, begun, promoted
from tests.unit.sentinel_world import World as SentinelWorld
from tests.unit.sentinel_world import planned
from tests.unit.terms import terms

pytestmark = pytest.mark.lab


def packages_only(rdo: Spoilt, build: DlrnHash, label: str) -> Promotion:
    """Return a promotion that moves a label in DLRN and nothing else."""
    return Promotion(build, label, rdo.candidate_label)


def do(rdo: Spoilt, promotion: Promotion) -> None:
    carry_out(promotion, rdo, promote.preflight(promotion, rdo).was, say=lambda _: None)


# --- 2 and 3: which build is which, and which is newer ---


def test_02_a_build_takes_a_second_label_and_is_listed_once(rdo: Spoilt) -> None:
    """Rows of one build at two times were two builds.

    The second label of a run ended in "hash changed", and a build that was tested again was listed twice.
    """
    (build,) = rdo.candidates(1)
    for label in (rdo.label, f"{rdo.label}-rdo"):
        do(rdo, packages_only(rdo, build, label))
    assert {rdo.dlrn.label_hash(label) for label in (rdo.label, f"{rdo.label}-rdo")} == {build}
    rules = CandidateRules(rdo.candidate_label, (Wait(Criteria(("job",)), 86_400),))
    assert admit(build, rules, rdo.dlrn, again=True).moved
    refused = admit(rdo.build(), rules, rdo.dlrn).refused
    assert refused == f"CI busy with {build.full_hash}"


def test_03_the_labels_build_may_be_older_than_every_candidate_that_is_listed(rdo: Spoilt) -> None:
    """When the label's build was not among the newest candidates, an older one was promoted over it.

    A hundred were listed, and cut where the label's build stood.
    """
    older, holder = rdo.candidates()
    do(rdo, packages_only(rdo, holder, rdo.label))
    now = int(time.time())
    fillers = [lab_dlrn.PastPromotion(holder, f"{rdo.label}-x", now)] + [
        lab_dlrn.PastPromotion(older, rdo.candidate_label, now - 110 + n) for n in range(110)
    ]
    lab_dlrn.add_promotions(rdo.lab.root, fillers)
    listed = rdo.dlrn.promotions(rdo.candidate_label)
    assert {row.build for row in listed} == {older}
    before = everything(rdo)
    with pytest.raises(SupersededError, match=f"superseded by {holder.full_hash}"):
        do(rdo, packages_only(rdo, older, rdo.label))
    assert everything(rdo) == before


# --- 5: one error stops nothing else ---


@pytest.mark.parametrize("in_trouble", ["centos9-a", "centos9-b"])
def test_05_a_release_that_fails_does_not_stop_the_next(
    rdo: Spoilt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_trouble: str
) -> None:
    """Releases and labels were worked on one after another: the first error of an API ended all of it.

    What works on several releases here is the sentinel. It completes what two of them have begun, also while
    the DLRN of one does not serve, whichever comes first; that one is completed once it serves again.
    """
    (tmp_path / "ledger").mkdir()
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setattr(UnfinishedOperator, "dag_id", "promotions-sentinel")
    # Tries follow each other at once; how long a client waits in between is tested elsewhere.
    monkeypatch.setattr(Retry, "get_backoff_time", lambda _: 0)
    facts, (build,) = rdo.lab.dlrn, rdo.candidates(1)
    with Outage(HOST, int(facts.api_url.rpartition(":")[2])) as outage:
        labels = {}
        for dag_id in ("centos9-a", "centos9-b"):
            labels[dag_id], connection = (
                f"{rdo.label}-{dag_id}",
                f"{dag_id}_{rdo.namespace_}".replace("-", "_"),
            )
            monkeypatch.setenv(
                f"AIRFLOW_CONN_{connection.upper()}",
                json.dumps(
                    {
                        "conn_type": "dlrn",
                        "host": outage.url if dag_id == in_trouble else facts.api_url,
                        "login": facts.username,
                        "password": facts.password,
                    }
                ),
            )
            recipe = write_recipe(
                packages_only(rdo, build, labels[dag_id]), ConnectionServices(connection, facts.repo_url)
            )
            planned(dag_id=dag_id, label=labels[dag_id], build=build, wanted=recipe)
        airflow = SentinelWorld(tmp_path)
        outage.break_("503")
        with pytest.raises(TransientError, match="503") as failed:
            airflow.look()
        assert str(failed.value).count(build.full_hash) == 1
        assert {dag_id: rdo.dlrn.label_hash(label) for dag_id, label in labels.items()} == {
            dag_id: None if dag_id == in_trouble else build for dag_id in labels
        }
        outage.mend()
        airflow.events.clear()  # each run has its own
        assert len(airflow.look()["completed"]) == 1
    assert rdo.dlrn.label_hash(labels[in_trouble]) == build


@pytest.mark.parametrize("how", ["down", "slow", "503"])
def test_05_waiting_for_one_release_does_not_hang_on_the_dlrn_of_another(
    rdo: Spoilt, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """One API that did not answer held up every label of every release."""
    facts, builds = rdo.lab.dlrn, rdo.candidates(6)
    job = f"{rdo.namespace_}-job"
    for build in builds:
        rdo.dlrn.report_vote(build, job, True, "https://logs.example.org/1")
    with Outage(HOST, int(facts.api_url.rpartition(":")[2])) as outage:
        outage.break_(how, seconds=60)
        for name, url in (("in_trouble", outage.url), ("fine", facts.api_url)):
            connection = {
                "conn_type": "dlrn",
                "host": url,
                "login": facts.username,
                "password": facts.password,
            }
            monkeypatch.setenv(
                f"AIRFLOW_CONN_{name.upper()}_{rdo.namespace_.upper()}", json.dumps(connection)
            )

        def trigger(name: str, build: DlrnHash) -> JobTrigger:
            where = Where(f"{name}_{rdo.namespace_}", facts.repo_url, rdo.candidate_label, None)
            return JobTrigger(
                terms=terms(where=where, jobs=(job,), poll=0.2).to_json(),
                job=job,
                build=json.dumps(build.to_json()),
                since=int(time.time()),
            )

        async def end(name: str, build: DlrnHash) -> TriggerEvent:
            return await anext(trigger(name, build).run())

        async def both() -> None:
            stuck = [asyncio.create_task(end("in_trouble", build)) for build in builds]
            await asyncio.sleep(0)  # they have begun
            assert isinstance(await end("fine", builds[0]), TaskSuccessEvent)
            assert not any(task.done() for task in stuck)
            outage.mend()
            assert {type(event) for event in await asyncio.gather(*stuck)} == {TaskSuccessEvent}
            feeds = [task for task in asyncio.all_tasks() if task.get_name().startswith("feed ")]
            await asyncio.gather(*feeds)  # they end when nobody has been interested for a while

        asyncio.run(asyncio.wait_for(both(), 100))


# --- 6: no extended hash ---


def test_06_a_build_without_an_extended_hash_is_promoted(rdo: Spoilt) -> None:
    """A missing extended hash ended the run with a traceback."""
    (build,) = rdo.candidates(1)
    assert build.extended_hash is None
    do(rdo, packages_only(rdo, build, rdo.label))
    row = rdo.dlrn.current(rdo.label)
    assert row is not None
    assert (row.build, rdo.dlrn.label_hash(rdo.label)) == (build, build)


# --- 10: components ---


def aggregate_of(rdo: Spoilt, label: str) -> list[DlrnHash]:
    """Let DLRN have promoted an aggregate of two components to a label; return the components' builds."""
    components = [
        dataclasses.replace(build, component=component)
        for build, component in zip(
            rdo.candidates(2, label=f"{label}-x"), ("tripleo", "compute"), strict=True
        )
    ]
    past, now = lab_dlrn.PastPromotion, int(time.time()) - 60
    aggregates = (None, uuid.uuid4().hex)
    lab_dlrn.add_promotions(
        rdo.lab.root,
        [past(build, label, now, aggregate) for build, aggregate in zip(components, aggregates, strict=True)],
    )
    rows = rdo.dlrn.promotions(label)
    assert [(row.build, row.aggregate_hash) for row in rows] == [
        (components[1], aggregates[1]),
        (components[0], None),
    ]
    return components


def test_10_a_component_of_an_aggregate_is_no_candidate(rdo: Spoilt) -> None:
    """A promoted aggregate has a row for each of its components, and each was taken for a candidate.

    Aggregates are refused here as yet. A label that one holds is refused whole, whichever build is asked for:
    also one with a component's hashes, which has not held the label by that.
    """
    components = aggregate_of(rdo, rdo.candidate_label)
    rules = CandidateRules(rdo.candidate_label, (Wait(Criteria(("job",)), 86_400),))
    alike = [dataclasses.replace(build, component=None) for build in components]
    before = everything(rdo)
    for build in (*components, *alike, rdo.build()):
        for again in (False, True):
            with pytest.raises(ConfigError, match=r"is a build of the component \w+ alone; releases of the"):
                admit(build, rules, rdo.dlrn, again=again)
    with pytest.raises(ConfigError, match="is a build of the component compute alone"):
        newest_build(rdo.dlrn, rdo.candidate_label, f"{rdo.label}-ci")
    for build in alike:
        assert rdo.dlrn.entries(rdo.candidate_label, build) == []
    assert everything(rdo) == before


def test_10_a_component_of_an_aggregate_is_not_promoted_or_promoted_over(rdo: Spoilt) -> None:
    """As above, where the promoted label is an aggregate's."""
    components = aggregate_of(rdo, rdo.label)
    (build,) = rdo.candidates(1)
    before = everything(rdo)
    for each in (*components, build):
        with pytest.raises(ConfigError, match=r"is a build of the component \w+ alone; releases of the"):
            do(rdo, packages_only(rdo, each, rdo.label))
    assert everything(rdo) == before


# --- 12: DLRN fails last ---


def moved_everywhere(rdo: Spoilt) -> list[str]:
    tags = f"{len(CONTAINERS)} of {len(CONTAINERS)} tags"
    return [
        *(f"registry {name}: {tags}" for name in ("rdo", *PUSH_TO)),
        "image server images: the link",
        "image server rh1: the link",
    ]


@pytest.mark.parametrize("how", ["down", "promote"])
def test_12_dlrn_fails_last_and_the_next_try_ends_right(rdo: Spoilt, how: str) -> None:
    """When DLRN failed last, registries and images had been switched, and there was no way back.

    Forward only: what has moved is named, and trying again does the rest.
    """
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    rdo.promote(new, steps=BUT_DLRN)
    facts, wanted = rdo.lab.dlrn, rdo.promotion(new)
    port = int(facts.api_url.rpartition(":")[2])
    with Outage(HOST, port) as outage, FaultProxy(facts.api_url) as proxy:
        url = proxy.url if how == "promote" else outage.url
        shaky = DlrnClient(
            url, facts.repo_url, username=facts.username, password=facts.password, retries=0, backoff=0.01
        )
        with shaky:
            services = dataclasses.replace(rdo, dlrn=shaky)
            if how == "promote":
                proxy.add(Fault("/api/promote", "POST", answer=503, times=3))
            else:
                outage.break_(how)
            with pytest.raises(
                ServiceError, match="Nothing is taken back; the next try, or clearing"
            ) as failed:
                promote.commit(wanted, services, old)
            for line in moved_everywhere(rdo):
                assert line in str(failed.value)
            assert rdo.state().label == old.full_hash
            outage.mend()
            promote.commit(wanted, services, old)
            promote.verify(wanted, services)
    assert rdo.state() == promoted(rdo, new, old)


def test_12_dlrn_refuses_last_and_what_has_moved_is_named(rdo: Spoilt) -> None:
    """As above, when trying again does not help: somebody took the right to promote away meanwhile."""
    wanted, build = begun(rdo, BUT_DLRN)
    facts = rdo.lab.dlrn
    reader = DlrnClient(
        facts.api_url, facts.repo_url, username=facts.reader_username, password=facts.reader_password
    )
    with reader, pytest.raises(UnfinishedError) as refused:
        promote.commit(wanted, dataclasses.replace(rdo, dlrn=reader), None)
    assert list(refused.value.moved) == moved_everywhere(rdo)
    (problem,) = refused.value.problems
    assert "user 'reader' is not allowed to do this" in problem
    promote.commit(wanted, rdo, None)
    assert rdo.state().label == build.full_hash
