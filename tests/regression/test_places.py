"""Faults that the script before this package had with links, registries and dry runs: none may come back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lab.images import push_build
from lab.service import wait_for
from rdo_promoter.cli import main
from rdo_promoter.engine import promote
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.errors import (
    AnswerError,
    AuthError,
    PreflightError,
    UnfinishedError,
)
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.made_from import MadeFrom
from rdo_promoter.operators.promotion import PlanOperator
from tests.bad_input.world import Spoilt, everything
from tests.clients.sshd_fixtures import read_only
from tests.engine.rdo import CONTAINERS, IMAGES, PUSH_TO
from tests.regression.start import COPIES, begun, promoted
from tests.regression.watch import reading
from tests.unit.releases import changed, write
from tests.unit.tasks import Ti, context

pytestmark = pytest.mark.lab


# --- 7: links ---


def test_07_a_reader_never_finds_the_link_missing_and_both_links_are_relative(rdo: Spoilt) -> None:
    """The link was removed and then made again: readers saw none in between.

    ``previous-`` was not made when there was none before, and one of the two links was absolute, so that it
    led nowhere behind another web root.
    """
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    link, previous = rdo.image_root / rdo.label, rdo.image_root / f"previous-{rdo.label}"
    rdo.promote(old)
    assert link.readlink() == Path(old.full_hash)
    assert not previous.is_symlink(), "nothing was there before"
    contents = {(rdo.image_root / build.full_hash / IMAGES[0]).read_bytes() for build in (old, new)}
    with reading(link / IMAGES[0]) as (seen, failures):
        rdo.promote(new)
        assert (link.readlink(), previous.readlink()) == (Path(new.full_hash), Path(old.full_hash))
        with rdo.server("images") as server:
            for build in (old, new) * 100:
                server.set_link(rdo.label, build.full_hash)
        wait_for(lambda: seen >= contents, "the reader has seen both builds")
    assert failures == []
    assert seen == contents


def test_07_a_link_that_cannot_be_moved_is_no_success(rdo: Spoilt, tmp_path: Path) -> None:
    """A failing link was a line in the log; the run went on and reported a promotion."""
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    wanted = rdo.promotion(new)
    found = promote.preflight(wanted, rdo)
    with read_only(rdo.lab.root, tmp_path) as port:
        spoilt = dataclasses.replace(rdo, ssh={"port": port})
        refused = f"image server images: link .*{rdo.label}: the server does not allow"
        with pytest.raises(UnfinishedError, match=refused) as raised:
            carry_out(wanted, spoilt, found.was, say=lambda _: None)
    assert isinstance(raised.value.__cause__, AuthError)
    assert len(raised.value.moved) >= 3, "the tags of three registries have moved"
    with pytest.raises(UnfinishedError, match=f"not done: images: link {rdo.label}"):
        promote.commit(wanted, rdo, found.was)
    state = rdo.state()
    assert (state.label, state.link) == (old.full_hash, old.full_hash)


def test_07_images_that_are_not_whole_are_not_linked(rdo: Spoilt) -> None:
    """The images were validated, and nobody looked at the result."""
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    file = rdo.image_root / build.full_hash / IMAGES[1]
    file.write_bytes(file.read_bytes()[:-1])
    before = everything(rdo)
    with pytest.raises(PreflightError, match=rf"{IMAGES[1]} has md5 \w+, its \.md5 file says"):
        rdo.promote(build)
    assert everything(rdo) == before


# --- 9: registries ---


def with_another_image(rdo: Spoilt, registry: str, build: DlrnHash, tag: str) -> str:
    """Let a tag of one container name another image in one registry; return what it named."""
    repository = f"{rdo.namespace(registry)}/cron"
    right = rdo.registry(registry).head(repository, build.full_hash)
    assert right is not None
    other = push_build(
        rdo.registry(registry), rdo.namespace(registry), ["cron"], f"x-{build.short}", prefix=""
    )
    rdo.registry(registry).tag(repository, other["cron"], tag)
    return right.digest


def test_09_every_registry_is_looked_at_after_a_push(rdo: Spoilt) -> None:
    """Only the registry that was pushed to last was verified."""
    wanted, build = begun(rdo, COPIES)
    for registry in PUSH_TO:
        right = with_another_image(rdo, registry, build, build.full_hash)
        with pytest.raises(PreflightError) as refused:
            promote.check_copies(wanted, rdo)
        (problem,) = refused.value.problems
        assert problem == f"not done: {registry}: copy cron:{build.full_hash} {right}"
        # Containers have been pushed by then.
        kept = f"{rdo.label} has not moved on any registry or image server"
        assert f"is refused, {kept}; 1 problem" in str(refused.value)
        with pytest.raises(PreflightError, match=f"not done: {registry}: copy cron"):
            promote.tag_in(wanted, rdo, registry, None)
        rdo.registry(registry).tag(f"{rdo.namespace(registry)}/cron", right, build.full_hash)
    assert rdo.state().label is None


def test_09_every_registry_is_read_back_in_the_end(rdo: Spoilt) -> None:
    """Only the registry that was pushed to last was verified."""
    wanted, build = begun(rdo, 99)
    for registry in ("rdo", *PUSH_TO):
        right = with_another_image(rdo, registry, build, rdo.label)
        with pytest.raises(AnswerError, match=rf"- {registry}: tag cron:{rdo.label} sha256:\w+ -> {right}"):
            promote.verify(wanted, rdo)
        rdo.registry(registry).tag(f"{rdo.namespace(registry)}/cron", right, rdo.label)
    promote.verify(wanted, rdo)


def test_09_what_arrives_is_what_was_built_byte_for_byte(rdo: Spoilt) -> None:
    """Images travelled through a local Docker daemon, which wrote another digest for each of them.

    A second opinion: skopeo.
    """
    _, build = begun(rdo, 99)
    for container in CONTAINERS:
        raw = {
            registry.inspect_raw(f"{rdo.namespace(registry.name)}/{container}", tag)
            for registry in rdo.lab.registries
            for tag in (build.full_hash, rdo.label)
        }
        assert len(raw) == 1
        digest = f"sha256:{hashlib.sha256(raw.pop()).hexdigest()}"
        assert {tags[container] for tags in rdo.tags(rdo.label).values()} == {digest}


# --- 11: dry runs, and failures that look like success ---


def plan_task(rdo: Spoilt, build: DlrnHash, *, dry_run: bool = False) -> tuple[Any, Any]:
    """Return the task that plans, and the context of a run that carries the build."""
    wanted = rdo.promotion(build)
    fields = dataclasses.fields(wanted)
    coordinates = {field.name: getattr(wanted, field.name) for field in fields if field.name != "build"}
    task = PlanOperator(
        task_id="plan",
        services=rdo,
        coordinates=coordinates,
        group="upstream.promote",
        made_from=MadeFrom("releases/master.yaml", "0" * 64),
    )
    here = context(Ti(), dry_run=dry_run)
    here["ti"].pulled = {("source.build", "build"): json.dumps(build.to_json())}
    return task, here


def test_11_a_dry_run_prints_every_change_and_makes_none(
    rdo: Spoilt, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run did not say what would be promoted."""
    old, new = rdo.candidates()
    for build in (old, new):
        rdo.ci_builds(build)
    rdo.promote(old)
    before, tags = everything(rdo), rdo.tags(new.full_hash)["rdo"]
    task, here = plan_task(rdo, new, dry_run=True)
    with pytest.raises(AirflowSkipException, match="nothing was changed"):
        task.execute(here)
    assert everything(rdo) == before
    said = capsys.readouterr().out
    expected = [
        *(f"{name}: copy {c}:{new.full_hash} {tags[c]}" for name in PUSH_TO for c in CONTAINERS),
        *(f"rh1: copy {new.full_hash}/{image} md5 " for image in IMAGES),
        *(f"{name}: tag {c}:{rdo.label} " for name in ("rdo", *PUSH_TO) for c in CONTAINERS),
        f"images: link previous-{rdo.label} nothing -> {old.full_hash}",
        f"images: link {rdo.label} {old.full_hash} -> {new.full_hash}",
        f"rh1: link previous-{rdo.label} nothing -> {old.full_hash}",
        f"rh1: link {rdo.label} {old.full_hash} -> {new.full_hash}",
        f"DLRN: previous-{rdo.label} nothing -> {old.full_hash}",
        f"DLRN: {rdo.label} {old.full_hash} -> {new.full_hash}",
    ]
    for line in expected:
        assert said.count(line) == 1, line
    assert len(here["ti"].pushed["dry_run"]["changes"]) == len(expected), "and nothing else"
    rdo.promote(new)
    assert rdo.state() == promoted(rdo, new, old)


