"""Services that can be broken for a while: proxies before the world's own, with Connections of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from lab.lab import Lab
from lab.outage import Outage, before
from lab.service import HOST

#: What is behind the names of their Connections.
SUFFIX = "_shaky"


@contextmanager
def shaky_services(lab: Lab) -> Iterator[dict[str, Outage]]:
    """Put a proxy before each service; its name is the Connection's, and ``repo`` for DLRN's tree."""
    facts = lab.dlrn
    with ExitStack() as stack:
        made = {
            "dlrn_centos7_master": Outage(HOST, _port(facts.api_url)),
            "repo": Outage(HOST, _port(facts.repo_url)),
            **{f"registry_{registry.name}": before(registry) for registry in lab.registries},
        }
        for conn_id, content in lab.connections().items():
            if conn_id not in made:
                made[conn_id] = Outage(HOST, json.loads(content)["port"], http=False)
        for outage in made.values():
            stack.enter_context(outage)
        yield made


def connections(lab: Lab, outages: Mapping[str, Outage]) -> dict[str, str]:
    """Return the Connections through the proxies."""
    found = {}
    for conn_id, content in lab.connections().items():
        connection, outage = json.loads(content), outages[conn_id]
        if "port" in connection:
            connection["port"] = outage.port
        else:
            connection["host"] = outage.url
        found[conn_id + SUFFIX] = json.dumps(connection)
    return found


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port
