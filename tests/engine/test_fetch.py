"""Phase 2 on real services: the images of phase 1 on an internal server, and the promotion behind them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from lab import dlrn as lab_dlrn
from lab.lab import Lab
from rdo_promoter.clients import image_room, sftp_files
from rdo_promoter.clients.image_server import ImageServer
from rdo_promoter.clients.ssh import connect
from rdo_promoter.engine import fetch as engine
from rdo_promoter.engine import promote
from rdo_promoter.engine.fetch import Fetch, fetch, look
from rdo_promoter.errors import AnswerError, PreflightError, ServiceError
from rdo_promoter.model import retention
from rdo_promoter.model.build import Build, DlrnHash
from rdo_promoter.model.layout import BY_HASH
from rdo_promoter.model.promotion import Promotion
from rdo_promoter.operators.images import FetchImagesOperator
from tests.engine.rdo import IMAGES, Rdo
from tests.engine.test_mirror import hang_up

pytestmark = pytest.mark.lab

#: What CI uploads, and what is built from it internally.
CENTOS, RHEL = IMAGES[0], "overcloud-full-rhel.tar"


@dataclass(frozen=True)
class Internal(Rdo):
    """A corner with a server of ours, whose folders are named as those that CI uploads to."""

    @property
    def cache(self) -> Path:
        return self.lab.mirror.images / self.namespace_ / "ci-images"

    @contextmanager
    def server(self, name: str) -> Iterator[ImageServer]:
        if name != "internal":
            with super().server(name) as server:
                yield server
            return
        facts = self.lab.mirror
        with connect(
            facts.host, facts.port, facts.username, key_file=facts.key_file, host_key=facts.host_key
        ) as sftp:
            yield ImageServer(sftp, root=str(self.cache), name=name, layout=BY_HASH)

    def uploaded(self, build: Build, image: str = CENTOS) -> bytes:
        return (self.image_root / build.full_hash / image).read_bytes()

    def names(self, build: Build) -> list[str]:
        """Return what is in the build's folder on our server."""
        return sorted(entry.name for entry in (self.cache / build.full_hash).iterdir())

    def aged(self, build: DlrnHash, hours: int, *files: str) -> Path:
        """Put a build of the past on our server."""
        folder = self.cache / build.full_hash
        folder.mkdir()
        for file in files or (CENTOS, f"{CENTOS}.md5"):
            (folder / file).write_text("old")
        then = time.time() - 3600 * hours
        os.utime(folder, (then, then))
        return folder


@pytest.fixture
def rdo(lab: Lab, namespace: str) -> Iterator[Internal]:
    with lab.dlrn_client() as dlrn:
        internal = Internal(lab, namespace, dlrn)
        internal.cache.mkdir(parents=True)
        yield internal


@pytest.fixture(scope="module")
def build(lab: Lab) -> DlrnHash:
    """A build for these tests, each of which has folders of its own."""
    return lab_dlrn.add_build(lab.root, when=int(time.time()))


@pytest.fixture
def wanted(rdo: Internal, build: DlrnHash) -> Fetch:
    rdo.ci_images(build)
    return Fetch(build, "images", "internal", (CENTOS,), known=(*IMAGES, RHEL))


def others(count: int) -> list[DlrnHash]:
    """Return builds that DLRN need not know."""
    return [DlrnHash(f"{number:040x}", f"{number + 7:040x}") for number in range(1, count + 1)]


# --- the copy --------------------------------------------------------------------------------------------


def test_images_arrive_whole_with_their_md5_and_once(rdo: Internal, wanted: Fetch, build: DlrnHash) -> None:
    assert look(wanted, rdo).size == len(rdo.uploaded(build))
    assert not (rdo.cache / build.full_hash).exists()
    done = fetch(wanted, rdo)
    assert (done.copied, done.already, done.size) == ((CENTOS,), 0, len(rdo.uploaded(build)))
    assert (rdo.cache / build.full_hash / CENTOS).read_bytes() == rdo.uploaded(build)
    md5 = hashlib.md5(rdo.uploaded(build)).hexdigest()
    assert (rdo.cache / build.full_hash / f"{CENTOS}.md5").read_text() == f"{md5}  {CENTOS}\n"
    assert rdo.names(build) == [CENTOS, f"{CENTOS}.md5"]
    again = fetch(wanted, rdo)
    assert (again.copied, again.already, again.size, again.notes) == ((), 1, 0, ())


