"""A copy that was interrupted anywhere: the next try goes on, and believes only what it compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.service import Service
from rdo_promoter.clients import sftp_files
from rdo_promoter.clients.image_copy import copy_image
from rdo_promoter.errors import ServiceError
from tests.clients.pair_fixtures import (
    WINDOW,
    Pair,
    after_window,
    logged_in,
    names,
    new_pair,
    part,
    some,
    two_sshds,
)
from tests.clients.sshd_fixtures import IMAGE, NEW, kill_sessions

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def sshds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Service]]:
    with two_sshds(tmp_path_factory) as running:
        yield running


@pytest.fixture
def pair(sshds: dict[Path, Service]) -> Iterator[Pair]:
    with new_pair(sshds) as pair:
        yield pair


def copied_anew(pair: Pair, md5: str) -> int:
    """Copy with new connections, as the next try does; return the bytes that stayed of the one before."""
    stayed: list[int] = []
    resume = sftp_files.resume

    def noted(*args: Any) -> tuple[int, int]:
        written = resume(*args)
        stayed.append(written[1])
        return written

    with logged_in(pair.images, pair.rh1) as anew, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sftp_files, "resume", noted)
        copy_image(anew.source, anew.mirror, NEW, IMAGE, md5)
    return stayed[0]


@pytest.mark.parametrize("windows", [1, 2, 3, 4], ids=lambda number: f"window {number}")
@pytest.mark.parametrize("end", ["images", "rh1"])
def test_killed_in_the_middle_of_a_file_the_next_try_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, end: str, windows: int
) -> None:
    content = some(3 * WINDOW + 1)
    md5 = pair.upload(NEW, content)
    with monkeypatch.context() as patch:
        after_window(patch, windows, lambda: kill_sessions(getattr(pair, end).service))
        with pytest.raises(ServiceError):
            copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert names(pair.held(NEW)) == [part(md5)]
    left = (pair.held(NEW) / part(md5)).stat()
    # Of the window that was on its way some chunks may have arrived.
    assert (windows - 1) * WINDOW <= left.st_size <= len(content)
    whole = left.st_size == len(content)
    assert copied_anew(pair, md5) == (len(content) if whole else left.st_size // WINDOW * WINDOW)
    assert (pair.held(NEW) / IMAGE).read_bytes() == content
    assert (pair.held(NEW) / IMAGE).stat().st_ino == left.st_ino
    assert names(pair.held(NEW)) == [IMAGE, f"{IMAGE}.md5"]


@pytest.mark.parametrize(
    ("left", "stays"),
    [
        (lambda content: content[: 2 * WINDOW + 1], 2 * WINDOW),
        (lambda content: content[: WINDOW + 1] + bytes(WINDOW), WINDOW),
        (lambda _: bytes(3 * WINDOW), 0),
        (lambda _: b"", 0),
        (lambda content: content, 3 * WINDOW + 1),
        (lambda content: content + bytes(2 * WINDOW), 3 * WINDOW),
    ],
    ids=["in a window", "zeros behind", "zeros", "nothing", "all", "more than all"],
)
def test_what_an_earlier_try_left_is_compared_before_it_stays(
    pair: Pair, left: Callable[[bytes], bytes], stays: int
) -> None:
    """A machine that died may have given a file its length, but not its bytes."""
    md5 = pair.upload(NEW, content := some(3 * WINDOW + 1))
    pair.held(NEW).mkdir(parents=True)
    (pair.held(NEW) / part(md5)).write_bytes(left(content))
    assert copied_anew(pair, md5) == stays
    assert (pair.held(NEW) / IMAGE).read_bytes() == content
    assert names(pair.held(NEW)) == [IMAGE, f"{IMAGE}.md5"]


def test_what_was_left_of_other_content_goes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = pair.upload(NEW, some(3 * WINDOW))
    with monkeypatch.context() as patch:
        after_window(patch, 1, lambda: kill_sessions(pair.images.service))
        with pytest.raises(ServiceError):
            copy_image(pair.source, pair.mirror, NEW, IMAGE, md5)
    assert names(pair.held(NEW)) == [part(md5)]
    again = pair.upload(NEW, content := some(3 * WINDOW, 1))
    assert copied_anew(pair, again) == 0
    assert (pair.held(NEW) / IMAGE).read_bytes() == content
    assert names(pair.held(NEW)) == [IMAGE, f"{IMAGE}.md5"]
