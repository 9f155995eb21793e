"""The reviewed file of waivers: what it may hold, and what is said about mistakes in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rdo_promoter.errors import ConfigError, ServiceError
from rdo_promoter.files.folder import ENVIRONMENT
from rdo_promoter.files.waivers import read_waivers
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.model.waivers import Waiver
from rdo_promoter.release import load_release
from tests.unit.releases import write

HASH = f"{'a' * 40}_{'b' * 8}"
ONE = f"""- job: standalone
  hash: {HASH}
  reason: https://bugs.example.org/1
  by: ada
  expires: 2019-03-14T15:09:26Z
"""
ALL = ONE.replace(f"hash: {HASH}", "every_hash: true")


def read(tmp_path: Path, text: str) -> tuple[Waiver, ...]:
    path = tmp_path / "waivers.yaml"
    path.write_text(text)
    return read_waivers(path, "waivers.yaml")


def test_what_a_waiver_says(tmp_path: Path) -> None:
    one, every = read(tmp_path, ONE + ALL)
    assert one == Waiver(
        job="standalone",
        full_hash=HASH,
        reason="https://bugs.example.org/1",
        by="ada",
        expires=1_552_576_166,
        origin="waivers.yaml:1",
    )
    assert (every.full_hash, every.origin) == (None, "waivers.yaml:6")


@pytest.mark.parametrize("text", ["", "[]\n", "# none at the moment\n"])
def test_no_waivers(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == ()


@pytest.mark.parametrize(
    "time", ["2019-03-14T15:09:26Z", "2019-03-14 16:09:26+01:00", "2019-03-14T15:09:26+0000"]
)
def test_times_have_a_zone(tmp_path: Path, time: str) -> None:
    (waiver,) = read(tmp_path, ONE.replace("2019-03-14T15:09:26Z", time))
    assert waiver.expires == 1_552_576_166


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job: x\n", "waivers.yaml:1: no list: write one waiver a list item"),
        ("- x\n", "waivers.yaml:1: [0]: no waiver: write `job:`"),
        (ONE.replace("job: standalone", "jobs: standalone"), "[0].jobs: unknown key; known: job, hash"),
        (ONE.replace("job: standalone\n  ", ""), "waivers.yaml:1: [0]: `job:` is missing"),
        (ONE.replace("ada", "''"), "waivers.yaml:4: [0].by: `by:` is missing: write who decided it"),
        (ONE.replace("reason: https://bugs.example.org/1", "reason:"), "write the link of a bug"),
        (ONE.replace(HASH, "abc"), "waivers.yaml:2: [0].hash: 'abc' is no full hash"),
        (ONE.replace(f"hash: {HASH}", "every_hash: yes please"), "write `every_hash: true`"),
        (ONE.replace(f"  hash: {HASH}\n", ""), "says which builds: write one"),
        (ONE + "  every_hash: true\n", "says which builds: write one"),
        (ONE.replace("15:09:26Z", "15:09:26"), "'2019-03-14T15:09:26' is no time: write date, time and time"),
        (ONE.replace("2019-03-14T15:09:26Z", "2019-13-14T15:09Z"), "is no time"),
        (ONE.replace("2019-03-14T15:09:26Z", "tomorrow"), "'tomorrow' is no time"),
        (ONE.replace("2019-03-14T15:09:26Z", "2019-03-14"), "is no time"),
        (ONE.replace("  by: ada", "  by: ada\n  by: bob"), "written twice, in lines 4 and 5: keep one"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        read(tmp_path, text)


def test_a_release_names_its_file_and_is_broken_with_it(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text() + "waivers: waivers/good.yaml\n")
    with pytest.raises(ConfigError, match=r"good\.yaml:\d+: waivers: .*waivers/good\.yaml: cannot be read"):
        load_release(path)
    reviewed = path.parent / "waivers" / "good.yaml"
    reviewed.parent.mkdir()
    reviewed.write_text("- x\n")
    with pytest.raises(ConfigError, match=r"waivers/good\.yaml:1: \[0\]: no waiver"):
        load_release(path)
    reviewed.write_text(ONE)
    assert load_release(path).waivers == "waivers/good.yaml"
    path.write_text(path.read_text().replace("waivers/good.yaml", "../secrets.yaml"))
    with pytest.raises(ConfigError, match="is no file of waivers"):
        load_release(path)


def test_what_waits_reads_the_file_anew_and_survives_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    monkeypatch.setenv("RDO_PROMOTER_LEDGER", str(tmp_path / "ledger"))
    (tmp_path / "ledger").mkdir()
    (tmp_path / "w.yaml").write_text("")
    reader = DecisionsReader("centos9-good", "w.yaml")
    assert reader.read().waivers == ()
    (tmp_path / "w.yaml").write_text(ONE)
    assert [waiver.job for waiver in reader.read().waivers] == ["standalone"]
    (tmp_path / "w.yaml").write_text("- x")
    with pytest.raises(ServiceError, match=r"the reviewed waivers cannot be used: .*w\.yaml:1"):
        reader.read()
