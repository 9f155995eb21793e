"""A label's ``delorean.repo``: what is read of it, what is refused, and what a task makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from rdo_promoter.clients.dlrn_reports import repo_file
from rdo_promoter.errors import AnswerError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.repo_file import RepoFile
from rdo_promoter.operators.repo_check import CheckRepoOperator
from tests.unit.tasks import NEW, OLD, context, made

LABEL = "current-tripleo"
TREE = "https://trunk.example.org/centos7-master"
WHERE = f"{TREE}/{LABEL}/delorean.repo"


def content(*baseurls: str) -> bytes:
    sections = (f"[delorean-{n}]\nname=x\nbaseurl={url}\nenabled=1\n" for n, url in enumerate(baseurls))
    return "\n".join(sections).encode()


def at(build: DlrnHash, md5: str | None = None) -> RepoFile:
    """What is fetched while the label names a build; its addresses need not be the tree's."""
    return repo_file(content(f"https://mirror.example.org/centos7/{build.path}/"), WHERE, md5)


@pytest.mark.parametrize(
    ("baseurls", "builds"),
    [
        ((f"{TREE}/54/48/5448_a",), ("5448_a",)),
        (("https://elsewhere.example.org/centos7/54/48/5448_a/?x=1",), ("5448_a",)),
        (
            (f"{TREE}/component/nova/54/48/5448_a", f"{TREE}/component/heat/12/34/1234_b"),
            ("5448_a", "1234_b"),
        ),
        ((f"{TREE}/54/48/5448_a", f"{TREE}/54/48/5448_a"), ("5448_a",)),
        ((f"{TREE}/54/48/5448_a\n  {TREE}/12/34/1234_b",), ("5448_a", "1234_b")),
    ],
)
def test_each_sections_build_is_read(baseurls: tuple[str, ...], builds: tuple[str, ...]) -> None:
    text = content(*baseurls)
    found = repo_file(text, WHERE, None)
    assert found.builds == builds
    assert (found.sha256, found.md5) == (hashlib.sha256(text).hexdigest(), hashlib.md5(text).hexdigest())


@pytest.mark.parametrize(
    ("text", "md5", "said"),
    [
        (b"", None, f"{WHERE} names no build in any section"),
        (
            b"<html>maintenance</html>",
            None,
            f"{WHERE} is no list of repositories with a baseurl each: File con",
        ),
        (b"\xff[x]", None, f"{WHERE} is no list of repositories with a baseurl each: 'utf-8' codec"),
        (b"[x]\nname=1\n", None, f"{WHERE} is no list of repositories with a baseurl each: 'baseurl'"),
        (b"[DEFAULT]\nbaseurl=http://a/b\n[x]\nname=1\n", None, f"{WHERE} is no list of repositories"),
        (
            content("http://a/b") * 2,
            None,
            f"{WHERE} is no list of repositories with a baseurl each: While read",
        ),
        (
            content("http://[a/b"),
            None,
            f"{WHERE} is no list of repositories with a baseurl each: Invalid IPv6",
        ),
        (content("https://trunk.example.org/"), None, f"{WHERE} names no build in a baseurl"),
        (content(""), None, f"{WHERE} names no build in a baseurl"),
        (content("http://a/b"), "<html>", f"{WHERE}.md5 is '<html>', which is no md5"),
    ],
)
def test_what_is_no_such_file_is_refused(text: bytes, md5: str | None, said: str) -> None:
    with pytest.raises(AnswerError) as refused:
        repo_file(text, WHERE, md5)
    assert str(refused.value).startswith(said)
    assert str(refused.value).isprintable()


@dataclass
class Dlrn:
    """A DLRN whose tree gives these files one after the other, and whose newest row names a build."""

    files: list[RepoFile | None]
    holder: DlrnHash | None
    looks: int = 0
    repo_url = TREE

    def repo_files(self, label: str) -> Iterator[RepoFile | None]:
        assert label == LABEL
        for file in self.files:
            self.looks += 1
            yield file

    def current(self, label: str) -> PromotionRow | None:
        return PromotionRow(label, self.holder, 1) if self.holder else None


def check(dlrn: Dlrn, *, dry_run: bool = False) -> tuple[object, object]:
    """Run the task; return its result and the reason that it leaves."""
    here, result = context(dry_run=dry_run), None
    try:
        result = made(CheckRepoOperator, dlrn, followed=LABEL).execute(here)
    except (AirflowFailException, AirflowSkipException) as ended:
        return type(ended), here["ti"].pushed["reason"]
    return result, None


TORN = at(NEW, "0" * 32)


@pytest.mark.parametrize(
    "files", [[at(NEW)], [at(NEW, at(NEW).md5)], [None, at(NEW)], [TORN, at(NEW)], [at(OLD), at(NEW)]]
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_the_carried_build_passes_with_what_was_fetched(files: list[RepoFile | None], dry_run: bool) -> None:
    dlrn = Dlrn([*files, None], NEW)
    assert check(dlrn, dry_run=dry_run) == ({"address": WHERE, "sha256": at(NEW).sha256}, None)
    assert dlrn.looks == len(files)


@pytest.mark.parametrize("files", [[at(OLD)], [None, at(OLD)], [TORN, at(OLD)]])
def test_a_label_that_has_gone_on_to_another_build_ends_the_stage_as_skipped(
    files: list[RepoFile | None],
) -> None:
    said = f"{LABEL} names {OLD.full_hash} by now"
    assert check(Dlrn(files, OLD)) == (AirflowSkipException, said)


@pytest.mark.parametrize(
    ("file", "holder", "said"),
    [
        (at(OLD), NEW, f"{WHERE} names {OLD.full_hash}, DLRN's newest promotion to {LABEL} names {NEW}"),
        (at(OLD), None, f"{WHERE} names {OLD.full_hash}, DLRN's newest promotion to {LABEL} names nothing"),
        (None, OLD, f"{WHERE} does not exist, DLRN's newest promotion to {LABEL} names {OLD}"),
        (TORN, NEW, f"{WHERE} has md5 {TORN.md5}, and the one beside it is {'0' * 32}, DLRN's newest"),
        (
            repo_file(content(f"http://a/{NEW}", f"http://a/{OLD}"), WHERE, None),
            NEW,
            f"{WHERE} names {NEW}, {OLD}, DLRN's newest promotion",
        ),
    ],
)
def test_a_tree_that_dlrns_rows_do_not_explain_is_refused_after_some_looks(
    file: RepoFile | None, holder: DlrnHash | None, said: str
) -> None:
    dlrn = Dlrn([file] * 5, holder)
    ended, reason = check(dlrn)
    assert ended is AirflowFailException
    assert str(reason).startswith(f"AnswerError: {said}")
    assert f"this run carries {NEW.full_hash}; have DLRN's administrators look" in str(reason)
    assert dlrn.looks == 5
