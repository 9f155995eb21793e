"""What is wrong around a promotion is told, all of it before anything has changed.

For each case: what is wrong, how it comes about, and what has to be in the message: where, what, what to do.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab import dlrn as lab_dlrn
from lab.lab import Lab
from rdo_promoter.engine import promote
from rdo_promoter.engine.whole import carry_out
from rdo_promoter.errors import AnswerError, PermanentError
from tests.bad_input import spoil
from tests.bad_input.spoil import WRONG, Spoiler, World
from tests.bad_input.world import everything
from tests.engine.rdo import CONTAINERS, Rdo

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Case:
    """Something that is wrong.

    :param what: for people.
    :param spoiler: makes it so.
    :param said: parts of the message; the world's builds, ``{ns}`` and ``{label}`` are filled in.
    """

    what: str
    spoiler: Spoiler
    said: tuple[str, ...]


#: How a refusal of everything that is wrong begins.
REFUSED = "{new} to {label} is refused, nothing was changed; 1 problem(s):"
IMAGE = "image server images: {new}/overcloud-full.tar "

CASES: tuple[Case, ...] = (
    # what is asked for
    Case(
        "a build of another release",
        spoil.promoting(build=spoil.OTHER_RELEASES_BUILD),
        (f"DLRN: {'0' * 40}_11111111 has no directory", "is of another release; take a newer build, or mend"),
    ),
    Case(
        "a build that DLRN has purged",
        spoil.the_build("purged"),
        ("DLRN: {purged} has no directory below the release's repo_url: it was purged", "take a newer build"),
    ),
    Case("a build whose directory is lost", spoil.the_build("lost"), ("DLRN: {lost} has no directory",)),
    Case(
        "a build that CI never had",
        spoil.the_build("stranger"),
        ("the build never held {ns}-ci-testing", "run the stage's candidate step first"),
    ),
    Case(
        "an aggregate of components",
        spoil.promoting(build=spoil.AN_AGGREGATE),
        ("2222 is an aggregate; releases of the component pipeline are not supported yet", "take a build of"),
    ),
    Case(
        "one component",
        spoil.promoting(build=spoil.ONE_COMPONENT),
        ("_44444444 is a build of the component compute alone", "take a build of a release without"),
    ),
    Case(
        "a label of the builder",
        spoil.promoting(label="consistent"),
        ("label 'consistent' is moved by DLRN's builder alone; promote to another label",),
    ),
    Case(
        "a label that leads elsewhere",
        spoil.promoting(label="../x"),
        ("label '../x' cannot be promoted to: use lower-case letters",),
    ),
    Case("a label with a slash", spoil.promoting(label="a/b"), ("label 'a/b' cannot be promoted to",)),
    Case(
        "a label that is too long behind previous-",
        spoil.promoting(label="x" * 119),
        ("label 'previous-xxx", "cannot be promoted to"),
    ),
    # DLRN
    Case(
        "a wrong password at DLRN",
        spoil.dlrn("promoter", WRONG),
        (
            REFUSED,
            "/api/promote answered 401",
            "(user 'promoter'); check login and password of Connection 'dlrn_good'",
        ),
    ),
    Case("a user whom DLRN does not know", spoil.dlrn("nobody", WRONG), (REFUSED, "401", "user 'nobody'")),
    Case(
        "no login at DLRN",
        spoil.dlrn(None),
        (REFUSED, "needs a user and a password; set them in Connection 'dlrn_good'"),
    ),
    Case(
        "a user who may not promote",
        spoil.dlrn("reader"),
        (
            REFUSED,
            "/api/promote answered 403",
            "(user 'reader' is not allowed to do this); let DLRN's administrators allow it, or set",
        ),
    ),
    Case(
        "another release's repository tree",
        spoil.another_tree,
        (REFUSED, "DLRN: {new} has no directory below the release's repo_url", "or mend repo_url"),
    ),
    Case(
        "an unknown CA before DLRN",
        spoil.dlrn_behind_an_unknown_ca,
        (
            "DLRN: the certificate behind GET https://",
            "is not trusted",
            "write the path of that CA's certificate to 'ca'",
        ),
    ),
    # containers
    Case(
        "a container that was not built",
        spoil.promoting(containers=spoil.MISSING_CONTAINER),
        (REFUSED, "registry rdo: never-built:{new} does not exist; let the containers build job push it"),
    ),
    Case(
        "a wrong password at a registry",
        spoil.dockerhub(password=WRONG),
        (
            "registry dockerhub (https://",
            "answered 401",
            "refuses the login 'promoter': check login and password",
        ),
    ),
    Case(
        "no login at a registry",
        spoil.dockerhub(username=None, password=None),
        (
            "registry dockerhub (https://",
            "401",
            "it wants credentials: set login and password in its Connection",
        ),
    ),
    Case(
        "an unknown CA before a registry",
        spoil.dockerhub(verify=True),
        ("registry dockerhub (https://", "its certificate could not be verified", "to 'ca' in the extra"),
    ),
    Case(
        "a CA file that is missing",
        spoil.dockerhub(verify="/nowhere/ca.crt"),
        (
            "registry dockerhub (https://",
            "the CA file that its Connection names cannot be read",
            "/nowhere/ca.crt",
        ),
    ),
    Case(
        "an image in the old format schema1",
        spoil.schema1,
        (
            "registry rdo (http://",
            "{ns}rdo/nova-api:{new}: it is a schema1 manifest",
            "push the image again in a",
        ),
    ),
    # images
    Case(
        "an image that was not uploaded",
        spoil.image("overcloud-full.tar", None),
        (REFUSED, IMAGE + "does not exist; let the image job upload it again"),
    ),
    Case(
        "an image that is no longer what it was",
        spoil.image("overcloud-full.tar", spoil.PAGE),
        (REFUSED, IMAGE + "has md5 47eff45362b6af5c8099f2a53564633d, its .md5 file says ", "upload it again"),
    ),
    Case(
        "no md5", spoil.image("overcloud-full.tar.md5", None), (REFUSED, IMAGE + "has no .md5 file; let the")
    ),
    Case(
        "an md5 of something else",
        spoil.image("overcloud-full.tar.md5", spoil.EMPTY_MD5),
        (
            REFUSED,
            IMAGE + "has md5 ",
            "its .md5 file says d41d8cd98f00b204e9800998ecf8427e; let the image job",
        ),
    ),
    Case(
        "an md5 that is none",
        spoil.image("overcloud-full.tar.md5", spoil.PAGE),
        ("image server images: read /", "/{new}/overcloud-full.tar.md5: it is no line", "its upload failed"),
    ),
    Case(
        "a folder in the place of the link",
        spoil.link(None),
        ("image server images: read link /", "/{label}: it is a folder, no link; find out who put it there"),
    ),
    Case(
        "a link that leads elsewhere",
        spoil.link("/etc"),
        (
            "image server images: read link /",
            "/{label}: it names '/etc', which is no folder of ",
            "by a relative path",
        ),
    ),
    Case(
        "an unknown host key",
        spoil.ssh(host_key=None),
        ("is not known: extra 'host_key' of Connection 'images_rdo' is missing", "Compare the fingerprint"),
    ),
    Case(
        "another host key",
        spoil.ssh(host_key=spoil.other_host_key()),
        (
            "showed another host key than the one in extra 'host_key' of Connection 'images_rdo'",
            "Nothing was sent",
        ),
    ),
    Case(
        "a host key that is none",
        spoil.ssh(host_key="ssh-ed25519 AAAA"),
        ("extra 'host_key' of Connection 'images_rdo' is no public key; write the one line of",),
    ),
    Case(
        "a login key that is not let in",
        spoil.ssh(key_file=None, private_key=spoil.other_login_key()),
        ("SSH server 127.0.0.1:", "was refused", "check login and key of Connection 'images_rdo'"),
    ),
    Case(
        "nothing to log in with",
        spoil.ssh(key_file=None),
        ("Connection 'images_rdo' holds nothing to log in with: set extra 'key_file' or 'private_key'",),
    ),
)


@pytest.fixture(scope="module")
def world(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lab.dlrn_client() as dlrn:
        rdo = Rdo(lab, f"t{uuid.uuid4().hex[:8]}", dlrn)
        first, second, new, purged, lost = rdo.candidates(5)
        for build in (first, second):
            rdo.ci_builds(build)
            rdo.promote(build)
        rdo.ci_builds(new)
        (stranger,) = lab_dlrn.add_builds(lab.root, [lab_dlrn.NewBuild(int(time.time()))])
        for build in (stranger, purged, lost):
            rdo.ci_builds(build)
        lab_dlrn.purge(lab.root, purged, flagged=True)
        lab_dlrn.purge(lab.root, lost, flagged=False)
        yield World(rdo, new, stranger, purged, lost, tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_it_is_told_and_nothing_has_changed(world: World, case: Case) -> None:
    with case.spoiler(world) as (services, promotion):
        before = everything(world.rdo)
        with pytest.raises(PermanentError) as refused:
            carry_out(promotion, services, promote.preflight(promotion, services).was, say=lambda _: None)
        after = everything(world.rdo)
    assert after == before
    said = str(refused.value)
    names = {name: getattr(world, name).full_hash for name in ("new", "purged", "lost", "stranger")}
    for part in case.said:
        assert part.format(**names, ns=world.rdo.namespace_, label=world.rdo.label) in said
    assert WRONG not in said
    assert "PRIVATE KEY" not in said


def test_what_is_not_spoilt_is_promoted(world: World) -> None:
    """So that the cases above are refused for what is wrong with them, and not for something else."""
    services, promotion = world.rdo, world.rdo.promotion(world.new)
    assert promote.preflight(promotion, services).plan.problems == ()


def test_an_old_format_under_the_label_is_only_replaced(world: World) -> None:
    """What the label named before is neither copied nor tagged: nobody has to push or delete anything."""
    with spoil.schema1_under_the_label(world) as (services, wanted):
        promotion = dataclasses.replace(wanted, push_to=())
        repository = f"{services.namespace('rdo')}/nova-api"
        with pytest.raises(AnswerError, match="it is a schema1 manifest"):
            services.registry("rdo").head(repository, promotion.label)
        found = promote.preflight(promotion, services)
        assert [change.container for change in found.plan.tags] == list(CONTAINERS)
        promote.tag_in(promotion, services, "rdo", found.was)
        tagged = services.registry("rdo").head(repository, promotion.label)
        assert tagged == services.registry("rdo").head(repository, promotion.tag)
