"""Services that can be broken for a while: proxies before the world's own, with Connections of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from lab.certificates import server_files
from lab.lab import Lab
from lab.outage import Outage, before
from lab.service import HOST

#: What is behind the names of their Connections.
SUFFIX = "_shaky"


@contextmanager
def shaky_services(lab: Lab) -> Iterator[dict[str, Outage]]:
    """Put a proxy before each service; its name is the Connection's.

    ``repo`` is DLRN's tree, ``tokens`` the token server of the registry that asks for tokens.
    """
    facts, quay = lab.dlrn, lab.registries.quay
    assert quay.issuer is not None
    tls = server_files(quay.folder)
    tokens = Outage(HOST, quay.issuer.service.port, tls)
    # The registry names its token server itself.
    names = {quay.issuer.realm: f"{tokens.url}/token"}
    with ExitStack() as stack:
        made = {
            "dlrn_centos7_master": Outage(HOST, _port(facts.api_url)),
            "repo": Outage(HOST, _port(facts.repo_url)),
            "registry_rdo": before(lab.registries.rdo),
            "registry_dockerhub": before(lab.registries.dockerhub),
            "registry_quay": Outage(HOST, quay.service.port, tls, names=names),
            "tokens": tokens,
        }
        for conn_id in ("images_rdo", "images_rh1"):
            port = json.loads(lab.connections()[conn_id])["port"]
            made[conn_id] = Outage(HOST, port, http=False)
        for outage in made.values():
            stack.enter_context(outage)
        yield made


def connections(lab: Lab, outages: Mapping[str, Outage]) -> dict[str, str]:
    """Return the Connections through the proxies."""
    found = {}
    for conn_id, content in lab.connections().items():
        if conn_id not in outages:
            continue  # what jobs are started on
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
