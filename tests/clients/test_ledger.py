"""The ledger on a real folder, and on a file system that is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rdo_promoter
from rdo_promoter.clients.ledger import Ledger
from rdo_promoter.clients.ledger_store import RemoteRoot
from rdo_promoter.errors import AnswerError, ConfigError, ServiceError
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.hooks.ledger import DEFAULT, ENVIRONMENT, ledger
from rdo_promoter.model.decisions import Doomed, Lifted, MarkedBad
from rdo_promoter.model.ledger import Fact, unfinished
from rdo_promoter.model.promotions import PromotionRow
from tests.unit.test_ledger import facts, given_up, planned, promoted

Place = Path | RemoteRoot
PLAN, DONE = planned(1, 1_000), promoted(1, 1_100, timestamp=1_050)

#: What may find the ledger unreachable.
USES = (lambda book: book.append(PLAN), lambda book: book.facts())


@pytest.fixture(params=["folder", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A root that can be written to: a folder, the same by a URL, and an object store in memory."""
    if request.param == "folder":
        yield tmp_path
        return
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

    attach("memory", fs=MemoryFileSystem())
    bucket = f"/bucket-{uuid.uuid4().hex}"
    MemoryFileSystem.pseudo_dirs.append(bucket)
    yield ObjectStoragePath(f"file://{tmp_path}" if request.param == "file" else f"memory:/{bucket}/ledger")
    for path in [path for path in MemoryFileSystem.store if path.startswith(bucket)]:
        del MemoryFileSystem.store[path]


def test_facts_are_found_again(place: Place) -> None:
    book = Ledger(place)
    assert book.facts() == book.facts("centos7-master") == book.facts(label="current-tripleo") == []
    other = replace(PLAN, label="current-tripleo-rdo")
    elsewhere = replace(PLAN, dag_id="centos7-pike", at=900)
    for fact in (PLAN, DONE, other, elsewhere):
        assert book.append(fact) == f"{fact.dag_id}/{fact.label}/{fact.name}"
    # What another process would find.
    book = Ledger(place)
    assert book.facts("centos7-master", "current-tripleo") == [PLAN, DONE]
    assert set(book.facts("centos7-master")) == {PLAN, DONE, other}
    assert set(book.facts(label="current-tripleo")) == {PLAN, DONE, elsewhere}
    assert book.facts()[0] == elsewhere
    assert set(book.facts()) == {PLAN, DONE, other, elsewhere}
    assert book.facts("centos7-queens") == book.facts("centos7-master", "current-podified") == []


def test_done_twice_it_writes_nothing_new(place: Place) -> None:
    book = Ledger(place)
    first = [book.append(PLAN), book.append(DONE)]
    again = replace(DONE, at=DONE.at + 60, by="somebody@host", via="command line")
    assert [book.append(PLAN), book.append(again)] == first
    assert book.facts() == [PLAN, DONE]


def test_what_was_mended_after_a_promotion_closes_its_plan(place: Place) -> None:
    book = Ledger(place)
    book.append(DONE)
    mending = replace(PLAN, at=DONE.at + 10)
    book.append(mending)
    assert unfinished(book.facts()) == (mending,)
    again = replace(DONE, at=DONE.at + 20)
    assert book.append(again) == book.append(replace(again, at=DONE.at + 30))
    assert unfinished(book.facts()) == ()
    assert book.facts() == [DONE, mending, again]


def test_one_labels_facts_are_read_alone(tmp_path: Path) -> None:
    book = Ledger(tmp_path)
    other = tmp_path / book.append(replace(PLAN, label="current-tripleo-rdo"))
    book.append(PLAN)
    other.write_text("{")
    assert book.facts("centos7-master", "current-tripleo") == [PLAN]
    with pytest.raises(AnswerError):
        book.facts("centos7-master")