# paramiko's thread that asks for the rest of a window raises, too, and nobody hears it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_copy_that_was_cut_off_needs_room_only_for_the_rest(
    rdo: Internal, wanted: Fetch, build: DlrnHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume = sftp_files.resume

    def cut(sftp: Any, path: str, content: Any) -> tuple[int, int]:
        def interrupted() -> Iterator[Any]:
            for number, window in enumerate(content):
                if number == 3:
                    hang_up(sftp)
                yield window

        return resume(sftp, path, interrupted())

    monkeypatch.setattr(sftp_files, "CHUNK", 2**10)
    monkeypatch.setattr(sftp_files, "WINDOW", 2**11)
    with monkeypatch.context() as patch:
        patch.setattr(sftp_files, "resume", cut)
        with pytest.raises(ServiceError):
            fetch(wanted, rdo)
    size = len(rdo.uploaded(build))
    (left,) = rdo.names(build)
    assert sftp_files.TEMPORARY.fullmatch(left)
    assert look(wanted, rdo).size == size - 3 * 2**11
    assert fetch(wanted, rdo).copied == (CENTOS,)
    assert (rdo.cache / build.full_hash / CENTOS).read_bytes() == rdo.uploaded(build)


def test_what_is_missing_is_told_at_once_and_nothing_is_written(
    rdo: Internal, wanted: Fetch, build: DlrnHash
) -> None:
    folder = rdo.image_root / build.full_hash
    (folder / IMAGES[1]).unlink()
    (folder / f"{CENTOS}.md5").unlink()
    rdo.cache.rmdir()
    with pytest.raises(PreflightError) as refused:
        fetch(replace(wanted, images=IMAGES), rdo)
    first, second, third = refused.value.problems
    assert first == (
        f"image server images: {build.full_hash}/{CENTOS} has no .md5 file; let the image job upload it again"
    )
    assert f"{IMAGES[1]} does not exist; let the image job upload it again" in second
    assert third == (
        f"image server internal: folder {rdo.cache} does not exist; make it, owned by the login of the "
        "Connection"
    )
    assert not rdo.cache.exists()


