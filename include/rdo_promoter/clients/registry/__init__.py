"""Container registries: read and move tags by digest, copy images byte for byte.

A small client of the distribution API of its own, on requests: the ready-made ones serialise manifests again
(another digest) or need a container engine.
"""

from rdo_promoter.clients.registry.client import Registry, heads, tag_all
from rdo_promoter.clients.registry.copy import Carrier, CopyItem, CopyReport, copy
from rdo_promoter.clients.registry.manifest import Descriptor, Manifest, digest_of, parse_manifest
from rdo_promoter.clients.registry.pool import run_all

__all__ = [
    "Carrier",
    "CopyItem",
    "CopyReport",
    "Descriptor",
    "Manifest",
    "Registry",
    "copy",
    "digest_of",
    "heads",
    "parse_manifest",
    "run_all",
    "tag_all",
]
