"""Each mistake in a release file is refused with its line, its key and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdo_promoter.release import load_release
from tests.bad_input.release_bytes import BYTES
from tests.bad_input.release_lists import LISTS
from tests.bad_input.release_references import CROSS
from tests.bad_input.release_values import CANDIDATE, PHASE1, SHAPE, UPSTREAM, Mistake
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
        ["releases/good.yaml:24", f"{UPSTREAM}[1].tag_containers.tag"],
        ["releases/good.yaml:25", f"{UPSTREAM}[2].push_containers.tag"],
        ["releases/good.yaml:26", f"{UPSTREAM}[3].wait_for"],
    ]
    assert "put `- candidate: {label: ...}` first" in found[0]


def test_a_label_that_is_both_kinds_is_refused_where_it_is_promoted(tmp_path: Path) -> None:
    *tags, label = problems(write(tmp_path, changed("label: ci-testing", "label: current-good")))
    assert label.startswith(f"releases/good.yaml:35: {UPSTREAM}[5].promote.label: ")
    assert "'current-good' is a candidate label" in label
    assert len(tags) == 2


def test_images_that_nobody_links_are_refused_with_their_server(tmp_path: Path) -> None:
    assert [
        line.split(": ")[1] for line in problems(write(tmp_path, changed(", link_on: [images]", "")))
    ] == [
        "image_servers.images",
        "images",
    ]


def test_a_zuul_that_tests_no_stage_is_refused(tmp_path: Path) -> None:
    zuul = "zuul: {connection: zuul_rdo, pipeline: x}\nstages:\n"
    text = (
        changed("stages:\n", zuul)
        .replace(CANDIDATE, "")
        .replace("source: consistent", "source: current-good")
    )
    found = [line for line in problems(write(tmp_path, text)) if " zuul: " in line]
    assert len(found) == 1
    assert found[0].startswith("releases/good.yaml:19: zuul: no stage has a pipeline: add `pipeline:` to one")


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


@pytest.mark.parametrize(("data", "said"), BYTES.values(), ids=BYTES)
def test_what_is_no_release_at_all_is_refused_in_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = write(tmp_path)
    path.write_bytes(data)
    (found,) = problems(path)
    assert f"{found}\n".startswith(f"releases/{said}")


@pytest.mark.parametrize(
    "text",
    [f"\ufeff{GOOD}", GOOD.replace("\n", "\r\n"), changed("release: good", "release:\tgood  # g\u00fct")],
    ids=["byte order mark", "Windows", "tab between"],
)
def test_what_editors_do_to_a_file_is_no_mistake(tmp_path: Path, text: str) -> None:
    path = write(tmp_path)
    path.write_bytes(text.encode())
    assert load_release(path).dag_id == "centos9-good"


def test_an_alias_stands_for_what_its_anchor_names(tmp_path: Path) -> None:
    text = changed("label: current-good, tag_in", "label: &l current-good, tag_in")
    text = text.replace("source: current-good\n", "source: *l\n")
    assert load_release(write(tmp_path, text)).stages[1].source == "current-good"


def test_whatever_stands_in_a_file_a_problem_is_a_line_of_bounded_length(tmp_path: Path) -> None:
    (found,) = problems(write(tmp_path, changed("release: good", f"release: {'good' * 500_000}")))
    assert len(found) <= 1500
    assert found.startswith("releases/good.yaml:1: release: 'goodgood")
    assert found.endswith("use lower-case letters, digits, '.' and '-', at most 40")


@pytest.mark.parametrize(("text", "found"), LISTS)
def test_a_list_of_containers_that_cannot_be_used_says_where(
    tmp_path: Path, text: str, found: list[str]
) -> None:
    path = write(tmp_path, changed("exclude: [ceph/daemon]", "exclude: []"))
    (path.parent / "containers" / "good.yaml").write_text(text)
    said = problems(path)
    assert len(said) == len(found)
    for line, beginning in zip(said, found, strict=True):
        assert line.startswith(f"releases/containers/good.yaml:{beginning}")


def test_an_exclusion_of_nothing_is_refused_in_the_release_file(tmp_path: Path) -> None:
    found = problems(write(tmp_path, changed("exclude: [ceph/daemon]", "exclude: [daemon, kestone, x/y]")))
    assert [line.removeprefix("releases/good.yaml:17: containers.exclude") for line in found] == [
        "[1]: 'kestone' is not in the list: did you mean 'keystone'?",
        "[2]: 'x/y' is not in the list: remove it",
    ]


def test_a_line_break_in_a_list_of_containers_breaks_no_line(tmp_path: Path) -> None:
    path = write(tmp_path, changed("exclude: [ceph/daemon]", "exclude: []"))
    (path.parent / "containers" / "good.yaml").write_text('[nova-api, "a\\nb/daemon"]\n')
    (found,) = problems(path)
    assert found.startswith("releases/containers/good.yaml:1: [1]: 'daemon' does not begin with the prefix")
    assert found.endswith(r"(exclude: [a\nb/daemon])")


def test_a_thousand_problems_are_told_as_fifty(tmp_path: Path) -> None:
    found = problems(write(tmp_path, GOOD + "".join(f"key{n}: 1\n" for n in range(1000))))
    assert len(found) == 51
    assert found[0].startswith("releases/good.yaml:43: key0: unknown key")
    assert found[-1] == "releases/good.yaml: and 950 more problems: mend these first"
