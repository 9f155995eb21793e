"""A client of Jenkins: start a build of a job, find it again, and see what has become of it.

Source: the pages ``/api`` of Jenkins itself (Remote access API, "Submitting jobs"), and its security notice
SECURITY-170: a build keeps only the parameters that its job declares.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import requests

from rdo_promoter.clients.http import make_session, reason, safe_url, send
from rdo_promoter.clients.jenkins_answers import (
    DEFINITION,
    JenkinsBuild,
    JobDefinition,
    QueueItem,
    build_tree,
    queue_tree,
    read_build,
    read_definition,
    read_list,
    read_queue_item,
)
from rdo_promoter.errors import AnswerError, AuthError, ConfigError, NotFoundError, ServiceError

log = logging.getLogger(__name__)

#: Builds in one answer while one of ours is looked for.
PAGE = 100

#: Builds that are looked at, at most: of a job with more in the meantime nobody could know.
_DEEPEST = 2000

#: Seconds that Jenkins's clock may be behind ours.
_SKEW = 3600

#: Characters of an artifact that names the build; it is one line as a rule.
_ARTIFACT = 1_000_000

_QUEUED = re.compile(r"/queue/item/([0-9]+)/?$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a build of ours is: in the queue, or among the job's builds; both None when it is not known.

    :param item: the number of its queue item.
    :param number: the build's number.
    """

    item: int | None = None
    number: int | None = None

    def __str__(self) -> str:
        if self.number is not None:
            return f"build {self.number}"
        return "" if self.item is None else f"queue {self.item}"


def read_place(text: str) -> Place:
    """Read what ``str`` made of a `Place`."""
    kind, _, number = text.partition(" ")
    if not number.isdecimal():
        return Place()
    return Place(number=int(number)) if kind == "build" else Place(item=int(number))