def test_too_little_room_is_refused_before_anything_is_written(
    rdo: Internal, wanted: Fetch, build: DlrnHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = rdo.aged(others(1)[0], 9)
    monkeypatch.setattr(engine, "MARGIN", 2**60)
    with pytest.raises(PreflightError, match="is refused, nothing was changed") as refused:
        fetch(wanted, rdo)
    (problem,) = refused.value.problems
    assert problem.startswith(f"image server internal: {rdo.cache} has room for ")
    assert f"{len(rdo.uploaded(build))} are left to copy and {2**60} are to stay free; make room" in problem
    assert [entry.name for entry in rdo.cache.iterdir()] == [old.name]


def test_old_builds_make_room_first(
    rdo: Internal, wanted: Fetch, build: DlrnHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = rdo.aged(others(1)[0], 9)

    def room(_: object) -> int:
        return 0 if old.exists() else 2**60

    monkeypatch.setattr(engine, "free_space", room)
    done = fetch(replace(wanted, keep=1), rdo)
    assert (done.copied, done.removed) == ((CENTOS,), (old.name,))
    old = rdo.aged(others(1)[0], 9)
    monkeypatch.setattr(engine, "MARGIN", 2**62)
    (rdo.cache / build.full_hash / f"{CENTOS}.md5").unlink()
    with pytest.raises(PreflightError, match="is refused, 1 old builds were removed; 1 problem"):
        fetch(replace(wanted, keep=1), rdo)


def test_an_md5_that_the_target_lost_is_no_obstacle(rdo: Internal, wanted: Fetch, build: DlrnHash) -> None:
    """A machine that lost its power may have stored a name and nothing behind it."""
    fetch(wanted, rdo)
    (rdo.cache / build.full_hash / f"{CENTOS}.md5").write_text("")
    assert fetch(wanted, rdo).copied == (CENTOS,)
    assert fetch(wanted, rdo).already == 1


def test_a_server_that_does_not_tell_its_room_gets_the_images_with_a_note(
    rdo: Internal, wanted: Fetch, build: DlrnHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_room, "_STATVFS", "nothing@example.org")
    (note,) = fetch(wanted, rdo).notes
    assert note.startswith("image server internal: it does not tell how much room it has")
    assert rdo.names(build) == [CENTOS, f"{CENTOS}.md5"]


def test_other_content_than_the_source_declares_does_not_arrive(
    rdo: Internal, wanted: Fetch, build: DlrnHash
) -> None:
    (rdo.image_root / build.full_hash / CENTOS).write_bytes(rdo.uploaded(build)[:-1] + b"!")
    with pytest.raises(AnswerError, match=r"its \.md5 file says .*; let the image job upload it again"):
        fetch(wanted, rdo)
    assert rdo.names(build) == []


# --- old builds ------------------------------------------------------------------------------------------


def test_old_builds_go_but_none_that_a_link_names(rdo: Internal, wanted: Fetch, build: DlrnHash) -> None:
    oldest, older, old, young = others(4)
    for hours, each in enumerate((young, old, older, oldest), start=1):
        rdo.aged(each, hours)
    (rdo.cache / f"previous-{rdo.label}").symlink_to(oldest.full_hash)
    wanted = replace(wanted, keep=2)
    assert look(wanted, rdo).outdated == (older.full_hash, old.full_hash)
    done = fetch(wanted, rdo)
    assert (done.removed, done.notes) == ((older.full_hash, old.full_hash), ())
    left = {entry.name for entry in rdo.cache.iterdir()}
    assert left == {f"previous-{rdo.label}", *(each.full_hash for each in (oldest, young, build))}
    assert fetch(wanted, rdo).removed == ()


def test_a_carried_build_stays_however_old_it_is(rdo: Internal, wanted: Fetch, build: DlrnHash) -> None:
    fetch(wanted, rdo)
    os.utime(rdo.cache / build.full_hash, (1, 1))
    for hours, each in enumerate(others(2), start=1):
        rdo.aged(each, hours)
    assert fetch(replace(wanted, keep=1), rdo).removed == (others(2)[1].full_hash,)
    assert rdo.names(build) == [CENTOS, f"{CENTOS}.md5"]


def test_what_no_step_names_stays_and_is_told(rdo: Internal, wanted: Fetch) -> None:
    strange, known = others(2)
    rdo.aged(strange, 2, CENTOS, "notes.txt")
    rdo.aged(known, 1, CENTOS, f"{CENTOS}.md5", RHEL, f"{RHEL}.md5")
    done = fetch(replace(wanted, keep=1), rdo)
    assert done.removed == (known.full_hash,)
    (note,) = done.notes
    assert note.startswith(f"image server internal: {strange.full_hash} stays: no step names notes.txt")
    assert rdo.names(strange) == ["notes.txt", CENTOS]


def test_a_link_that_comes_to_name_an_old_build_meanwhile_saves_it(
    rdo: Internal, wanted: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = rdo.aged(others(1)[0], 1)

    def linked(*args: Any, **kwargs: Any) -> tuple[str, ...]:
        found = retention.outdated(*args, **kwargs)
        (rdo.cache / rdo.label).symlink_to(old.name)
        return found

    monkeypatch.setattr(engine, "outdated", linked)
    done = fetch(replace(wanted, keep=1), rdo)
    assert (done.copied, done.removed) == ((CENTOS,), ())
    assert done.notes == (f"image server internal: {old.name} stays: a link names it by now",)


def test_a_build_that_is_being_promoted_stays(rdo: Internal, wanted: Fetch) -> None:
    first, second = (rdo.aged(each, hours) for hours, each in enumerate(others(2), start=1))
    asked = iter([{first.name}, {first.name, second.name}])
    done = fetch(replace(wanted, keep=1), rdo, lambda: next(asked))
    assert (done.copied, done.removed) == ((CENTOS,), ())
    assert done.notes == (f"image server internal: {second.name} stays: it is being promoted by now",)


def test_what_cannot_be_cleaned_up_holds_back_no_build(
    rdo: Internal, wanted: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    rdo.aged(others(1)[0], 1)
    monkeypatch.setattr(engine, "named_by_links", partial(_refuse, "no answer"))
    done = fetch(replace(wanted, keep=1), rdo)
    assert (done.copied, done.removed, done.notes) == ((CENTOS,), (), ("no answer; no old build is removed",))


def _refuse(text: str, *_: object) -> None:
    raise ServiceError(text)


# --- the task --------------------------------------------------------------------------------------------


class Ti:
    """A task instance whose run carries a build."""

    def __init__(self, build: Build) -> None:
        self.build = build

    def xcom_pull(self, **_: object) -> str:
        return json.dumps(self.build.to_json())


def test_a_dry_run_says_what_it_would_do(
    rdo: Internal, wanted: Fetch, build: DlrnHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = rdo.aged(others(1)[0], 1)
    fields = {"source": "images", "target": "internal", "images": IMAGES, "keep": 1, "known": IMAGES}
    services: Any = rdo
    task = FetchImagesOperator(task_id="fetch", services=services, wanted=fields)
    log = Mock()
    monkeypatch.setattr(FetchImagesOperator, "log", log)
    (rdo.image_root / build.full_hash / IMAGES[1]).unlink()
    context: Any = {"ti": Ti(build), "params": {"dry_run": True}}
    result = task.act(context)
    assert result["copied"] == [CENTOS]
    assert result["notes"] == [log.warning.call_args.args[2]]
    assert result["notes"][0].startswith("would be refused: image server images: ")
    rdo.ci_images(build)
    log.reset_mock()
    result = task.act(context)
    assert (result["copied"], result["removed"], result["notes"]) == (list(IMAGES), [old.name], [])
    said = [call.args[0] % call.args[1:] for call in log.info.call_args_list]
    assert said == [
        *(f"{build.short} dry run: would copy {image} to internal" for image in IMAGES),
        f"{build.short} dry run: would remove {old.name} on internal",
    ]
    assert [entry.name for entry in rdo.cache.iterdir()] == [old.name]
    context["params"] = {}
    done = task.act(context)
    assert (done["copied"], done["already"], done["removed"]) == (list(IMAGES), 0, [old.name])


# --- a whole stage ---------------------------------------------------------------------------------------


def phase_2(rdo: Internal, build: DlrnHash) -> Promotion:
    """What the stage's promote step wants."""
    return replace(
        rdo.promotion(build),
        push_to=(),
        link_on=("images", "internal"),
        mirror_to=(),
        own_images={"internal": (CENTOS, RHEL)},
    )


def build_rhel(rdo: Internal, build: DlrnHash) -> None:
    """Do what the command does that run_ssh starts: build an image of the one that was fetched."""
    folder = rdo.cache / build.full_hash
    content = b"rhel " + (folder / CENTOS).read_bytes()
    (folder / RHEL).write_bytes(content)
    (folder / f"{RHEL}.md5").write_text(f"{hashlib.md5(content).hexdigest()}  {RHEL}\n")


def finish(rdo: Internal, wanted: Promotion) -> None:
    found = promote.preflight(wanted, rdo)
    promote.check_copies(wanted, rdo)
    promote.tag_in(wanted, rdo, "rdo", found.was)
    for name in wanted.servers:
        promote.link_on(wanted, rdo, name, found.was)
    promote.commit(wanted, rdo, found.was)
    promote.verify(wanted, rdo)


def test_phase_2_from_phase_1s_image_to_its_own_label(rdo: Internal) -> None:
    builds = rdo.candidates(3)
    for number, build in enumerate(builds):
        rdo.ci_builds(build)
        done = fetch(Fetch(build, "images", "internal", (CENTOS,), 1, (*IMAGES, RHEL)), rdo)
        # Of the builds before, what `label` and `previous-label` name stays although one is to be kept.
        assert done.removed == ()
        wanted = phase_2(rdo, build)
        with pytest.raises(PreflightError) as refused:
            promote.preflight(wanted, rdo)
        (problem,) = refused.value.problems
        assert problem.startswith(f"image server internal: {build.full_hash}/{RHEL} does not exist; let the ")
        build_rhel(rdo, build)
        image = rdo.cache / build.full_hash / RHEL
        whole = image.read_bytes()
        image.write_bytes(whole[:-1] + b"!")
        with pytest.raises(PreflightError, match=f"image server internal: {build.full_hash}/{RHEL} has md5 "):
            promote.preflight(wanted, rdo)
        image.write_bytes(whole)
        finish(rdo, wanted)
        then = time.time() - 3600 * (3 - number)
        os.utime(rdo.cache / build.full_hash, (then, then))
    oldest, previous, current = builds
    assert rdo.dlrn.current(rdo.label).build == current  # type: ignore[union-attr]
    for root in (rdo.image_root, rdo.cache):
        assert (root / rdo.label).readlink() == Path(current.full_hash)
        assert (root / f"previous-{rdo.label}").readlink() == Path(previous.full_hash)
    assert set(rdo.tags(rdo.label)["rdo"].values()) == set(rdo.tags(current.full_hash)["rdo"].values())
    assert not (rdo.image_root / current.full_hash / RHEL).exists()
    newest = rdo.build()
    rdo.ci_images(newest)
    done = fetch(Fetch(newest, "images", "internal", (CENTOS,), 1, (*IMAGES, RHEL)), rdo)
    assert (done.removed, done.notes) == ((oldest.full_hash,), ())
