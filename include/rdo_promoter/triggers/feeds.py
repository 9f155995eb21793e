"""What a trigger that waits for a build listens to: votes, labels and decisions, each asked once a poll."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rdo_promoter.errors import MissingConnectionError, TransientError
from rdo_promoter.hooks.decisions import DecisionsReader
from rdo_promoter.model.build import Build
from rdo_promoter.model.ci import Sighting
from rdo_promoter.model.decisions import Decisions
from rdo_promoter.triggers.dlrn import LabelsSource
from rdo_promoter.triggers.feed import Feed, join
from rdo_promoter.triggers.outcome import Known, Labels, Votes
from rdo_promoter.triggers.terms import Terms
from rdo_promoter.triggers.zuul import join_pipeline, votes_source

#: Labels move once in hours, votes come in all the time.
LABEL_POLLS = 4


class Log(Protocol):
    """The log of a trigger."""

    def info(self, event: str, *args: object) -> object:
        """Say something."""

    def warning(self, event: str, *args: object) -> object:
        """Say something that somebody may have to mend."""


class DecisionsSource(DecisionsReader):
    """Asks the ledger and the reviewed file what is decided about a release."""

    def ask(self) -> Decisions:
        """Return what is decided."""
        return self.read()

    def close(self) -> None:
        """Nothing is held."""


class Listening:
    """The feeds of one trigger, as long as it listens.

    :param build: the build.
    :param feeds: those of votes, labels and decisions.
    :param bell: rung at each answer and each error.
    :param since: what was asked for before is not known, by the clock of the event loop.
    :param ci: that of the pipeline, None when it is not known; nobody waits for it.
    """

    def __init__(
        self,
        build: Build,
        feeds: tuple[Feed[Votes], Feed[Labels], Feed[Decisions]],
        bell: asyncio.Event,
        since: float,
        ci: Feed[Sighting] | None = None,
    ) -> None:
        self._ci = ci
        self._since = since
        self._build = build
        self._votes, self._labels, self._decisions = feeds
        self._bell = bell
        self._silent = False

    @property
    def known(self) -> Known | None:
        """What is known of the build, None before its votes are."""
        votes = self._votes.since(self._since)
        if votes is None:
            return None
        ci = self._ci.answer if self._ci is not None else None
        return Known(votes, self._labels.since(self._since), self._decisions.since(self._since), ci)

    async def news(self, log: Log, *, first: bool) -> None:
        """Wait until something may have changed; say once that somebody does not answer.

        :param log: the trigger's log.
        :param first: look at what there is before waiting.
        :raises BaseException: what ended a feed for good.
        """
        if not first:
            self._say(log)
            await self._bell.wait()
            self._bell.clear()
        for feed in (self._votes, self._labels, self._decisions):
            if feed.failure is not None:
                raise feed.failure

    @property
    def error(self) -> TransientError | None:
        """Why the last question was not answered, None when all were."""
        feeds = (self._votes, self._labels, self._decisions)
        return next((feed.error for feed in feeds if feed.error is not None), None)

    def _say(self, log: Log) -> None:
        error = self.error
        if error is not None and not self._silent:
            log.warning("%s %s; waiting goes on", self._build.short, error)
        elif error is None and self._silent:
            log.info("%s everybody answers again", self._build.short)
        self._silent = error is not None


@contextmanager
def listen(terms: Terms, build: Build, *, anew: bool = False) -> Iterator[Listening]:
    """Join the feeds about a build, and leave them at the end of the `with` block.

    :param terms: what is waited for.
    :param build: the build.
    :param anew: know nothing but what is asked for from now on: a task that has just looked itself knows more
        than an answer of a minute ago, and would be woken by that again and again.
    """
    where, bell, ci = terms.where, asyncio.Event(), terms.ci
    since = asyncio.get_running_loop().time() if anew else -math.inf
    conn_id = where.dlrn_conn_id
    deciding = ci.zuul_conn_id if ci and ci.decides else conn_id
    with (
        join(
            ("votes", where, ci if ci and ci.decides else None, build),
            votes_source(terms, build),
            service=deciding,
            name=f"{build.short} votes in {deciding}",
            poll=terms.poll,
            bell=bell,
        ) as votes,
        join(
            ("labels", where),
            LabelsSource(where),
            service=conn_id,
            name=f"{where.candidate_label} and {where.promoted_label} in {conn_id}",
            poll=terms.poll * LABEL_POLLS,
            bell=bell,
        ) as labels,
        join(
            ("decisions", terms.dag_id, terms.waivers_file),
            DecisionsSource(terms.dag_id, terms.waivers_file),
            service="the ledger",
            name=f"decisions about {terms.dag_id}",
            poll=terms.poll,
            bell=bell,
        ) as decisions,
    ):
        if ci is None or ci.decides:
            yield Listening(build, (votes, labels, decisions), bell, since)
            return
        with join_pipeline(ci.zuul_conn_id, ci.pipeline.name, poll=terms.poll, bell=bell) as pipeline:
            yield Listening(build, (votes, labels, decisions), bell, since, pipeline)


async def wait_until(
    listening: Listening, log: Log, done: Callable[[Known], bool], *, without_connection: bool = True
) -> Known:
    """Wait until what is known satisfies a condition, and return it.

    :param listening: the feeds.
    :param log: the trigger's log.
    :param done: the condition.
    :param without_connection: wait on while Airflow says that a Connection does not exist.
    :raises MissingConnectionError: when it says so, and that is not waited for.
    """
    first = True
    while True:
        await listening.news(log, first=first)
        first = False
        if not without_connection and isinstance(listening.error, MissingConnectionError):
            raise listening.error
        known = listening.known
        if known is not None and done(known):
            return known