def test_11_a_dry_run_says_what_would_be_refused(rdo: Spoilt, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run did not say what would be promoted."""
    (build,) = rdo.candidates(1)
    rdo.ci_builds(build)
    (rdo.image_root / build.full_hash / IMAGES[0]).unlink()
    before = everything(rdo)
    task, here = plan_task(rdo, build, dry_run=True)
    with pytest.raises(AirflowSkipException, match="refused for 1 problem"):
        task.execute(here)
    assert (
        f"would be refused: image server images: {build.full_hash}/{IMAGES[0]} does not"
        in capsys.readouterr().out
    )
    assert everything(rdo) == before


def test_11_a_promotion_that_fails_is_a_failure(rdo: Spoilt, monkeypatch: pytest.MonkeyPatch) -> None:
    """A promotion that failed was a line in the log, and the script exited with 0."""
    (build,) = rdo.candidates(1)
    task, here = plan_task(rdo, build)
    monkeypatch.setattr(task, "guard", lambda _: None)
    with pytest.raises(AirflowFailException, match="is refused, nothing was changed"):
        task.execute(here)


def test_11_the_command_line_does_not_exit_with_0_for_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script exited with 0 whatever had happened."""
    good, bad = write(tmp_path), write(tmp_path, changed("release: good", "release: Bad"), name="bad.yaml")
    assert main(["validate", str(good)]) == 0
    assert main(["validate", str(good), str(bad)]) == 1
    with pytest.raises(SystemExit) as left:
        main(["validate", "nowhere.yaml"])
    assert left.value.code == 2
    assert "'Bad' cannot be part of a Dag id" in capsys.readouterr().err