@given(st.lists(facts, max_size=10))
def test_what_is_unfinished_is_found_without_reading_everything(history: list[Fact]) -> None:
    with TemporaryDirectory() as folder:
        book = Ledger(Path(folder))
        for fact in history:
            book.append(fact)
        assert set(book.unfinished()) == set(unfinished(book.facts()))
        for dag_id, label in {(fact.dag_id, fact.label) for fact in history}:
            assert book.unfinished(dag_id, label) == unfinished(book.facts(dag_id, label))


def test_what_a_promotion_has_closed_is_not_read_again(tmp_path: Path) -> None:
    book = Ledger(tmp_path)
    old = tmp_path / book.append(PLAN)
    book.append(DONE)
    mending = replace(PLAN, at=DONE.at + 10)
    book.append(mending)
    old.write_text("{")
    assert book.unfinished("centos7-master", "current-tripleo") == (mending,)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"holds": ["current-tripleo"]}'])
def test_a_file_that_is_no_fact_is_named(tmp_path: Path, content: str) -> None:
    book = Ledger(tmp_path)
    file = (tmp_path / book.append(PLAN)).with_name("20260101T000000Z-planned-other.json")
    file.write_text(content)
    with pytest.raises(AnswerError, match="is no fact of the ledger") as raised:
        book.facts("centos7-master", "current-tripleo")
    assert str(file) in str(raised.value)


def test_a_fact_that_was_moved_is_named(tmp_path: Path) -> None:
    book = Ledger(tmp_path)
    file = tmp_path / book.append(PLAN)
    folder = file.parent.rename(file.parent.with_name("current-podified"))
    with pytest.raises(AnswerError, match="put it back there") as raised:
        book.facts("centos7-master", "current-podified")
    assert str(folder / file.name) in str(raised.value)


