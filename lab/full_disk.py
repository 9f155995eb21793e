"""What services answer when their disk is full: copies of what the real ones said, as measured."""

from __future__ import annotations

import json

from lab.relay import Answer, Request

#: What distribution 2.8.2 answered, on a file system without space, to the start of an upload, a mount and
#: a manifest; its reads went on. The path in it was that of the file.
_REGISTRY_FULL = Answer(
    500,
    "Internal Server Error",
    (
        ("Content-Type", "application/json; charset=utf-8"),
        ("Docker-Distribution-Api-Version", "registry/2.0"),
    ),
    json.dumps(
        {
            "errors": [
                {
                    "code": "UNKNOWN",
                    "message": "unknown error",
                    "detail": {
                        "DriverName": "filesystem",
                        "Enclosed": {"Op": "write", "Path": "/var/lib/registry/docker/registry", "Err": 28},
                    },
                }
            ]
        }
    ).encode(),
)

#: What DLRN 0.26.1 answered there, when sqlite had no room for a row; its reads and logins went on.
#: The real one has moved the label's link by then, and it stays moved; here it does not move.
_DLRN_FULL = Answer(
    500,
    "Internal Server Error",
    (("Content-Type", "text/html; charset=utf-8"),),
    b"<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n"
    b"<h1>Internal Server Error</h1>\n<p>The server encountered an internal error and was unable to complete "
    b"your request. Either the server is overloaded or there is an error in the application.</p>\n",
)


def answer_when_full(request: Request) -> Answer | None:
    """Return what a service without space answers, None when the request takes no space."""
    if request.method not in ("POST", "PUT", "PATCH"):
        return None
    if request.path.startswith("/v2/"):
        return _REGISTRY_FULL
    changes = ("/api/promote", "/api/report_result", "/api/last_tested_repo")
    return _DLRN_FULL if request.path.startswith(changes) else None
