"""What holds `consistent` back: DLRN's two tables, what is refused of them, and what is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients.dlrn_reports import status_report, versions
from rdo_promoter.errors import AnswerError
from rdo_promoter.model.build import DlrnHash
from rdo_promoter.model.holding import PackageRow, holding, sentence
from tests.unit.strategies import build_number

URL = "https://trunk.example.org/centos7-master"
WHERE = f"{URL}/status_report.csv"
COMMIT, DISTRO = "1" * 40, "2" * 40
# Heads and lines as dlrn 0.26.1 writes them.
REPORT = "Project,Source Sha,Dist Sha,Extended Sha,Component,Status,Timestamp,Packages\n"
VERSIONS = (
    "Project,Source Repo,Source Sha,Dist Repo,Dist Sha,Status,Last Success Timestamp,Component,"
    "Extended Sha,Pkg NVR\n"
)
LINE = f"nova,{COMMIT},{DISTRO},None,None,FAILED,1552575000,None\n"


def row(package: str, status: str, timestamp: int = 0, newest: DlrnHash | None = None) -> PackageRow:
    return PackageRow(package, status, timestamp, newest)


def test_a_report_tells_each_packages_newest_build() -> None:
    text = f"{REPORT}\n{LINE}heat,{COMMIT},{DISTRO},{'3' * 40}_{'4' * 40},compute,SUCCESS,5,a.rpm|b.rpm\n\n"
    assert status_report(text, WHERE) == [
        row("nova", "FAILED", 1552575000, DlrnHash(COMMIT, DISTRO)),
        row("heat", "SUCCESS", 5, DlrnHash(COMMIT, DISTRO, f"{'3' * 40}_{'4' * 40}", "compute")),
    ]


def test_versions_tell_the_newest_good_build_which_is_not_the_one_that_failed() -> None:
    text = (
        f"{VERSIONS}nova,https://git/nova,{COMMIT},https://git/x,{DISTRO},RETRY,1552575000,None,None,nova-1\n"
    )
    (found,) = versions(text, WHERE)
    assert found == row("nova", "RETRY", 1552575000)
    (held,) = holding([found], URL)
    assert held.told == "nova: RETRY, its last good build is of 2019-03-14 14:50:00Z"
    assert held.log == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1 has no column 'Project'"),
        ("<html>maintenance</html>", "line 1 has no column 'Project'"),
        (REPORT.replace("Status,", ""), "line 1 has no column 'Status'"),
        (REPORT, "no package is in it"),
        (f"{REPORT}{LINE}heat,{COMMIT}", "line 3 has no Status"),
        (f"{REPORT}{LINE.replace('FAILED', '')}", "line 2 has no Status"),
        (f"{REPORT}{LINE.replace('nova', '')}", "line 2 has no Project"),
        (f"{REPORT}{LINE.replace('1552575000', 'None')}", "line 2: Timestamp 'None' is no time"),
        (f"{REPORT}{LINE.replace('1552575000', '9' * 5000)}", f"line 2: Timestamp '{'9' * 59} is no time"),
        (f"{REPORT}{LINE.replace(COMMIT, 'x')}", "line 2 names a build that cannot be one: commit_hash 'x'"),
        (f'{REPORT}"{LINE}', "no CSV after line 1: unexpected end of data"),
        (f"{REPORT}{'x' * 200_000}", "no CSV after line 1: field larger than"),
    ],
)
def test_what_is_no_report_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(AnswerError) as refused:
        status_report(text, WHERE)
    assert str(refused.value).startswith(f"{WHERE}: {said}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("statuses", "held"),
    [
        ([], ""),
        (["SUCCESS", "SUCCESS"], ""),
        (["FAILED", "SUCCESS"], "consistent is held back by 1 package: p0 (FAILED)"),
        # The builder tries it again, and does not move the link meanwhile.
        (["SUCCESS", "RETRY"], "consistent is held back by 1 package: p1 (RETRY)"),
        (["NO_BUILD", "FAILED"], "consistent is held back by 2 packages: p0 (NO_BUILD), p1 (FAILED)"),
        (["success"], "consistent is held back by 1 package: p0 (success)"),
    ],
)
def test_what_holds(statuses: list[str], held: str) -> None:
    rows = [row(f"p{number}", status, number) for number, status in enumerate(statuses)]
    assert sentence(holding(rows, URL)) == held


def test_the_oldest_comes_first_with_the_log_of_its_build() -> None:
    builds = build_number(1), build_number(2)
    rows = [row("late", "FAILED", 1552575001, builds[0]), row("early", "RETRY", 1552575000, builds[1])]
    early, late = holding(rows, URL)
    assert early.log == f"{URL}/{builds[1].path}/rpmbuild.log"
    assert early.told == f"early: RETRY, built 2019-03-14 14:50:00Z, {early.log}"
    assert late.log == f"{URL}/{builds[0].path}/rpmbuild.log"


def test_a_hundred_packages_make_no_endless_sentence_and_foreign_text_breaks_no_line() -> None:
    many = holding([row(f"p{number:03}", "FAILED", number) for number in range(100)], URL)
    assert len(many) == 100
    assert sentence(many).endswith("p009 (FAILED) and 90 more")
    component = DlrnHash(COMMIT, DISTRO, None, "a b\n")
    (odd,) = holding([row("no\nva" * 50, "FAI\x1bLED", 1, component)], URL)
    assert odd.told.isprintable()
    assert len(odd.told) < 250
    assert odd.log == ""


@given(
    st.lists(
        st.builds(
            PackageRow,
            package=st.sampled_from(("nova", "heat")),
            status=st.sampled_from(("SUCCESS", "FAILED", "RETRY")),
            timestamp=st.integers(0, 2),
            newest=st.none() | st.integers(0, 2).map(build_number),
        )
    ).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows)))
)
def test_the_order_of_the_rows_never_matters(both: tuple[list[PackageRow], list[PackageRow]]) -> None:
    rows, shuffled = both
    found = holding(rows, URL)
    assert holding(shuffled, URL) == found
    assert {each.package for each in found} == {each.package for each in rows if each.status != "SUCCESS"}
