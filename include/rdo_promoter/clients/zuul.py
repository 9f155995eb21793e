"""Zuul's client: questions alone, nothing here changes anything.

Zuul's REST API has no login for questions, answers errors in HTML, and a parameter that it does not know with
a 404. Measured against 14.3; the older shape of a build, flat up to 9.5, is read as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote

from rdo_promoter import __version__
from rdo_promoter.clients import zuul_answers
from rdo_promoter.clients.http import TIMEOUT, attempts, make_session, reason, safe_url, send
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError
from rdo_promoter.model.ci import Buildset, JobRun, LiveJob

#: Rows in one answer; Zuul gives 50 when it is not told, and has no limit of its own.
PAGE = 100

#: Answers to one question for builds at most: a database of years is not read.
PAGES = 10

Parameters = Mapping[str, str | int | list[str]]


class ZuulClient:
    """What one tenant of a Zuul knows.

    :param url: Zuul's address without ``/api``, such as ``https://review.rdoproject.org/zuul``.
    :param tenant: the tenant, such as ``rdoproject.org``.
    :param verify: True, or the path of a CA bundle.
    :param timeout: seconds to connect, seconds between two bytes.
    :param retries: how often a question is asked again after a 5xx or a lost connection.
    :param backoff: seconds of the first pause between two tries.
    :param source: where the address was read from, for messages.
    """

    def __init__(
        self,
        url: str,
        tenant: str,
        *,
        verify: bool | str = True,
        timeout: tuple[float, float] = TIMEOUT,
        retries: int = 2,
        backoff: float = 0.5,
        source: str = "Zuul's Connection",
    ) -> None:
        self.tenant = tenant
        self.requests_made = 0
        self._url = url.rstrip("/")
        self._source = source
        self._knows_index = True
        self._session = make_session(
            verify=verify,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            headers={"User-Agent": f"rdo-promoter/{__version__}", "Accept": "application/json"},
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url}, {self.tenant})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    @property
    def url(self) -> str:
        """Zuul's address, fit for messages."""
        return safe_url(self._url)

    def builds(
        self,
        pipeline: str,
        *,
        jobs: Iterable[str] = (),
        results: Iterable[str] = (),
        final: bool | None = None,
        index_min: int | None = None,
        limit: int = PAGE,
        skip: int = 0,
    ) -> list[JobRun]:
        """Return runs of a pipeline, newest first, in one answer.

        :param pipeline: the pipeline.
        :param jobs: only of these jobs; ``*`` stands for anything.
        :param results: only with one of these results.
        :param final: only attempts that were, or were not, the last.
        :param index_min: only those with this number in Zuul's database or a higher one. A Zuul that
            cannot do this gives all.
        :param limit: rows at most.
        :param skip: rows to leave out; newer rows move the others down.
        """
        params: dict[str, str | int | list[str]] = {"pipeline": pipeline, "limit": limit, "skip": skip}
        if names := list(jobs):
            params["job_name"] = names
        if words := list(results):
            params["result"] = words
        if final is not None:
            params["final"] = 1 if final else 0
        if index_min is not None and self._knows_index:
            try:
                return self._builds(params | {"idx_min": index_min}, pipeline)
            except ConfigError as error:
                if "idx_min" not in str(error):
                    raise
                self._knows_index = False
        return self._builds(params, pipeline)

    def recent_builds(
        self, pipeline: str, *, horizon: int, index_min: int | None = None, pages: int = PAGES
    ) -> list[JobRun]:
        """Return the runs of a pipeline as far back as they are needed, each once, newest first.

        :param pipeline: the pipeline.
        :param horizon: seconds before the newest one's start; what started earlier need not be among them.
        :param index_min: the lowest number in Zuul's database that is needed, None when all are.
        :param pages: answers to ask for at most.
        """
        found: dict[str, JobRun] = {}
        for page in range(pages):
            # While they are read, newer rows move the others down: those come twice.
            runs = self.builds(pipeline, index_min=index_min, skip=page * PAGE)
            for run in runs:
                found.setdefault(run.uuid, run)
            started = [run.started for run in found.values() if run.started is not None]
            known = [run.index for run in runs if run.index is not None]
            reached = bool(started) and started[0] - started[-1] > horizon
            if index_min is not None and known and min(known) <= index_min:
                reached = True
            if reached or len(runs) < PAGE:
                break
        return list(found.values())

    def buildset(self, uuid: str) -> Buildset:
        """Return a buildset with all its runs.

        :raises NotFoundError: when Zuul does not know it.
        """
        path = f"buildset/{quote(uuid, safe='')}"
        return zuul_answers.buildset(self._get(path, {}, missing=f"buildset {uuid}"), self._where(path), uuid)

    def buildsets(self, pipeline: str, *, limit: int = 20) -> list[Buildset]:
        """Return the newest buildsets of a pipeline, newest first; without their runs.

        :param pipeline: the pipeline.
        :param limit: rows at most.
        """
        where = f"{self._where('buildsets')} of {pipeline}"
        data = self._get("buildsets", {"pipeline": pipeline, "limit": limit})
        return zuul_answers.buildsets(data, where, pipeline)

    def live(self, pipeline: str) -> list[LiveJob]:
        """Return the jobs of what is in a pipeline now; Zuul calls this answer's format unstable."""
        return zuul_answers.live_jobs(self._get("status", {}), self._where("status"), pipeline)

    def check(self) -> None:
        """Make sure that this is a Zuul, and that it knows the tenant.

        :raises ConfigError: when it does not.
        """
        data = self._get("builds", {"limit": 1})
        if not isinstance(data, list):
            raise AnswerError(
                f"{self._where('builds')}: answer is {data!r:.80}: no list; is this the address of a Zuul?"
            )

    def _builds(self, params: Parameters, pipeline: str) -> list[JobRun]:
        where = f"{self._where('builds')} of {pipeline}"
        return zuul_answers.job_runs(self._get("builds", params), where, pipeline)

    def _get(self, path: str, params: Parameters, *, missing: str = "") -> object:
        """Ask, and return the JSON of the answer.

        :param path: below the tenant.
        :param missing: what a 404 says is not there; empty when it says that the question is wrong.
        """
        where = self._where(path)
        url = f"{self._url}/api/tenant/{quote(self.tenant, safe='')}/{path}"
        response = send(self._session, "GET", url, params=params, service="Zuul")
        self.requests_made += attempts(response)
        status = response.status_code
        said = f"{where} answered {status}: {reason(response)}"
        if status >= 500 or status == 429:
            raise ServiceError(said, status=status)
        if status in (401, 403):
            raise AuthError(f"{said}; this Zuul does not let everybody look, ask its administrators")
        if status == 404 and missing:
            raise NotFoundError(f"{said}; Zuul does not know {missing}")
        if status == 404 or 300 <= status < 400:
            raise ConfigError(
                f"{said}; check the host of {self._source}, which is Zuul's address without /api, such as "
                "https://review.rdoproject.org/zuul, and the tenant in its extra"
            )
        if not 200 <= status < 300:
            raise AnswerError(said)
        try:
            content: object = response.json()
        except (ValueError, RecursionError) as error:
            raise AnswerError(
                f"{where} answered {status} without JSON ({reason(response, limit=80)}); "
                "is this the address of a Zuul?"
            ) from error
        return content

    def _where(self, path: str) -> str:
        return f"Zuul GET {self.url}/api/tenant/{quote(self.tenant, safe='')}/{path}"
