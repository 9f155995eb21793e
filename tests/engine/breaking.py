"""A phase of a run while one of its services is broken: it goes through, or says what Airflow tries again."""

from __future__ import annotations

import re
import time

from rdo_promoter.errors import TransientError
from tests.engine.phases import Phase, Run
from tests.engine.world import API, TOKENS, TREE

#: Seconds for a phase to give up, on a machine that is busy with other things as well.
LIMIT = 30.0

_HTTP = r"(GET|HEAD|POST) http://\S+"

#: Who is named in the message, and what was asked.
_SAID = {
    API: rf"DLRN (gave no answer to )?{_HTTP}/api/\w+",
    TREE: rf"DLRN's repositories( gave no answer to|:) {_HTTP}/(commit\.yaml|delorean\.repo)",
    TOKENS: r"registry quay \(https://\S+\): get a token for .+ from 127\.0\.0\.1:\d+",
    "images": r"image server images( 127\.0\.0\.1:\d+ does not answer the login of \w+|: \w+)",
    "rh1": r"image server rh1( 127\.0\.0\.1:\d+ does not answer the login of \w+|: \w+)",
}


def break_(run: Run, service: str, how: str, *, after: int | None = None) -> None:
    """Break a service until it is mended, in a way that clients do not wait for.

    :param after: what goes well before it, as `Outage.break_` takes it.
    """
    run.rdo.world.outages[service].break_(how, seconds=60, after=after, retry_after=0)


def try_(run: Run, phase: Phase, service: str) -> TransientError | None:
    """Go through a phase while a service is broken; return how it failed, None when it did not."""
    began, failed = time.monotonic(), None
    slow = run.rdo.world.outages[service].broken == "slow"
    try:
        run.go(phase, impatient=service if slow else None)
    except TransientError as error:
        failed = error
    assert time.monotonic() - began < LIMIT, phase.name
    if failed is not None:
        said = _SAID.get(service, rf"registry {service} \(https?://\S+\): \w+ ")
        assert re.search(said, str(failed)), f"{phase.name}: {failed}"
    return failed
