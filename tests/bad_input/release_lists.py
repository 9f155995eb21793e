"""Lists of containers that cannot be used: what is in the file, and how each line that refuses it begins."""

from __future__ import annotations

#: The prefix is ``openstack-``.
LISTS: tuple[tuple[str, list[str]], ...] = (
    # none
    ("", ["1: lists no container: add names, or remove `containers:` from the release"]),
    ("container_images: []", ["1: lists no container: add names"]),
    ("container_images:", ["1: lists no container: add names"]),
    # no list
    ("container_image: []", ["1: container_image: unknown key; did you mean 'container_images'?"]),
    ("container_images: cron", ["1: container_images: no list: write one container a line, `- name`"]),
    ("cron", ["1: no list: write one container a line"]),
    (
        "container_images: [cron]\ncontainer_images: [heat]",
        ["1: container_images: written twice"],
    ),
    # no names
    ("- cron\n- 7", ["2: [1]: no container's name: write `- name` or `- imagename: ns/name:tag`"]),
    ("- cron\n-", ["2: [1]: no container's name"]),
    ("- image: cron", ["1: [0].imagename: no container's name"]),
    ("- cron\n- Nova", ["2: [1]: 'Nova' names no container: lower-case letters, digits, '.', '_' and '-'"]),
    ("- cron\n- a b", ["2: [1]: 'a b' names no container"]),
    ("- cron\n- ../x/..", ["2: [1]: '../x/..' names no container"]),
    # names that do not fit
    (
        "- cron\n- x/daemon",
        ["2: [1]: 'daemon' does not begin with the prefix 'openstack-': remove it"],
    ),
    ("- cron\n- openstack-cron", ["2: [1]: 'openstack-cron' is listed twice: keep one"]),
    ("- Nova\n- cron\n- cron", ["1: [0]: 'Nova' names no", "3: [2]: 'openstack-cron' is listed twice"]),
)
