"""Hypothesis strategies for the model's values."""

from __future__ import annotations

from hypothesis import strategies as st

from rdo_promoter.model.build import CONSISTENT, DlrnHash
from rdo_promoter.model.promotion import (
    DlrnState,
    ImageState,
    Observed,
    Promotion,
    RegistryState,
    ServerState,
)
from rdo_promoter.model.promotions import PromotionRow
from rdo_promoter.model.votes import Vote


def build_number(number: int) -> DlrnHash:
    """Return one of a few builds, so that examples meet the same build often."""
    return DlrnHash(f"{number:040x}", f"{number + 7:040x}", f"ext{number}" if number % 2 else None)


JOBS = ("build-push", "standalone", "scenario001", "scenario001-internal", "other")
CONTAINERS = ("nova-api", "heat-api", "cron")
REGISTRIES = ("rdo", "dockerhub")
SERVERS = ("images", "other")
MIRRORS = ("rh1",)
IMAGES = ("overcloud-full.tar", "ironic-python-agent.tar")

builds = st.integers(0, 4).map(build_number)
times = st.integers(1_000, 1_020)
votes = st.builds(
    Vote,
    job=st.sampled_from((*JOBS, CONSISTENT)),
    success=st.booleans(),
    timestamp=times,
    url=st.sampled_from(("", "https://logs.example.org/1", "https://logs.example.org/2")),
    in_progress=st.booleans(),
    user=st.sampled_from(("", "ci", "rover")),
    notes=st.sampled_from(("", "a rerun", "by hand")),
)
digests = st.integers(0, 3).map(lambda number: f"sha256:{number:064x}")


def rows(label: str) -> st.SearchStrategy[PromotionRow]:
    """Rows of one label."""
    return st.builds(PromotionRow, label=st.just(label), build=builds, timestamp=times)


promotions = st.builds(
    Promotion,
    build=builds,
    label=st.just("current-tripleo"),
    candidate_label=st.just("tripleo-ci-testing"),
    source=st.just("rdo"),
    containers=st.just(CONTAINERS),
    tag_in=st.just(("rdo",)),
    push_to=st.just(("dockerhub",)),
    images=st.just(IMAGES),
    link_on=st.just(SERVERS),
    mirror_to=st.just(MIRRORS),
)


@st.composite
def observations(draw: st.DrawFn, *, whole: bool = False) -> Observed:
    """States of all systems; `whole` ones have everything that a promotion needs."""
    maybe = st.none() | digests
    there = digests if whole else maybe
    registry_tags = {
        name: st.fixed_dictionaries(dict.fromkeys(CONTAINERS, there if name == "rdo" else maybe))
        for name in REGISTRIES
    }
    good = st.just(ImageState(3, "aa", "aa"))
    any_ = st.one_of(
        good,
        st.just(ImageState()),
        st.just(ImageState(3)),
        st.just(ImageState(2, "aa", "aa")),
        st.just(ImageState(3, "aa", "bb")),
    )
    problems = st.just(()) if whole else st.sampled_from(((), ("it is a folder, no link",)))
    folders = st.none() | builds.map(lambda build: build.full_hash)
    holder = draw(st.none() | rows("current-tripleo"))
    return Observed(
        dlrn=DlrnState(
            holder=holder,
            holder_exists=draw(st.booleans()),
            previous=draw(st.none() | rows("previous-current-tripleo")),
            build_exists=True if whole else draw(st.booleans()),
            in_tree=holder.build.full_hash if holder else None,
        ),
        registries={
            name: RegistryState(draw(tags), draw(st.fixed_dictionaries(dict.fromkeys(CONTAINERS, maybe))))
            for name, tags in registry_tags.items()
        },
        servers={
            name: ServerState(
                images={image: draw(good if whole and name in SERVERS else any_) for image in IMAGES},
                link=draw(folders),
                link_exists=draw(st.booleans()),
                previous=draw(folders),
                problems=draw(problems),
            )
            for name in (*SERVERS, *MIRRORS)
        },
    )
