"""A fake Jenkins: no Jenkins, but what its documentation says that one answers.

Nothing here builds anything. A job is what a test or a demonstration says it is, and ends when and how it is
told to. Sources: the pages ``/api`` of Jenkins (Remote access API: ``tree``, ``buildWithParameters``, the
queue), "CSRF Protection" (crumbs; none with an API token), and SECURITY-170 (a build keeps only parameters
that its job declares).
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lab.service import HOST

_RANGE = re.compile(r"\{(\d+),(\d+)\}")


@dataclass
class FakeBuild:
    """A build, from the queue on.

    :param item: its number in the queue.
    :param number: its number in the job, None while it waits.
    :param ended: when it ended, None before.
    """

    item: int
    parameters: dict[str, str]
    asked: float
    number: int | None = None
    started: float = 0.0
    ended: float | None = None
    result: str | None = None
    description: str | None = None
    artifacts: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False


@dataclass
class FakeJob:
    """A job.

    :param name: with its folders.
    :param parameters: the names that it declares, and their defaults.
    :param waits: seconds in the queue; None: until `FakeJenkins.begin`.
    :param takes: seconds of a build; None: until `FakeJenkins.finish`.
    :param result: how builds end by themselves.
    :param description: of builds that end by themselves; ``{NAME}`` is a parameter.
    :param artifacts: likewise, the text of each file by its path.
    """

    name: str
    parameters: dict[str, str]
    waits: float | None = 0.0
    takes: float | None = None
    result: str = "SUCCESS"
    description: str | None = None
    artifacts: dict[str, str] = field(default_factory=dict)
    buildable: bool = True
    builds: list[FakeBuild] = field(default_factory=list)


class FakeJenkins:
    """The fake's state; `serve` gives it an address.

    :param username: its only user.
    :param token: that user's API token.
    :param password: that user's password, with which a POST needs a crumb.
    """

    def __init__(self, username: str = "promoter", token: str = "", password: str = "") -> None:
        self.username = username
        self.token = token or secrets.token_hex(17)
        self.password = password or secrets.token_hex(8)
        self.crumb = secrets.token_hex(16)
        self.session = secrets.token_hex(16)
        self.jobs: dict[str, FakeJob] = {}
        #: Starts that were carried out, and all requests as method and path.
        self.starts = 0
        self.requests: list[str] = []
        #: The next start is carried out, and its answer is lost.
        self.lose_answer = False
        #: Answered to everything, for example 503.
        self.broken: int | None = None
        self.url = ""
        self._items = 100
        self.lock = threading.RLock()

    def job(self, name: str, *parameters: str, **settings: Any) -> FakeJob:
        """Make a job that declares these parameters."""
        with self.lock:
            self.jobs[name] = FakeJob(name, dict.fromkeys(parameters, ""), **settings)
            return self.jobs[name]

    def start(self, job: FakeJob, given: Mapping[str, str]) -> FakeBuild:
        """Put a build into the queue; one that waits with the same parameters is the same."""
        with self.lock:
            parameters = {name: given.get(name, default) for name, default in job.parameters.items()}
            for build in job.builds:
                if build.number is None and not build.cancelled and build.parameters == parameters:
                    return build
            self._items += 1
            self.starts += 1
            build = FakeBuild(self._items, parameters, time.time())
            job.builds.append(build)
            return build

    def begin(self, job: FakeJob, build: FakeBuild) -> None:
        """Let a build leave the queue."""
        with self.lock:
            if build.number is None:
                build.number = 1 + max((other.number or 0 for other in job.builds), default=0)
                build.started = time.time()

    def finish(self, job: FakeJob, result: str = "SUCCESS", build: FakeBuild | None = None) -> FakeBuild:
        """End a build, the newest by default."""
        with self.lock:
            build = build or job.builds[-1]
            self.begin(job, build)
            build.ended, build.result = time.time(), result
            return build

    def tick(self) -> None:
        """Let what goes by itself go on."""
        now = time.time()
        with self.lock:
            for job in self.jobs.values():
                for build in job.builds:
                    if build.number is None:
                        if not build.cancelled and job.waits is not None and now - build.asked >= job.waits:
                            self.begin(job, build)
                    elif build.ended is None and job.takes is not None and now - build.started >= job.takes:
                        if job.description is not None:
                            build.description = job.description.format(**build.parameters)
                        build.artifacts = {
                            name: text.format(**build.parameters) for name, text in job.artifacts.items()
                        }
                        self.finish(job, job.result, build)

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Answer at an address until the end of the `with` block."""
        fake = self

        class Handler(_Handler):
            jenkins = fake

        with ThreadingHTTPServer((HOST, port), Handler) as server:
            server.daemon_threads = True
            self.url = f"http://{HOST}:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            try:
                yield self.url
            finally:
                server.shutdown()
                thread.join()

    def connection(self) -> dict[str, object]:
        """Return the Airflow Connection."""
        return {
            "conn_type": "jenkins",
            "host": self.url,
            "login": self.username,
            "password": self.token,
        }


