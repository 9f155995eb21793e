"""A fake Zuul: an HTTP server that replays answers of a real Zuul 14.3, with other values where tests say so.

`data/zuul` holds the answers as they were recorded. A real Zuul needs ZooKeeper, a database and minutes; this
knows only how rows are chosen and how errors look.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from lab.service import HOST

DATA = Path(__file__).parent / "data" / "zuul"
BUILD: dict[str, Any] = json.loads((DATA / "build.json").read_text())
STATUS: dict[str, Any] = json.loads((DATA / "status.json").read_text())
PIPELINE: str = BUILD["pipeline"]
TENANT = "rdoproject.org"

#: What Zuul 14.3 takes; anything else is a 404.
_FILTERS = frozenset(
    (
        *(
            "project",
            "pipeline",
            "change",
            "branch",
            "patchset",
            "ref",
            "newrev",
            "uuid",
            "job_name",
            "voting",
        ),
        *("nodeset", "result", "final", "held", "complete", "limit", "skip", "idx_min", "idx_max"),
        "exclude_result",
    )
)
#: How CherryPy, which serves Zuul's API, writes an error.
_PAGE = """<!DOCTYPE html>
<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"></meta>
<title>{status} {reason}</title><style type="text/css">#powered_by {{ margin-top: 20px; }}</style></head>
<body><h2>{status} {reason}</h2><p>{message}</p><pre id="traceback"></pre>
<div id="powered_by"><span>Powered by <a href="http://www.cherrypy.dev">CherryPy 18.10.0</a></span></div>
</body></html>"""


def at(seconds: float) -> str:
    """Write a time as Zuul does: UTC without saying so."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def build(number: int, job: str = BUILD["job_name"], *, buildset: int = 1, **changes: Any) -> dict[str, Any]:
    """Return the recorded build with another number and name, and with whatever else is to be different.

    :param number: its row in Zuul's database, from which its uuid is made.
    :param buildset: number of its buildset.
    :param changes: keys that are different; ``start_time`` and ``end_time`` may be seconds since the epoch.
    """
    for key in ("start_time", "end_time"):
        if isinstance(changes.get(key), int | float):
            changes[key] = at(changes[key])
    uuids = {"uuid": f"{number:07x}{'a' * 25}", "buildset": {"uuid": f"{buildset:07x}{'b' * 25}"}}
    return {**BUILD, "_id": number, "job_name": job, **uuids, **changes}


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a build as a Zuul up to 9.5 tells it: the ref's fields beside the others, and no row number."""
    ref = row["ref"]
    rest = {key: value for key, value in row.items() if key not in ("ref", "_id")}
    return {**rest, **{key: ref[key] for key in ("project", "branch", "change", "patchset", "newrev")}} | {
        "ref": ref["ref"]
    }


class RecordedZuul:
    """The server; a context manager. Its lists may be changed while it runs."""

    def __init__(self) -> None:
        #: Rows, in any order; they are answered by their number, the highest first.
        self.builds: list[dict[str, Any]] = []
        #: Results of buildsets by uuid; without one the buildset has none yet.
        self.results: dict[str, str] = {}
        self.status: object = {"pipelines": []}
        #: Filters that this Zuul does not know.
        self.unknown: frozenset[str] = frozenset()
        #: An answer of its own for paths that contain the key: a status, and the body.
        self.instead: dict[str, tuple[int, bytes]] = {}
        self.seen: list[str] = []
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}/zuul"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def down(self, body: str = "no") -> None:
        """Answer 503 to everything from now on."""
        self.instead = {"": (503, body.encode())}

    def asked(self, part: str) -> list[str]:
        """Return the questions so far that contain something."""
        return [path for path in self.seen if part in path]

    def _answer(self, path: str) -> tuple[int, bytes]:  # noqa: PLR0911 - a table
        self.seen.append(path)
        for part, answer in self.instead.items():
            if part in path:
                return answer
        parts = urlsplit(path)
        root = f"/zuul/api/tenant/{TENANT}/"
        if not parts.path.startswith(root):
            return _error(404, "Not Found", "Unknown tenant")
        endpoint, _, rest = parts.path.removeprefix(root).partition("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        if extra := sorted(set(query) - (_FILTERS - self.unknown)):
            return _error(404, "Not Found", f"Unexpected query string parameters: {', '.join(extra)}")
        if endpoint == "status":
            return _good(self.status)
        if endpoint == "builds":
            return _good(self._page(self._chosen(query), query))
        if endpoint == "buildsets":
            sets = {row["buildset"]["uuid"]: row for row in self._chosen(query)}
            return _good(self._page([self._buildset(uuid) for uuid in sets], query))
        if endpoint == "buildset" and any(row["buildset"]["uuid"] == rest for row in self.builds):
            rows = [row for row in self.builds if row["buildset"]["uuid"] == rest]
            inside = [{key: row[key] for key in row if key not in ("pipeline", "buildset")} for row in rows]
            final = [row for row in inside if row["final"]]
            retried = [row for row in inside if not row["final"]]
            return _good({**self._buildset(rest), "builds": final, "retry_builds": retried})
        return _error(404, "Not Found", "Buildset not found" if endpoint == "buildset" else "")

    def _chosen(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        rows = sorted(self.builds, key=lambda row: row.get("_id", 0), reverse=True)
        return [
            row
            for row in rows
            if row["pipeline"] in query.get("pipeline", [row["pipeline"]])
            and any(fnmatchcase(row["job_name"], glob) for glob in query.get("job_name", ["*"]))
            and row["result"] in query.get("result", [row["result"]])
            and row.get("_id", 0) >= int(query.get("idx_min", ["0"])[0])
        ]

    @staticmethod
    def _page(rows: list[dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
        skip, limit = int(query.get("skip", ["0"])[0]), int(query.get("limit", ["50"])[0])
        return rows[skip : skip + limit]

    def _buildset(self, uuid: str) -> dict[str, Any]:
        pipeline = next(row["pipeline"] for row in self.builds if row["buildset"]["uuid"] == uuid)
        return {"_id": 1, "uuid": uuid, "pipeline": pipeline, "result": self.results.get(uuid), "message": ""}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        zuul = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = zuul._answer(self.path)
                self.send_response(status)
                html = body.startswith(b"<")
                self.send_header("Content-Type", "text/html" if html else "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: tests read `RecordedZuul.seen`."""

        return Handler


def _good(content: object) -> tuple[int, bytes]:
    return 200, json.dumps(content).encode()


def _error(status: int, reason: str, message: str) -> tuple[int, bytes]:
    return status, _PAGE.format(status=status, reason=reason, message=message).encode()