def test_hidden_and_temporary_files_are_ignored(tmp_path: Path) -> None:
    book = Ledger(tmp_path)
    folder = (tmp_path / book.append(PLAN)).parent
    for name in (".hidden.json", "fact.json~", "fact.json.tmp", ".nfs000000"):
        for where in (folder, folder.parent, tmp_path):
            (where / name).write_text("{")
    assert book.facts() == [PLAN]


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_no_name_leads_out_of_the_ledger(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        Ledger(tmp_path).facts(name)
    with pytest.raises(ConfigError):
        Ledger(tmp_path).facts("centos7-master", name)


def test_two_writers_at_once(place: Place) -> None:
    plans = [replace(PLAN, by=f"run_{number}") for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(Ledger(place).append, [*plans, *plans, *[DONE] * 10]))
    # Two that write the same in the same moment may both do so; nobody writes over another's.
    assert len(set(names)) >= 21
    assert set(Ledger(place).facts()) == {*plans, DONE}


def test_a_killed_writer_leaves_no_half_fact(tmp_path: Path) -> None:
    # The file system takes its time over the draft's last bytes, and the writer dies meanwhile.
    code = """
import os, sys
from pathlib import Path
from rdo_promoter.clients.ledger import Ledger
from tests.clients.test_ledger import PLAN
def stuck(descriptor):
    print("writing", flush=True)
    sys.stdin.read()
os.fsync = stuck
Ledger(Path(sys.argv[1])).append(PLAN)
"""
    with _python(code, str(tmp_path)) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        (draft,) = (path for path in tmp_path.rglob("*") if path.is_file())
        assert draft.read_text()
        assert Ledger(tmp_path).facts() == []
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
    assert draft.exists()
    assert Ledger(tmp_path).facts() == []
    Ledger(tmp_path).append(PLAN)
    assert Ledger(tmp_path).facts() == [PLAN]


def _python(code: str, *arguments: str) -> subprocess.Popen[str]:
    project = Path(rdo_promoter.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{project / 'include'}:{project}"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _missing(folder: Path) -> None:
    folder.rmdir()


def _a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("")


@pytest.mark.parametrize("spoil", [_missing, _a_file])
@pytest.mark.parametrize("use", USES)
def test_an_unreachable_folder_is_never_an_empty_one(
    tmp_path: Path, spoil: Callable[[Path], None], use: Callable[[Ledger], object]
) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(ServiceError, match=r"create that folder once.* or mount it") as raised:
        use(Ledger(folder))
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize("file", ["centos7-master", "centos7-master/current-tripleo"])
def test_a_file_where_a_folder_should_be_is_named(place: Place, file: str) -> None:
    stray = place / file  # type: ignore[operator]
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("")
    with pytest.raises(AnswerError, match=f"the ledger has the folder .*/{file}: move it away"):
        Ledger(place).facts()


def test_what_cannot_be_a_dags_folder_is_passed_over(tmp_path: Path) -> None:
    book = Ledger(tmp_path)
    book.append(PLAN)
    (tmp_path / "lost+found").mkdir(mode=0)
    assert book.dag_ids() == ["centos7-master"]
    assert book.facts() == [PLAN]


def test_the_order_of_writing_counts_when_dlrns_clock_was_set_back(place: Place) -> None:
    book = Ledger(place)
    ahead = replace(DONE, at=DONE.at + 3600)
    book.append(ahead)
    after = [planned(2, DONE.at + 10), planned(3, DONE.at + 20)]
    for plan in after:
        book.append(plan)
    book = Ledger(place)
    assert book.facts() == [ahead, *after]
    assert book.unfinished() == tuple(after)
    book.append(promoted(3, DONE.at + 30))
    assert book.unfinished() == ()


def test_another_builds_promotion_in_the_moment_of_a_plan_does_not_end_it(tmp_path: Path) -> None:
    """Its writer could not see the plan."""
    book = Ledger(tmp_path)
    book.append(PLAN)
    other = promoted(2, PLAN.at)
    (tmp_path.joinpath(*other.folder) / other.name).write_text(json.dumps(other.to_json()))
    assert book.facts() == [other, PLAN]
    assert book.unfinished() == (PLAN,)


def test_a_plan_that_was_given_up_is_over(place: Place) -> None:
    book = Ledger(place)
    book.append(PLAN)
    assert book.append(given_up(PLAN)) == book.append(given_up(PLAN, at=PLAN.at + 99, by="somebody@host"))
    assert Ledger(place).unfinished() == ()


@pytest.mark.parametrize("use", USES)
def test_an_unreachable_store_is_never_an_empty_one(use: Callable[[Ledger], object]) -> None:
    from upath import UPath

    place = UPath(f"memory://bucket-{uuid.uuid4().hex}/ledger")
    place.parent.mkdir()
    place.write_bytes(b"a file, where the folder should be")
    with pytest.raises(ServiceError, match="cannot be used"):
        use(Ledger(place))
    with pytest.raises(ServiceError, match="cannot be used"):
        use(Ledger(UPath(f"memory://nowhere-{uuid.uuid4().hex}/ledger")))


def test_the_environment_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    ledger().append(PLAN)
    monkeypatch.setenv(ENVIRONMENT, f"file://{tmp_path}")
    assert ledger().facts() == [PLAN]
    monkeypatch.delenv(ENVIRONMENT)
    assert ledger().where == f"{os.environ['AIRFLOW_HOME']}/{DEFAULT}"
    assert isinstance(ledger().facts(), list)


def test_a_connections_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DISK", json.dumps({"conn_type": "fs"}))
    monkeypatch.setenv(ENVIRONMENT, f"file://disk@{tmp_path}")
    ledger().append(PLAN)
    assert Ledger(tmp_path).facts() == [PLAN]


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ("ledger", ConfigError, "write the whole path"),
        ("s3://user:hunter2@bucket/ledger", ConfigError, "holds a login: name an Airflow Connection"),
        ("s3://user:x/hunter2@bucket/ledger", ConfigError, "holds a login: name an Airflow Connection"),
        ("s3://user:x#hunter2@bucket/ledger", ConfigError, "holds a login: name an Airflow Connection"),
        ("s3://user:x?hunter2@bucket/ledger", ConfigError, "holds a login: name an Airflow Connection"),
        ("s3://user:x@hunter2@bucket/ledger", ConfigError, "holds a login: name an Airflow Connection"),
        ("s4://bucket/ledger", ServiceError, "whether the provider of its scheme is installed"),
    ],
)
def test_places_that_cannot_be_used(
    named: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, named)
    with pytest.raises(error, match=said) as raised:
        ledger()
    assert "hunter2" not in str(raised.value)


