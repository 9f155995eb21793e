"""Container lists: tripleo's form, plain names, exclusions."""

from __future__ import annotations

import pytest

from rdo_promoter.files.reader import parse_document
from rdo_promoter.release import Containers
from rdo_promoter.release.containers import container_names


def read(
    text: str, *, prefix: str = "centos-binary-", exclude: tuple[str, ...] = ()
) -> tuple[list[str], list[str]]:
    document = parse_document(text.encode(), "list.yaml")
    settings = Containers.model_validate(
        {"prefix": prefix, "source": "rdo", "list": "list.yaml", "exclude": exclude}
    )
    names, problems = container_names(document, settings)
    return list(names), [f"{problem.path}: {problem.message}" for problem in problems]


def test_tripleos_list_loses_registry_namespace_and_tag() -> None:
    text = """container_images:
- imagename: docker.io/tripleomaster/centos-binary-nova-api:current-tripleo
- imagename: localhost:5000/a/b/centos-binary-cron
- imagename: centos-binary-base@sha256:00ff
  neutron_driver: ovn
"""
    assert read(text) == (["centos-binary-nova-api", "centos-binary-cron", "centos-binary-base"], [])


def test_plain_names_get_the_prefix() -> None:
    assert read("[nova-api, centos-binary-cron]") == (["centos-binary-nova-api", "centos-binary-cron"], [])
    assert read("[nova-api]", prefix="") == (["nova-api"], [])


@pytest.mark.parametrize("excluded", ["daemon", "ceph/daemon"])
def test_what_is_excluded_may_lack_the_prefix(excluded: str) -> None:
    text = "[docker.io/ceph/daemon:v3, nova-api]"
    assert read(text, exclude=(excluded,)) == (["centos-binary-nova-api"], [])


@pytest.mark.parametrize("excluded", ["cron", "centos-binary-cron", "tripleomaster/centos-binary-cron"])
def test_containers_are_excluded_by_any_of_their_names(excluded: str) -> None:
    text = "[tripleomaster/centos-binary-cron:x, nova-api]"
    assert read(text, exclude=(excluded,)) == (["centos-binary-nova-api"], [])