class JenkinsClient:
    """One Jenkins.

    :param url: its address.
    :param username: a user that may read and build the jobs.
    :param token: that user's API token; a password works as well, with one request more.
    :param verify: True, or the path of a CA bundle.
    :param retries: how often a question is asked again at most; a start is never asked for twice.
    :param backoff: seconds of the first pause between two questions.
    :param source: where address and login were read from, for messages.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        token: str | None = None,
        verify: bool | str = True,
        retries: int = 4,
        backoff: float = 0.5,
        source: str = "Jenkins's Connection",
    ) -> None:
        self.url = url.rstrip("/")
        self._session = make_session(verify=verify, retries=retries, backoff=backoff)
        # As bytes: requests would refuse what is beyond latin-1.
        self._auth = (username.encode(), (token or "").encode()) if username else None
        self._source = source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"JenkinsClient({safe_url(self.url)})"

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def check_login(self) -> str:
        """Return who we are, as Jenkins says; nothing is changed.

        :raises AuthError: when Jenkins refuses the login.
        """
        name = _object(self._get("me/api/json", {"tree": "id"}), "me").get("id")
        return str(name)

    def definition(self, job: str) -> JobDefinition:
        """Return what Jenkins says of a job.

        :param job: its name, with its folders: ``folder/name``.
        :raises NotFoundError: when there is none, or our user may not see it.
        """
        return read_definition(self._get(f"{_path(job)}/api/json", {"tree": DEFINITION}), job)

    def start(self, job: str, parameters: Mapping[str, str]) -> Place:
        """Ask for a build, once, and return where it was put into the queue.

        :raises ServiceError: when no answer came: whether it was put there is then not known.
        """
        path = f"{_path(job)}/buildWithParameters"
        response = self._post(path, parameters)
        where = f"Jenkins POST {safe_url(self.url)}/{path}"
        if response.status_code == 403 and "crumb" in response.text.lower():
            # With a password Jenkins wants a crumb of the same session; it has started nothing.
            response = self._post(path, parameters, self._crumb())
        if not 200 <= response.status_code < 300:
            raise self._refusal(response, where)
        # Only the number counts: the address is how Jenkins calls itself, and the token goes nowhere else.
        found = _QUEUED.search(urlsplit(response.headers.get("Location", "")).path)
        if response.status_code != 201 or found is None:
            raise AnswerError(f"{where} answered {response.status_code} and no place in the queue")
        return Place(item=int(found[1]))

    def find(self, job: str, name: str, value: str, *, since: int) -> Place | None:
        """Return where the build with this parameter is, None when there is none.

        Of several, as after somebody's "Rebuild", the first is ours.

        :param name: the parameter.
        :param value: what it has to be.
        :param since: when it was asked for at the earliest, seconds since the epoch.
        """
        # In this order: a build leaves the queue for the list of builds, never the other way.
        queue = read_list(self._get("queue/api/json", {"tree": f"items[{queue_tree()}]"}), "items", "queue")
        items = [read_queue_item(item) for item in queue]
        numbers = [build.number for build in self._builds(job, since) if build.parameters.get(name) == value]
        if len(numbers) > 1:
            log.warning("%s has %d builds with %s %s; the first is ours", job, len(numbers), name, value)
        if numbers:
            return Place(number=min(numbers))
        waiting = [item.id for item in items if item.parameters.get(name) == value and item.number is None]
        return Place(item=min(waiting)) if waiting else None

    def queue_item(self, number: int) -> QueueItem | None:
        """Return an item of the queue; None when Jenkins has forgotten it, minutes after its build began."""
        try:
            return read_queue_item(self._get(f"queue/item/{number}/api/json", {"tree": queue_tree()}))
        except NotFoundError:
            return None

    def build(self, job: str, number: int) -> JenkinsBuild | None:
        """Return a build, None when there is none: old ones are discarded."""
        try:
            return read_build(self._get(f"{_path(job)}/{number}/api/json", {"tree": build_tree()}))
        except NotFoundError:
            return None

    def artifact(self, job: str, number: int, path: str) -> str:
        """Return the text of a file that a build has archived.

        :raises NotFoundError: when it has archived none of this name.
        """
        where = f"{_path(job)}/{number}/artifact/{quote(path)}"
        response = self._send("GET", where)
        if not 200 <= response.status_code < 300:
            raise self._refusal(response, f"Jenkins GET {safe_url(self.url)}/{where}")
        return response.text[:_ARTIFACT]

    def _builds(self, job: str, since: int) -> Iterator[JenkinsBuild]:
        """Yield the job's builds that may be ours, newest first."""
        for first in range(0, _DEEPEST, PAGE):
            tree = f"allBuilds[{build_tree()}]{{{first},{first + PAGE}}}"
            content = self._get(f"{_path(job)}/api/json", {"tree": tree})
            page = [read_build(build) for build in read_list(content, "allBuilds", job)]
            yield from page
            if len(page) < PAGE or page[-1].started < since - _SKEW:
                return

    def _crumb(self) -> dict[str, str]:
        answer = _object(self._get("crumbIssuer/api/json", {}), "crumbIssuer")
        return {str(answer.get("crumbRequestField")): str(answer.get("crumb"))}

    def _post(
        self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        # In the body: addresses are written into access logs.
        return self._send("POST", path, data=dict(form), headers=dict(headers or {}))

    def _get(self, path: str, params: Mapping[str, str]) -> object:
        where = f"Jenkins GET {safe_url(self.url)}/{path}"
        response = self._send("GET", path, params=dict(params))
        if not 200 <= response.status_code < 300:
            raise self._refusal(response, where)
        try:
            content: object = response.json()
        except ValueError as error:
            raise AnswerError(
                f"{where} answered {response.status_code} without JSON ({reason(response, limit=80)}); is "
                f"this the address of a Jenkins? See {self._source}"
            ) from error
        return content

    def _send(self, method: str, path: str, **kwargs: object) -> requests.Response:
        return send(
            self._session,
            method,
            f"{self.url}/{path}",
            service="Jenkins",
            auth=self._auth,
            # A redirect would take the token somewhere else, and make a GET of a POST.
            allow_redirects=False,
            **kwargs,
        )

    def _refusal(self, response: requests.Response, where: str) -> Exception:
        status, said = response.status_code, reason(response)
        if status == 429 or status >= 500:
            return ServiceError(f"{where} answered {status}: {said}", status=status)
        if status in (401, 403):
            return AuthError(
                f"{where} answered {status}: {said}; check user and API token of {self._source}, and that "
                "the user may read and build this job"
            )
        if status == 404:
            return NotFoundError(
                f"{where} answered 404: it does not exist, or the user of {self._source} may not see it"
            )
        if 300 <= status < 400:
            target = safe_url(response.headers.get("Location", ""))
            return ConfigError(
                f"{where} answered {status} and points to {target}: write Jenkins's own address into "
                f"{self._source}"
            )
        return AnswerError(f"{where} answered {status}: {said}")


def _path(job: str) -> str:
    return "/".join(f"job/{quote(part, safe='')}" for part in job.split("/"))


def _object(content: object, what: str) -> Mapping[str, object]:
    if not isinstance(content, Mapping):
        raise AnswerError(f"Jenkins's answer about {what} is no JSON object")
    return content
