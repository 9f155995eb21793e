"""The list of an aggregate's components: what is read in it, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdo_promoter.clients.dlrn_reports import member_paths
from rdo_promoter.errors import AnswerError

WHERE = "http://dlrn/consistent/delorean.repo"
COMMIT, DISTRO = "1" * 40, "2" * 40


def section(name: str, baseurl: str) -> str:
    return f"[delorean-component-{name}]\nname=delorean-x\nbaseurl={baseurl}\nenabled=1\npriority=1\n\n"


@pytest.mark.parametrize(
    "base",
    [
        "https://trunk.rdoproject.org/centos8-train/",
        # What DLRN's configuration says need not be the address that it is served at.
        "http://127.0.0.1:8080/100%25/centos8/",
        "",
    ],
)
def test_members_of_an_aggregate(base: str) -> None:
    common, compute = f"component/common/11/11/{COMMIT}_22222222", f"component/compute/22/22/{DISTRO}_1_x"
    text = section("common", f"{base}{common}") + section("compute", f"{base}{compute}/")
    paths = member_paths(text.encode(), WHERE)
    assert paths == {"common": common, "compute": compute}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>maintenance</html>",
        b"\xff\xfe",
        b"[a]\n[a]\n",
        b"[delorean]\nname=x\n",
        section("a", "http://x/11/22/333").encode(),
        section("a", "http://x/component/a/11/22").encode(),
        section("a", "http://x/component/../11/22/333").encode(),
        (
            section("a", "http://x/component/a/11/22/3") + section("b", "http://x/component/a/11/22/4")
        ).encode(),
    ],
)
def test_no_list_of_members(content: bytes) -> None:
    with pytest.raises(AnswerError, match="http://dlrn"):
        member_paths(content, WHERE)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_comes_is_members_or_an_answer_error(content: bytes) -> None:
    with contextlib.suppress(AnswerError):
        assert member_paths(content, WHERE)
