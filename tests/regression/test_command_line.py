"""Fault 11 of the script before this package, on the command line: silence, and success for failures."""

from __future__ import annotations

import pytest

from tests.bad_input.world import everything
from tests.cli.desk import Desk
from tests.engine.rdo import CONTAINERS, IMAGES, PUSH_TO

pytestmark = pytest.mark.lab


def test_11_what_would_change_is_printed_and_nothing_changes_unasked(desk: Desk) -> None:
    """A dry run did not say what would be promoted."""
    (build,) = desk.tested(1)
    tags, before = desk.rdo.tags(build.full_hash)["rdo"], everything(desk.rdo)
    said = desk.promote(build, code=0)
    assert everything(desk.rdo) == before
    for container in CONTAINERS:
        for name in PUSH_TO:
            assert said.count(f"{name}: copy {container}:{build.full_hash} {tags[container]}\n") == 1
        for name in ("rdo", *PUSH_TO):
            assert said.count(f"{name}: tag {container}:{desk.rdo.label} nothing -> {tags[container]}\n") == 1
    assert said.count(f"images: link {desk.rdo.label} nothing -> {build.full_hash}\n") == 1
    assert said.count(f"DLRN: {desk.rdo.label} nothing -> {build.full_hash}\n") == 1


def test_11_what_failed_does_not_exit_with_0(desk: Desk) -> None:
    """A promotion that failed exited with 0, so that nothing that called the script ever noticed."""
    (build,) = desk.tested(1)
    image = desk.rdo.image_root / build.full_hash / IMAGES[0]
    content = image.read_bytes()
    image.unlink()
    before = everything(desk.rdo)
    for words in ((), ("--no-dry-run",)):
        assert f"{IMAGES[0]} does not exist" in desk.promote(build, *words, code=1)
    assert everything(desk.rdo) == before
    image.write_bytes(content)
    before = everything(desk.rdo)
    desk.connection("dlrn_centos7_master", login="reader", password=desk.lab.dlrn.reader_password)
    assert "user 'reader' is not allowed to do this" in desk.promote(build, "--no-dry-run", code=1)
    assert everything(desk.rdo) == before
    desk.connection("dlrn_centos7_master", login="promoter", password=desk.lab.dlrn.password)
    desk.run("promote", desk.name, "--no-such-option", code=2)
    desk.promote(build, "--no-dry-run", code=0)
    assert desk.rdo.state().label == build.full_hash