def test_decisions_lie_beside_the_facts_and_are_read_once(tmp_path: Path) -> None:
    writer, reader = Ledger(tmp_path), Ledger(tmp_path)
    common: dict[str, Any] = {"dag_id": "centos7-master", "by": "ada", "via": "airflow", "reason": "bug 1"}
    assert reader.decisions("centos7-master") == []
    mark = MarkedBad(**common, at=10, full_hash="a" * 40 + "_11111111")
    name = writer.append(mark)
    assert name == f"centos7-master/@decisions/{mark.name}"
    assert writer.append(mark) == name
    lifted = Lifted(**common, at=20, lifts=mark.name)
    assert reader.decisions("centos7-master") == [mark]
    writer.append(lifted)
    (tmp_path / name).chmod(0)
    (tmp_path / name).write_text("no longer read")
    assert reader.decisions("centos7-master") == [mark, lifted]
    assert reader.decisions("centos7-other") == []
    assert reader.facts() == []
    assert reader.unfinished() == ()


def test_doom_is_written_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    common: dict[str, Any] = {"dag_id": "centos7-master", "via": "airflow", "reason": "standalone failed"}
    fields: dict[str, Any] = {"full_hash": "a" * 40 + "_11111111", "task_id": "upstream.tests.gate"}
    first = ledger.append(Doomed(**common, **fields, at=10, by="run 1"))
    assert ledger.append(Doomed(**common, **fields, at=20, by="run 2")) == first
    assert len(ledger.decisions("centos7-master")) == 1


def test_facts_and_decisions_never_mix(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    common: dict[str, Any] = {"dag_id": "centos7-master", "by": "ada", "via": "airflow", "reason": "bug 1"}
    name = ledger.append(MarkedBad(**common, at=10, full_hash="a" * 40 + "_11111111"))
    astray = tmp_path / "centos7-master" / "current-tripleo"
    astray.mkdir()
    (tmp_path / name).rename(astray / Path(name).name)
    with pytest.raises(AnswerError, match="facts never move"):
        ledger.facts("centos7-master")


def test_the_first_promotion_of_a_row_is_found_without_reading_others(place: Place) -> None:
    book = Ledger(place)
    row = PromotionRow(DONE.label, DONE.build, DONE.timestamp)
    assert book.promoted(row, DONE.dag_id) is None
    book.append(PLAN)
    book.append(DONE)
    book.append(promoted(1, 1_500, timestamp=1_400))
    # What was mended since, by another file.
    book.append(replace(PLAN, at=1_200))
    book.append(replace(DONE, at=1_300, file="another.yaml"))
    assert book.promoted(row, DONE.dag_id) == DONE
    assert book.promoted(row, "centos7-pike") is None
    assert book.promoted(replace(row, timestamp=1_051), DONE.dag_id) is None


def test_what_was_decided_later_counts_for_nothing_when_that_is_asked(tmp_path: Path) -> None:
    book = Ledger(tmp_path)
    common: Any = {"dag_id": "centos7-master", "by": "ada", "via": "airflow", "reason": "it is bad"}
    marks = [MarkedBad(at=at, full_hash=f"{at:040x}_11111111", **common) for at in (1_000, 2_000)]
    for mark in marks:
        book.append(mark)
    book.append(Lifted(at=3_000, lifts=marks[0].name, **common))
    reader = DecisionsReader("centos7-master", book=book)
    assert reader.read(until=999).bad == ()
    assert reader.read(until=1_000).bad == (marks[0],)
    assert reader.read(until=2_999).bad == tuple(marks)
    assert reader.read().bad == (marks[1],)
