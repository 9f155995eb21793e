"""Mistakes between the values of a release file: names that miss, an order that cannot be."""

from __future__ import annotations

from tests.bad_input.release_values import CANDIDATE, PHASE1, TAG, UPSTREAM, Mistake

OTHER_STAGE = """label: other
  - name: c
    source: current-good
    steps:
      - wait_for: {jobs: [c], within: 1h}
      - promote:
          label: other"""

PHASE1_STEPS = "    source: current-good\n    steps:\n"

CROSS = [
    Mistake(*row)
    for row in (
        # names that refer to something
        (
            "in: rdo, tag",
            "in: rod, tag",
            25,
            f"{UPSTREAM}[2].tag_containers.in",
            "unknown registry 'rod'; did you mean 'rdo'?",
        ),
        (
            "push_to: [quay]",
            "push_to: [quya]",
            35,
            f"{UPSTREAM}[5].promote.push_to[0]",
            "did you mean 'quay'? known: quay, rdo",
        ),
        (
            "source: rdo\n",
            "source: rod\n",
            15,
            "containers.source",
            "unknown registry 'rod'; did you mean 'rdo'?",
        ),
        (
            "source: current-good",
            "source: current-god",
            37,
            "stages[1].source",
            "did you mean 'current-good'?",
        ),
        (
            "source: consistent",
            "source: elsewhere",
            21,
            "stages[0].source",
            "no earlier stage promotes to 'elsewhere'",
        ),
        ("source: consistent", "source: current", 21, "stages[0].source", "write 'consistent'"),
        (
            "scenario001: [",
            "scenario002: [",
            33,
            f"{UPSTREAM}[4].wait_for.alternatives.scenario002",
            "did you mean 'scenario001'",
        ),
        (
            "[scenario001-internal]",
            "[standalone]",
            33,
            f"{UPSTREAM}[4].wait_for.alternatives.scenario001[0]",
            "is required by this step anyway",
        ),
        (
            "containers/good.yaml",
            "containers/god.yaml",
            16,
            "containers.list",
            "releases/containers/god.yaml: cannot be read: No such file",
        ),
        (
            "exclude: [ceph/daemon]",
            "exclude: [daemon, nova-apis]",
            17,
            "containers.exclude[1]",
            "did you mean 'nova-api'?",
        ),
        (
            "source: current-good\n",
            "source: current-good\n    pipeline: phase1\n",
            38,
            "stages[1].pipeline",
            "the release names no Zuul: add `zuul: {connection: ..., pipeline: ...}`, or remove this",
        ),
        (
            "within: 4h",
            "within: 4h, evidence: zuul_buildset",
            24,
            f"{UPSTREAM}[1].wait_for.evidence",
            "no pipeline of Zuul's tests this stage: add `zuul: {connection: ..., pipeline: ...}`",
        ),
        # labels
        (
            "label: current-good-rdo",
            OTHER_STAGE,
            47,
            "stages[2].steps[1].promote.label",
            "moved by stages[1].steps[1].promote already",
        ),
        (
            "to: quay, tag: ci-testing",
            "to: quay, tag: current-good",
            26,
            f"{UPSTREAM}[3].push_containers.tag",
            "'current-good' is a promoted label",
        ),
        *(
            (
                f"{where}, tag: ci-testing",
                f"{where}, tag: {tag}",
                line,
                f"{UPSTREAM}{step}.tag",
                f"no candidate step moves '{tag}', so nothing would be tagged; {known}",
            )
            for where, line, step in (
                ("in: rdo", 25, "[2].tag_containers"),
                ("to: quay", 26, "[3].push_containers"),
            )
            for tag, known in (
                ("ci-tseting", "did you mean 'ci-testing'? known: ci-testing"),
                ("tripleo", "known: ci-testing"),
            )
        ),
        (
            "in: rdo, tag: ci-testing",
            "in: rdo, tag: current-good",
            25,
            f"{UPSTREAM}[2].tag_containers.tag",
            "'current-good' is a promoted label",
        ),
        (
            "label: current-good-rdo",
            "label: previous-current-good",
            41,
            f"{PHASE1}[1].promote.label",
            "keeps what 'current-good' named before, and is moved by its promotion: use another label",
        ),
        (
            "label: current-good-rdo",
            f"label: {'x' * 119}",
            41,
            f"{PHASE1}[1].promote.label",
            "119 characters are too many behind `previous-`: use at most 118",
        ),
        *(
            (
                after,
                f"{after}      - check_repo: {{label: {label}}}\n",
                line,
                f"{steps}.check_repo.label",
                said,
            )
            for after, label, line, steps, said in (
                (
                    PHASE1_STEPS,
                    "current-god",
                    39,
                    f"{PHASE1}[0]",
                    "did you mean 'current-good'? known: current-good",
                ),
                (
                    PHASE1_STEPS,
                    "ci-testing",
                    39,
                    f"{PHASE1}[0]",
                    "nothing gives 'ci-testing' to the build before",
                ),
                (
                    PHASE1_STEPS,
                    "current-good-rdo",
                    39,
                    f"{PHASE1}[0]",
                    "write the stage's source or its candidate",
                ),
                (CANDIDATE, "current-good", 24, f"{UPSTREAM}[1]", "; known: ci-testing"),
                (
                    CANDIDATE,
                    "consistent",
                    24,
                    f"{UPSTREAM}[1]",
                    "'consistent' is moved by DLRN's builder alone",
                ),
            )
        ),
        # order and ids
        (
            "      - wait_for: {name: phase1_tests, jobs: [weirdo-packstack], within: 2d}\n",
            "",
            39,
            f"{PHASE1}[0].promote",
            "a promotion without criteria",
        ),
        (
            TAG,
            TAG + "      - candidate: {label: second}\n",
            26,
            f"{UPSTREAM}[3].candidate",
            "has to be the stage's first step",
        ),
        (
            "          tag_in: [rdo]\n",
            "          tag_in: [rdo]\n      - wait_for: {jobs: [late], within: 1h}\n",
            40,
            f"{PHASE1}[1].promote",
            "a stage with `source: current-good-rdo`",
        ),
        ("name: phase1\n", "name: upstream\n", 36, "stages[1].name", "'upstream' is an earlier stage's name"),
        (
            "name: phase1\n",
            "name: source\n",
            36,
            "stages[1].name",
            "'source' is the group of the run's first task",
        ),
        ("name: phase1_tests", "name: start", 39, f"{PHASE1}[0].wait_for.name", "give it another `name:`"),
        (
            "name: phase1_tests",
            "name: promote",
            40,
            f"{PHASE1}[1].promote",
            "'promote' is an earlier step's id in this stage",
        ),
        ("[weirdo-packstack]", "[phase1_tests]", 39, f"{PHASE1}[0].wait_for.jobs[0]", "both become task ids"),
        (
            "- standalone\n",
            "- build-images\n",
            29,
            f"{UPSTREAM}[4].wait_for.jobs[0]",
            "awaited by 'wait_for' already",
        ),
        (
            "retry_delay: 20m",
            "retry_delay: 20h",
            34,
            f"{UPSTREAM}[4].wait_for.retry_delay",
            "20h is longer than within (12h)",
        ),
        # containers and images
        (
            "to: quay, tag",
            "to: rdo, tag",
            26,
            f"{UPSTREAM}[3].push_containers.to",
            "write `tag_containers: {in: rdo, tag: ci-testing}`",
        ),
        (
            "push_to: [quay]",
            "push_to: [rdo]",
            35,
            f"{UPSTREAM}[5].promote.push_to[0]",
            "write `tag_in: [rdo]`",
        ),
        (
            "tag_in: [rdo], push_to: [quay]",
            "tag_in: [rdo, quay], push_to: [quay]",
            35,
            f"{UPSTREAM}[5].promote.push_to[0]",
            "'quay' is in tag_in as well",
        ),
        (
            "tag_in: [rdo], push_to: [quay]",
            "tag_in: [quay]",
            35,
            f"{UPSTREAM}[5].promote.tag_in",
            "the containers come from 'rdo', which is not listed",
        ),
        (
            "  quay: {",
            "  spare: {connection: a, namespace: b}\n  quay: {",
            8,
            "registries.spare",
            "no step uses it",
        ),
        (
            "images: [overcloud-full.tar, ironic-python-agent.tar]\n",
            "",
            34,
            f"{UPSTREAM}[5].promote.link_on",
            "the release has no images",
        ),
        (
            "exclude: [ceph/daemon]",
            "exclude: []",
            None,
            "container_images[2].imagename",
            "does not begin with the prefix 'openstack-'",
        ),
    )
]
