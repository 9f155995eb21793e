"""Each mistake in a release file is refused with its line, its key and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.release_mismatches import CROSS
from tests.unit.release_mistakes import CANDIDATE, PHASE1, SHAPE, UPSTREAM, Mistake
from tests.unit.releases import GOOD, changed, problems, write


@pytest.mark.parametrize("mistake", SHAPE + CROSS, ids=lambda mistake: f"{mistake.key}: {mistake.said}")
def test_a_mistake_is_named(tmp_path: Path, mistake: Mistake) -> None:
    found = problems(write(tmp_path, changed(mistake.old, mistake.new)))
    assert len(found) == 1, found
    file = f"good.yaml:{mistake.line}" if mistake.line else "containers/good.yaml:5"
    assert found[0].startswith(f"releases/{file}: {mistake.key}: " if mistake.key else f"releases/{file}: ")
    assert mistake.said in found[0]


def test_all_problems_of_a_file_are_reported_at_once_in_its_order(tmp_path: Path) -> None:
    text = changed("release: good", "release: Good").replace("within: 12h", "within: 12")
    text = text.replace("{label: current-good, tag_in", "{lable: current-good, tag_in")
    assert [line.split(": ")[:2] for line in problems(write(tmp_path, text))] == [
        ["releases/good.yaml:1", "release"],
        ["releases/good.yaml:31", f"{UPSTREAM}[4].wait_for.within"],
        ["releases/good.yaml:35", f"{UPSTREAM}[5].promote.lable"],
    ]


def test_each_wait_without_a_candidate_is_named(tmp_path: Path) -> None:
    found = problems(write(tmp_path, changed(CANDIDATE, "")))
    assert [line.split(": ")[:2] for line in found] == [
        ["releases/good.yaml:23", f"{UPSTREAM}[0].wait_for"],
        ["releases/good.yaml:26", f"{UPSTREAM}[3].wait_for"],
    ]
    assert "put `- candidate: {label: ...}` first" in found[0]


def test_images_that_nobody_links_are_refused_with_their_server(tmp_path: Path) -> None:
    assert [
        line.split(": ")[1] for line in problems(write(tmp_path, changed(", link_on: [images]", "")))
    ] == [
        "image_servers.images",
        "images",
    ]


def test_containers_steps_without_containers_are_refused(tmp_path: Path) -> None:
    start, end = GOOD.index("containers:\n"), GOOD.index("images: [")
    found = problems(write(tmp_path, GOOD[:start] + GOOD[end:]))
    assert [line.split(": ")[1] for line in found] == [
        f"{UPSTREAM}[2].tag_containers",
        f"{UPSTREAM}[3].push_containers",
        f"{UPSTREAM}[5].promote.push_to",
        f"{UPSTREAM}[5].promote.tag_in",
        f"{PHASE1}[1].promote.tag_in",
    ]


def test_no_password_is_repeated(tmp_path: Path) -> None:
    found = problems(write(tmp_path, changed("https://dlrn.", "https://me:hunter2@dlrn.")))
    assert len(found) == 1
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "good.yaml:1: dlrn: missing"),
        (b"# nothing\n", "good.yaml:1: release: missing"),
        (b"- a\n", "good.yaml:1: no mapping: a release file begins with `release: <name>`"),
        (b"release: \xff\n", "good.yaml:1: byte 9 is not UTF-8"),
        (b"release: a\0b\n", "good.yaml: this is no YAML"),
        (b"a: 1\n---\nb: 2\n", "good.yaml:2: this is no YAML"),
        (b"a: " + b"[" * 1_000_000, "good.yaml:1: nested too deeply"),
        (b"release: a\n" + b"- " * 1_000_000, "good.yaml:2: "),
        (b"- " * 1_000_000, "good.yaml:1: nested too deeply"),
        (
            b"k0: &a0 x\n"
            + b"".join(b"k%d: &a%d %s*a%d%s\n" % (n, n, b"[" * 45, n - 1, b"]" * 45) for n in range(1, 30)),
            "good.yaml: nested too deeply",
        ),
        (b"#" * 5_000_000, "5000000 bytes are no release file"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in b"bcdefghi"),
            "more than 50000 values; use fewer aliases",
        ),
    ],
    ids=[
        "empty",
        "comment",
        "list",
        "latin-1",
        "nul",
        "two documents",
        "deep",
        "torn",
        "dashes",
        "alias chain",
        "large",
        "aliases",
    ],
)
def test_what_is_no_release_at_all_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path)
    path.write_bytes(data)
    assert any(message in line for line in problems(path))


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "releases" / "x.yaml"
    path.mkdir(parents=True)
    assert problems(path) == ["releases/x.yaml: cannot be read: Is a directory; check the path and its mode"]
