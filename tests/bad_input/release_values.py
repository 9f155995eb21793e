"""Mistakes in single values of a release file: what is changed, into what, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Mistake(NamedTuple):
    """A passage of the good file, what is written instead, and how that is refused."""

    old: str
    new: str
    line: int | None
    key: str
    said: str


UPSTREAM, PHASE1 = "stages[0].steps", "stages[1].steps"
KNOWN_STEPS = (
    "known: approve, candidate, check_repo, fetch_images, hand_off, promote, push_containers, run_container, "
)
TAG = "      - tag_containers: {in: rdo, tag: ci-testing}\n"
CANDIDATE = "      - candidate: {label: ci-testing, max_in_ci: 1, min_gap: 1h}\n"
BUILD_JOBS = "jobs: [build-containers, build-images]"
DISTRO = "distro: {name: centos, version: 9}"

#: Labels, as they are written, to which nobody may promote.
LABELS = (
    ("consistent", "'consistent' is moved by DLRN's builder alone; promote to another label"),
    ("current", "'current' is moved by DLRN's builder alone"),
    ("../x", "'../x' cannot be promoted to: use lower-case letters, digits, '.', '_' and '-'"),
    ("a/b", "'a/b' cannot be promoted to: use lower-case"),
    ("Current", "'Current' cannot be promoted to: use lower-case"),
    ("-rf", "starting with a letter or digit, for example current-tripleo"),
    ("foo bar", "'foo bar' cannot be promoted to"),
    ("a..b", "'a..b' cannot be promoted to"),
    ("''", "'' cannot be promoted to"),
    ('"a\\nb"', "'a\\nb' cannot be promoted to"),
    (f"{'a' * 40}_{'b' * 8}", "cannot be promoted to"),
    ("7", "7 is a number where text is needed: write it in quotes, '7'"),
)


def _labels() -> Iterator[tuple[str, str, int, str, str]]:
    for old, line, step, key in (
        ("label: ci-testing", 23, 0, "candidate.label"),
        ("label: current-good, tag_in", 35, 5, "promote.label"),
        ("in: rdo, tag: ci-testing", 25, 2, "tag_containers.tag"),
        ("to: quay, tag: ci-testing", 26, 3, "push_containers.tag"),
    ):
        for label, said in LABELS:
            new = old.replace("ci-testing", label).replace("current-good", label)
            yield old, new, line, f"{UPSTREAM}[{step}].{key}", said


#: Mistakes in single values.
SHAPE = [
    Mistake(*row)
    for row in (
        # keys
        (
            "within: 4h",
            "wihtin: 4h",
            24,
            f"{UPSTREAM}[1].wait_for.wihtin",
            "unknown key; did you mean 'within'?",
        ),
        ("version: 9}", "versoin: 9}", 2, "distro.versoin", "did you mean 'version'? known: name, version"),
        ("release: good\n", "", 1, "release", "missing: add `release:` here"),
        ("label: current-good-rdo", "name: last", 40, f"{PHASE1}[1].promote.label", "missing: add `label:`"),
        (
            "stages:\n",
            "poll: 9s\npoll: 10s\nstages:\n",
            19,
            "poll",
            "written twice, in lines 19 and 20: keep one",
        ),
        (
            DISTRO,
            "distro: {name: centos, version: 9, on: 1}",
            2,
            "distro.on",
            "unknown key; known: name, version",
        ),
        (
            "distro: {name: centos, ver",
            "distro: {name: centos, name: rhel, ver",
            2,
            "distro.name",
            "written twice",
        ),
        (DISTRO, DISTRO + "\n? [a, b]\n: 1", 3, "?", "a key has to be a word"),
        (DISTRO, DISTRO + "\n'a\\nb': 1", 3, "a\\nb", "unknown key"),
        (DISTRO, DISTRO + '\n"a\\nb\\u202e": 1', 3, "'a\\nb\\u202e'", "unknown key; known: containers"),
        # steps
        (
            "wait_for: {jobs",
            "wait_fr: {jobs",
            24,
            f"{UPSTREAM}[1]",
            "unknown step 'wait_fr'; did you mean 'wait_for'",
        ),
        (
            TAG,
            TAG + "        promote: {label: x}\n",
            25,
            f"{UPSTREAM}[2]",
            "one key with its settings indented below",
        ),
        (
            TAG,
            "      - tag_containers\n",
            25,
            f"{UPSTREAM}[2]",
            f"written as `- <kind>: {{...}}`; {KNOWN_STEPS}",
        ),
        (
            TAG,
            "      - tag_containers:\n",
            25,
            f"{UPSTREAM}[2].tag_containers",
            "empty, but it has to be a mapping",
        ),
        (TAG, "      - {}\n", 25, f"{UPSTREAM}[2]", KNOWN_STEPS),
        (
            TAG,
            '      - {"": 0, "\\n": 0}\n',
            25,
            f"{UPSTREAM}[2]",
            "not 2 keys ('', '\\n'); known: approve, candidate",
        ),
        # kinds of values
        (
            DISTRO,
            "distro: centos9",
            2,
            "distro",
            "'centos9' where a mapping, for example {key: value} is needed",
        ),
        (
            DISTRO,
            "distro: [centos, 9]",
            2,
            "distro",
            "a list where a mapping, for example {key: value} is needed",
        ),
        (
            "version: 9}",
            "version: 9.10}",
            2,
            "distro.version",
            "9.10 is a number where text is needed: write it in quotes, '9.10'",
        ),
        (
            "release: good",
            "release: yes",
            1,
            "release",
            "yes is a truth value where text is needed: write it in",
        ),
        ("release: good", "release: Off", 1, "release", "in quotes, 'Off'"),
        (
            DISTRO,
            "distro: {name: centos, version: 010}",
            2,
            "distro.version",
            "YAML reads 010 as 8: write 8, or",
        ),
        (DISTRO, "distro: {name: centos, version: 9:30}", 2, "distro.version", "YAML reads 9:30 as 570"),
        (DISTRO, "distro: {name: centos, version: 0x9}", 2, "distro.version", "or quotes around a text"),
        (
            "within: 4h",
            "within: 2024-01-01",
            24,
            f"{UPSTREAM}[1].wait_for.within",
            "'2024-01-01' is no duration",
        ),
        ("release: good", "release: 2024-01-01 12:00:00", 1, "release", "cannot be part of a Dag id"),
        (
            BUILD_JOBS,
            "jobs: build",
            24,
            f"{UPSTREAM}[1].wait_for.jobs",
            "'build' where a list, for example [a, b]",
        ),
        (BUILD_JOBS, "jobs: ", 24, f"{UPSTREAM}[1].wait_for.jobs", "empty, but it has to be a list"),
        (BUILD_JOBS, "jobs: []", 24, f"{UPSTREAM}[1].wait_for.jobs", "must not be empty"),
        (
            BUILD_JOBS,
            "jobs: [a, 7]",
            24,
            f"{UPSTREAM}[1].wait_for.jobs[1]",
            "7 is a number where text is needed",
        ),
        (
            "max_in_ci: 1",
            "max_in_ci: '2'",
            23,
            f"{UPSTREAM}[0].candidate.max_in_ci",
            "where a whole number is needed",
        ),
        ("max_in_ci: 1", "max_in_ci: 0", 23, f"{UPSTREAM}[0].candidate.max_in_ci", "write 1"),
        (
            "max_in_ci: 1",
            "max_in_ci: 2",
            23,
            f"{UPSTREAM}[0].candidate.max_in_ci",
            "2 builds in CI at a time are not supported yet",
        ),
        (
            "max_in_ci: 1",
            "max_in_ci: true",
            23,
            f"{UPSTREAM}[0].candidate.max_in_ci",
            "where a whole number is needed",
        ),
        # words
        ("max_in_ci: 1", "moved_by: ci", 23, f"{UPSTREAM}[0].candidate.moved_by", "write `moved_by: us`"),
        ("max_in_ci: 1", "moved_by: uss", 23, f"{UPSTREAM}[0].candidate.moved_by", "did you mean 'us'?"),
        (
            "gates: nothing",
            "gates: nothin",
            26,
            f"{UPSTREAM}[3].push_containers.gates",
            "did you mean 'nothing'?",
        ),
        (
            "    path: /",
            "    layout: by_lable\n    path: /",
            12,
            "image_servers.images.layout",
            "did you mean 'by_label'? known: by_hash, by_label",
        ),
        (
            "stages:\n",
            "zuul: {connection: zuul_rdo}\nstages:\n",
            19,
            "zuul.pipeline",
            "missing: add `pipeline:`",
        ),
        (
            "stages:\n",
            "zuul: {connection: zuul_rdo, pipelin: x}\nstages:\n",
            19,
            "zuul.pipelin",
            "unknown key; did you mean 'pipeline'? known: connection, pipeline, promote_job",
        ),
        (
            "stages:\n",
            'zuul: {connection: zuul_rdo, pipeline: "a\\nb"}\nstages:\n',
            19,
            "zuul.pipeline",
            r"'a\nb' cannot stand here: name a pipeline as Zuul's page does",
        ),
        (
            "stages:\n",
            "zuul: {connection: https://zuul, pipeline: x}\nstages:\n",
            19,
            "zuul.connection",
            "an Airflow Connection by its id",
        ),
        (
            "within: 4h",
            "within: 4h, evidence: zuul_buidset",
            24,
            f"{UPSTREAM}[1].wait_for.evidence",
            "did you mean 'zuul_buildset'? known: votes, zuul_buildset",
        ),
        # durations
        ("within: 4h", "within: 4", 24, f"{UPSTREAM}[1].wait_for.within", "for example 90s or 4h"),
        ("within: 4h", "within: 4 hours", 24, f"{UPSTREAM}[1].wait_for.within", "'4 hours' is no duration"),
        ("within: 4h", "within: 0s", 24, f"{UPSTREAM}[1].wait_for.within", "write at least 1s"),
        ("min_gap: 1h", "min_gap: -1h", 23, f"{UPSTREAM}[0].candidate.min_gap", "'-1h' is no duration"),
        ("stages:\n", "poll: 1s\nstages:\n", 19, "poll", "'1s' is out of range: write at least 5s"),
        ("stages:\n", "poll: 2h\nstages:\n", 19, "poll", "'2h' is out of range: write at most 1h"),
        # schedules
        ("stages:\n", "schedule: 30m\nstages:\n", 19, "schedule", "write five cron fields"),
        ("stages:\n", "schedule: '*/70 * * * *'\nstages:\n", 19, "schedule", "'*/70' is no minute"),
        ("stages:\n", "schedule: '0 9-25 * * *'\nstages:\n", 19, "schedule", "'9-25' is no hour"),
        ("stages:\n", "schedule: '0 0 0 * *'\nstages:\n", 19, "schedule", "numbers from 1 to 31"),
        ("stages:\n", "schedule: '0 0 * * mon'\nstages:\n", 19, "schedule", "'mon' is no weekday"),
        # names
        ("release: good", "release: Good", 1, "release", "'Good' cannot be part of a Dag id"),
        ("name: phase1\n", "name: Phase.1\n", 36, "stages[1].name", "a name starts with a lower-case letter"),
        ("  quay: {", "  Quay: {", 8, "registries.Quay", "a name starts with a lower-case letter"),
        (
            BUILD_JOBS,
            "jobs: [a b]",
            24,
            f"{UPSTREAM}[1].wait_for.jobs[0]",
            "'a b' cannot stand here: a job's name",
        ),
        (
            BUILD_JOBS,
            "jobs: [a, b, a]",
            24,
            f"{UPSTREAM}[1].wait_for.jobs",
            "a is listed more than once: keep one",
        ),
        (
            "connection: dlrn_good",
            "connection: https://d",
            4,
            "dlrn.connection",
            "an Airflow Connection by its id",
        ),
        (
            "registry_rdo, namespace: t",
            "registry_rdo, namespace: q/T",
            7,
            "registries.rdo.namespace",
            "lower-case",
        ),
        (
            "registry_rdo, namespace: t",
            "registry_rdo, namespace: a//t",
            7,
            "registries.rdo.namespace",
            "lower-case",
        ),
        *_labels(),
        ("[overcloud-full.tar,", "[../x,", 18, "images[0]", "name a file without its folder"),
        ("[overcloud-full.tar,", "[x.tar.md5,", 18, "images[0]", "its .md5 file goes with it unnamed"),
        ("https://dlrn.", "ftp://dlrn.", 5, "dlrn.repo_url", "no address of a repository"),
        ("https://dlrn.", "https://dlrn..", 5, "dlrn.repo_url", "no address of a repository"),
        ("/centos9-good", "/centos9-good?x=1", 5, "dlrn.repo_url", "without user, query and fragment"),
        ("path: /images/", "path: images/", 12, "image_servers.images.path", "write an absolute path"),
        ("path: /images/", "path: /images/../", 12, "image_servers.images.path", "write an absolute path"),
        (
            "/rdo_trunk",
            "/{branch}",
            12,
            "image_servers.images.path",
            "{branch} is not known here; known: {release}",
        ),
        ("/rdo_trunk", "/{release", 12, "image_servers.images.path", "write an absolute path"),
        (
            "/rdo_trunk",
            "/{release.file}",
            12,
            "image_servers.images.path",
            "{release.file} is not known here",
        ),
        ("containers/good.yaml", "../good.yaml", 16, "containers.list", "relative to the releases folder"),
        ("containers/good.yaml", "/etc/good.yaml", 16, "containers.list", "relative to the releases folder"),
        # YAML
        (DISTRO, "distro: {name: centos", 3, "", "this is no YAML: while parsing a flow mapping"),
        ("release: good", "release: good\n\tx: 1", 2, "", "this is no YAML"),
        (DISTRO, "distro: !!python/name:os.system {}", 2, "distro", "python/name:os.system is not read here"),
        (DISTRO, "distro: !x {name: centos, version: 9}", 2, "distro", "the YAML tag !x is not read here"),
        (
            DISTRO,
            "distro: &d {name: centos, version: *d}",
            2,
            "distro.version",
            "never ends: write the value out",
        ),
        (DISTRO, "<<: {poll: 9s}\n" + DISTRO, 2, "<<", "merge keys are not read here: write the keys out"),
        ("images: [", "images: [!!int x, ", 18, "images[0]", "'x' cannot be read: write it in quotes"),
    )
]
