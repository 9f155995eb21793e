"""The releases of these tests: the same two stages, with labels, namespaces and folders of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from lab.lab import Lab
from lab.outage import Outage
from tests.airflow.shaky import SUFFIX
from tests.engine.rdo import CONTAINERS, IMAGES, MIRROR, PUSH_TO

#: Releases whose services stand behind proxies that can be broken.
SHAKY = ("secret", "outage1", "outage2", "outage3")

#: One a test, so that nothing that a test leaves matters to another.
RELEASES = (
    "main",
    "failed",
    "killed",
    "dry",
    "quiet",
    "displaced",
    "seen",
    "edited",
    "cut",
    "renamed",
    "asked",
    "wide",
    "held",
    "started",
    "locked",
    *SHAKY,
)

#: Releases in which a second stage follows; it costs twenty tasks a run.
TWO_STAGES = ("main", "failed", "dry", "seen", *SHAKY)

#: So short that a test can wait for the deadline; that test lets all votes come before it looks.
SHORT = {"failed": "25s", "asked": "40s", "wide": "60s"}

#: Releases that ask a person when jobs are missing.
ASKING = ("asked", "wide")

#: The tests of the release "wide": so many as a real one has.
WIDE_JOBS = tuple(f"scenario{number:03}" for number in range(1, 29))

#: The release "locked" names two Connections that do not exist, by the right one's id.
TYPOS = {"registry_dockerhub": "registry_typo", "jenkins_lab": "jenkins_typo"}

#: Releases that start jobs themselves.
STARTING = ("started", "secret")


def started_jobs(name: str) -> list[dict[str, object]]:
    """Return the steps of jobs that a release starts itself; of one the vote counts."""
    vote = f"periodic-{name}-phase1"
    return [
        {
            "run_jenkins": {
                "connection": "jenkins_lab",
                "job": "phase1-tests",
                "parameters": {"RDO_FULL_HASH": "{full_hash}"},
                "report_vote": vote,
                "within": "10m",
            }
        },
        {
            "run_ssh": {
                "connection": "ssh_lab",
                "command": ["bash", "-c", "echo installed from $RDO_REPO_URL; echo tested $RDO_FULL_HASH"],
                "within": "10m",
            }
        },
        {"wait_for": {"name": "started", "jobs": [vote], "within": "10m"}},
    ]


def release_file(name: str, lab: Lab) -> str:
    """Return the file of a release: stage upstream as the real one's, and one that follows it."""
    within = SHORT.get(name, "4h")
    everywhere = {
        "tag_in": ["rdo"],
        "push_to": list(PUSH_TO),
        "link_on": ["images"],
        "mirror_to": ["rh1"],
    }
    quick: dict[str, object] = {"within": within, "retry_delay": "5s"}
    if name in ASKING:
        quick["on_missing"] = "ask"
    tests = WIDE_JOBS if name == "wide" else ("test1", "test2")
    upstream = [
        {"candidate": {"label": f"{name}-ci-testing"}},
        {"wait_for": {"name": "builds", "jobs": [f"periodic-{name}-build"], "within": "4h"}},
        {"tag_containers": {"in": "rdo", "tag": f"{name}-ci-testing"}},
        {"push_containers": {"to": "dockerhub", "tag": f"{name}-ci-testing", "gates": "nothing"}},
        {
            "wait_for": {
                "name": "tests",
                "jobs": [f"periodic-{name}-{job}" for job in tests],
                "alternatives": {f"periodic-{name}-{tests[1]}": [f"periodic-{name}-{tests[1]}-internal"]},
                **quick,
            }
        },
        *([{"approve": {"text": "Look at the *dashboard*", "users": ["admin"]}}] if name == "held" else []),
        *(started_jobs(name) if name in STARTING else []),
        *(started_jobs(name)[:1] if name == "locked" else []),
        {"promote": {"label": f"{name}-current", **everywhere}},
    ]
    phase1 = [
        {"wait_for": {"jobs": [f"weirdo-{name}-promote"], **quick}},
        {"promote": {"label": f"{name}-current-rdo", **everywhere}},
    ]
    stages = [{"name": "upstream", "source": "consistent", "steps": upstream}]
    if name in TWO_STAGES:
        stages.append({"name": "phase1", "source": f"{name}-current", "steps": phase1})
    if name == "started":
        hand_off = {
            "key": "handoff_key_lab",
            "receiver": "receiver_lab",
            "store_on": ["images"],
            "acknowledged_within": "10m",
        }
        stages.append({"name": "osp", "source": f"{name}-current", "steps": [{"hand_off": hand_off}]})
    return yaml.safe_dump(
        {
            "release": name,
            "distro": {"name": "centos", "version": 7},
            # Unpausing a Dag with a schedule starts a run at once; most tests start theirs.
            "schedule": "*/30 * * * *" if name == "quiet" else None,
            "poll": "5s",
            "dlrn": {"connection": "dlrn_centos7_master", "repo_url": lab.dlrn.repo_url},
            "registries": {
                registry: {"connection": f"registry_{registry}", "namespace": f"{name}{registry}"}
                for registry in ("rdo", *PUSH_TO)
            },
            "image_servers": {
                "images": {"connection": "images_rdo", "path": lab.images.path("{release}")},
                "rh1": {
                    "connection": "images_rh1",
                    "path": f"{lab.mirror.images}/{{release}}",
                    "layout": "by_label",
                    "names": dict(MIRROR.names),
                },
            },
            "containers": {"source": "rdo", "list": "containers/few.yaml"},
            "images": list(IMAGES),
            "stages": stages,
        },
        sort_keys=False,
    )


def write_releases(folder: Path, lab: Lab, outages: Mapping[str, Outage]) -> Path:
    """Write all release files, and one that cannot be used.

    :param outages: what stands before the services of the releases in `SHAKY`.
    """
    (folder / "containers").mkdir(parents=True)
    (folder / "containers" / "few.yaml").write_text(yaml.safe_dump(list(CONTAINERS)))
    for name in RELEASES:
        text = release_file(name, lab)
        if name == "locked":
            for right, typo in TYPOS.items():
                text = text.replace(f"connection: {right}\n", f"connection: {typo}\n")
        (folder / f"{name}.yaml").write_text(_shaky(text, outages) if name in SHAKY else text)
    (folder / "typo.yaml").write_text(release_file("typo", lab).replace("retry_delay", "retry_dealy"))
    return folder


def _shaky(text: str, outages: Mapping[str, Outage]) -> str:
    """Let a release use the services behind the proxies."""
    content = yaml.safe_load(text)
    content["dlrn"]["repo_url"] = outages["repo"].url
    places = (*content["registries"].values(), *content["image_servers"].values(), content["dlrn"])
    for place in places:
        place["connection"] += SUFFIX
    return yaml.safe_dump(content, sort_keys=False)