class _Handler(BaseHTTPRequestHandler):
    jenkins: FakeJenkins
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
        """Say nothing."""

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        fake = self.jenkins
        fake.requests.append(f"{method} {parts.path}")
        if fake.broken is not None:
            self._send(fake.broken, "<html><title>Starting Jenkins</title></html>", "text/html")
            return
        login = self._login()
        if login is None:
            self._send(401, "<html><title>Error 401 Unauthorized</title></html>", "text/html")
            return
        fake.tick()
        tree = parse_qs(parts.query).get("tree", [""])[0]
        with fake.lock:
            if method == "POST":
                self._post(parts.path, body, login)
            else:
                self._get(parts.path, tree)

    def _login(self) -> str | None:
        kind, _, coded = self.headers.get("Authorization", "").partition(" ")
        name, _, secret = base64.b64decode(coded).decode().partition(":") if kind == "Basic" else ("", "", "")
        if name != self.jenkins.username:
            return None
        return {self.jenkins.token: "token", self.jenkins.password: "password"}.get(secret)

    def _post(self, path: str, body: str, login: str) -> None:
        fake = self.jenkins
        if login == "password":
            same_session = f"JSESSIONID={fake.session}" in self.headers.get("Cookie", "")
            if self.headers.get("Jenkins-Crumb") != fake.crumb or not same_session:
                self._send(
                    403,
                    "<html><title>Error 403 No valid crumb was included in the request</title></html>",
                    "text/html",
                )
                return
        if path == "/fake/jobs":
            settings = json.loads(body)
            fake.job(settings.pop("name"), *settings.pop("parameters", ()), **settings)
            self._json({})
            return
        job = self._job(path.removesuffix("/buildWithParameters"))
        if job is None or not path.endswith("/buildWithParameters"):
            self._missing()
        elif not job.buildable:
            self._send(409, f"<html><title>Error 409 {job.name} is not buildable</title></html>", "text/html")
        elif not job.parameters:
            self._send(400, f"<html><title>{job.name} is not parameterized</title></html>", "text/html")
        else:
            given = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
            build = fake.start(job, given)
            if fake.lose_answer:
                fake.lose_answer = False
                self.close_connection = True
                self.connection.close()
                return
            # Its own idea of its address, as behind a proxy.
            self._send(201, "", "text/plain", Location=f"http://jenkins.invalid/queue/item/{build.item}/")

    def _get(self, path: str, tree: str) -> None:
        fake = self.jenkins
        if path == "/me/api/json":
            self._json({"id": fake.username})
        elif path == "/crumbIssuer/api/json":
            crumb = {"crumb": fake.crumb, "crumbRequestField": "Jenkins-Crumb"}
            self._json(crumb, **{"Set-Cookie": f"JSESSIONID={fake.session}; Path=/; HttpOnly"})
        elif path == "/queue/api/json":
            waiting = [
                (job, build)
                for job in fake.jobs.values()
                for build in job.builds
                if build.number is None and not build.cancelled
            ]
            self._json(_pruned({"items": [self._item(job, build) for job, build in waiting]}, tree))
        elif found := re.fullmatch(r"/queue/item/(\d+)/api/json", path):
            for job in fake.jobs.values():
                for build in job.builds:
                    if build.item == int(found[1]):
                        self._json(_pruned(self._item(job, build), tree))
                        return
            self._missing()
        else:
            self._get_job(path, tree)

    def _get_job(self, path: str, tree: str) -> None:
        found = re.fullmatch(r"(?P<job>/.+?)(/(?P<number>\d+))?(/api/json|/artifact/(?P<file>.+))", path)
        job = self._job(found["job"]) if found else None
        if found is None or job is None:
            self._missing()
            return
        if found["number"] is None:
            self._json(_pruned(self._definition(job), tree))
            return
        builds = [build for build in job.builds if build.number == int(found["number"])]
        if not builds:
            self._missing()
        elif found["file"] is None:
            self._json(_pruned(self._build(job, builds[0]), tree))
        elif (text := builds[0].artifacts.get(unquote(found["file"]))) is not None:
            self._send(200, text, "text/plain")
        else:
            self._missing()

    def _job(self, path: str) -> FakeJob | None:
        parts = path.split("/")[1:]
        if not parts or len(parts) % 2 or set(parts[::2]) != {"job"}:
            return None
        return self.jenkins.jobs.get("/".join(unquote(part) for part in parts[1::2]))

    def _definition(self, job: FakeJob) -> dict[str, Any]:
        begun = [build for build in reversed(job.builds) if build.number is not None]
        kind = "hudson.model.ParametersDefinitionProperty"
        declared = [{"name": name, "type": "StringParameterDefinition"} for name in job.parameters]
        return {
            "_class": "org.jenkinsci.plugins.workflow.job.WorkflowJob",
            "name": job.name.rpartition("/")[2],
            "url": f"{self.jenkins.url}/job/{job.name.replace('/', '/job/')}/",
            "buildable": job.buildable,
            "actions": [{}, None],
            "property": [{}, {"_class": kind, "parameterDefinitions": declared}] if declared else [{}],
            "allBuilds": [self._build(job, build) for build in begun],
        }

    def _build(self, job: FakeJob, build: FakeBuild) -> dict[str, Any]:
        took = (build.ended - build.started) if build.ended else 0
        return {
            "_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun",
            "number": build.number,
            "url": f"{self.jenkins.url}/job/{job.name.replace('/', '/job/')}/{build.number}/",
            "building": build.ended is None,
            "result": build.result,
            "timestamp": int(build.started * 1000),
            "duration": int(took * 1000),
            "estimatedDuration": -1,
            "description": build.description,
            "actions": self._actions(build),
        }

    def _item(self, job: FakeJob, build: FakeBuild) -> dict[str, Any]:
        item: dict[str, Any] = {
            "_class": "hudson.model.Queue$WaitingItem",
            "id": build.item,
            "why": None if build.number else "Waiting for next available executor",
            "cancelled": build.cancelled,
            "task": {"name": job.name, "url": f"{self.jenkins.url}/job/{job.name}/"},
            "actions": self._actions(build),
        }
        if build.number is not None:
            item["executable"] = {"number": build.number, "url": self._build(job, build)["url"]}
        return item

    def _actions(self, build: FakeBuild) -> list[dict[str, Any]]:
        parameters = [
            {"_class": "hudson.model.StringParameterValue", "name": name, "value": value}
            for name, value in build.parameters.items()
        ]
        return [{"_class": "hudson.model.CauseAction", "causes": [{}]}, {}, {"parameters": parameters}]

    def _missing(self) -> None:
        self._send(404, "<html><title>Error 404 Not Found</title></html>", "text/html")

    def _json(self, content: object, **headers: str) -> None:
        self._send(200, json.dumps(content), "application/json", **headers)

    def _send(self, status: int, text: str, kind: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        sent = {"X-Jenkins": "2.528.1", "Content-Type": f"{kind};charset=utf-8", **headers}
        for name, value in {**sent, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _pruned(content: Any, tree: str) -> Any:
    """Return what a ``tree`` asks for of an answer; everything when it is empty."""
    return _prune(content, *_parsed(tree, 0)[:1]) if tree else content


def _parsed(tree: str, at: int) -> tuple[dict[str, tuple[dict[str, Any], tuple[int, int] | None]], int]:
    keys: dict[str, tuple[dict[str, Any], tuple[int, int] | None]] = {}
    while at < len(tree) and tree[at] != "]":
        end = at
        while end < len(tree) and tree[end] not in ",[]{":
            end += 1
        name, at, part = tree[at:end], end, None
        inner: dict[str, Any] = {}
        if at < len(tree) and tree[at] == "[":
            inner, at = _parsed(tree, at + 1)
            at += 1
        if found := _RANGE.match(tree, at):
            part, at = (int(found[1]), int(found[2])), found.end()
        keys[name] = (inner, part)
        if at < len(tree) and tree[at] == ",":
            at += 1
    return keys, at


def _prune(content: Any, keys: Mapping[str, Any]) -> Any:
    if isinstance(content, list):
        return [_prune(each, keys) for each in content]
    if not isinstance(content, dict):
        return content
    pruned = {"_class": content["_class"]} if "_class" in content else {}
    for name, (inner, part) in keys.items():
        if name in content:
            value = content[name][slice(*part)] if part else content[name]
            pruned[name] = _prune(value, inner) if inner else value
    return pruned


def main() -> None:
    """Run a fake Jenkins alone: ``POST /fake/jobs`` makes a job."""
    parser = argparse.ArgumentParser("python -m lab.fake_jenkins", description=main.__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-file", type=argparse.FileType(), required=True)
    arguments = parser.parse_args()
    with FakeJenkins(token=arguments.token_file.read().strip()).serve(arguments.port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
