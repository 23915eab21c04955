"""The service's OpenAPI document, by hand."""

from importlib.metadata import version
from typing import Any

from features_store.installing import DISTRIBUTION
from heads.serving.access import COOKIE
from heads.serving.jobs import STATES

SEGMENTS = r"^(whole|shots(:transnetv2)?|windows=[1-9][0-9]{0,5}([.][0-9]{1,5})?s)$"
"""Whatever `telltale serve --segments` takes, for its page sends that."""
SEGMENTS_WORDS = "give whole, shots, or windows=10s for every 10 seconds"
_ID = "^[0-9a-f]{16}$"
_TIME = {"type": ["string", "null"], "description": "ISO 8601, UTC"}
_ERRORS = {
    400: "the request cannot be read",
    401: "a token is needed",
    403: "refused: another host or origin, or a path that leaves the root",
    404: "there is no such thing",
    408: "the sender was silent for too long",
    413: "too large",
    415: "neither a form nor JSON",
    503: "too many jobs wait",
    507: "the disk is full",
}


def document(most: int, *, guarded: bool) -> dict[str, Any]:
    """`most`: bytes that an upload may have; `guarded`: a token is needed."""
    paths = _paths(most)
    if not guarded:
        for path in paths.values():
            for operation in path.values():
                if "security" in operation:
                    operation["security"] = []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Telltale",
            "version": version(DISTRIBUTION),
            "description": "Says of videos whether they are generated, and what is wrong with "
            "them. Send a file, ask for the job until it is done or failed.",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS, "securitySchemes": _SECURITY},
    }


def _paths(most: int) -> dict[str, Any]:
    job = {"name": "id", "in": "path", "required": True,
           "schema": {"type": "string", "pattern": _ID}}  # fmt: skip
    return {
        "/": {"get": _get("the page: drop videos", _body("text/html"), is_open=True)},
        "/page.css": {"get": _get("the page's style", _body("text/css"), is_open=True)},
        "/page.js": {"get": _get("the page's script", _body("text/javascript"), is_open=True)},
        "/health": {
            "get": _get("whether it takes and judges jobs", _json("Health"), is_open=True)
            | {"responses": {
                "200": {"description": "it does", **_json("Health")},
                "403": _error(403),
                "503": {"description": "its worker has ended", **_json("Health")},
            }}
        },
        "/metrics": {"get": _get("counts for Prometheus", _body("text/plain"), 401)},
        "/openapi.json": {"get": _get("this", _body("application/json", "object"), is_open=True)},
        "/session": {
            "post": {
                "summary": "a cookie for browsers, in exchange for the token",
                "security": [{"token": []}],
                "responses": {
                    "204": {"description": "the cookie is set, where there is a token"},
                    **_errors(401, 403),
                },
            }
        },
        "/jobs": {
            "get": {
                "summary": "the newest jobs, without their answers",
                "security": _NEEDED,
                "parameters": [
                    {"name": "count", "in": "query",
                     "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}}
                ],
                "responses": {
                    "200": {"description": "they are", **_json("Jobs")}, **_errors(400, 401, 403)
                },
            },
            "post": {
                "summary": "have a file judged",
                "security": _NEEDED,
                "requestBody": {
                    "required": True,
                    "content": {
                        "multipart/form-data": {
                            "schema": {
                                "type": "object", "required": ["file"],
                                "additionalProperties": False,
                                "properties": {
                                    "file": {
                                        "type": "string", "format": "binary", "minLength": 1,
                                        "description": f"a video of at most {most:,} bytes",
                                    },
                                    "segments": _CUT,
                                },
                            }
                        },
                        "application/json": {
                            "schema": {
                                "type": "object", "required": ["path"],
                                "additionalProperties": False,
                                "properties": {
                                    "path": {
                                        "type": "string", "minLength": 1,
                                        "description": "of a file, from the root on",
                                    },
                                    "segments": _CUT,
                                },
                            }
                        },
                    },
                },
                "responses": {
                    "200": {
                        "description": "the same file of the same name was judged by the same "
                        "bundle, or waits",
                        **_json("Job"),
                    },
                    "202": {
                        "description": "it waits",
                        "headers": {"Location": {"schema": {"type": "string"}, "required": True}},
                        **_json("Job"),
                    },
                    **_errors(400, 401, 403, 404, 408, 413, 415, 503, 507),
                },
            },
        },
        "/jobs/{id}": {
            "parameters": [job],
            "get": _get("a job, with its answer when it is done", _json("Job"), 401, 404),
        },
        "/jobs/{id}/page": {
            "parameters": [job],
            "get": _get("its answer as a page that needs nothing else", _body("text/html"),
                        401, 404),
        },
    }  # fmt: skip


def _get(
    summary: str, answer: dict[str, Any], *errors: int, is_open: bool = False
) -> dict[str, Any]:
    return {
        "summary": summary,
        "security": [] if is_open else _NEEDED,
        "responses": {"200": {"description": summary, **answer}, **_errors(403, *errors)},
    }


def _body(kind: str, schema: str = "string") -> dict[str, Any]:
    return {"content": {kind: {"schema": {"type": schema}}}}


def _json(name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"content": {"application/json": {"schema": schema}}}


def _error(status: int) -> dict[str, Any]:
    return {"description": _ERRORS[status], **_json("Error")}


def _errors(*statuses: int) -> dict[str, Any]:
    return {str(status): _error(status) for status in sorted(statuses)}


def _object(properties: dict[str, Any], *, more: bool = False) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties),
        "additionalProperties": more,
    }  # fmt: skip


_CUT = {"type": "string", "pattern": SEGMENTS, "description": SEGMENTS_WORDS}
_NEEDED: list[dict[str, Any]] = [{"token": []}, {"session": []}]
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "where the service has one"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}
_PROGRESS = _object(
    {"step": {"type": "string"}, "done": {"type": "integer"}, "of": {"type": "integer"}}
)
_STATUS = {
    "id": {"type": "string", "pattern": _ID},
    "kind": {"enum": ["upload", "path"]},
    "name": {"type": "string", "description": "of the file, as its sender called it"},
    "path": {"type": ["string", "null"], "description": "from the root on"},
    "bytes": {"type": "integer"},
    "segments": {"type": "string", "description": "how it is cut"},
    "sha256": {"type": ["string", "null"]},
    "state": {"enum": list(STATES)},
    "submitted": _TIME,
    "started": _TIME,
    "ended": _TIME,
    "reason": {"type": ["string", "null"], "description": "why it failed"},
    "line": {"type": ["string", "null"], "description": "the verdict, what its number means"},
    "ahead": {"type": "integer", "description": "jobs before it"},
    "progress": {"anyOf": [_PROGRESS, {"type": "null"}]},
}
_SPAN = _object(
    {
        "start": {"type": "number"}, "end": {"type": "number"}, "verdict": {"type": "string"},
        "forgery": {"type": ["number", "null"]}, "generated": {"type": "boolean"},
    }
)  # fmt: skip
_LINE = _object(
    {
        "verdict": {"type": "string"},
        "share": {"type": ["number", "null"], "description": "of the seconds, generated ones"},
        "first": {"type": ["number", "null"], "description": "when the first begins"},
        "worst": {"type": ["string", "null"], "description": "the id of its row"},
        "spans": {"type": "array", "items": _SPAN},
    }
)
_ANSWER = _object(
    {
        "line": {"type": "string", "description": "the verdict, and what its number means"},
        "bundle": {"type": "string", "description": "the hash of the bundle that decided"},
        "detector": {"type": "string"},
        "fingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "papers": {"type": "array", "items": {"type": "string"}},
        "rows": {
            "type": "array", "items": {"type": "object"},
            "description": "as `telltale score` writes them: one, or one for each segment",
        },
        "timeline": {"anyOf": [_LINE, {"type": "null"}]},
        "evidence": {
            "type": "array", "items": {"type": "string"},
            "description": "What the file says of itself: content credentials, tags, encoders.",
        },
        "about": {"type": "object", "description": "everything that made it"},
    }
)  # fmt: skip
_SCHEMAS = {
    "Error": _object({"error": {"type": "string"}}),
    "Health": _object({"status": {"enum": ["ok", "broken"]}}),
    "Jobs": _object({"jobs": {"type": "array", "items": _object(_STATUS)}}),
    "Job": _object(
        {
            **_STATUS,
            "answer": {"anyOf": [_ANSWER, {"type": "null"}]},
            "page": {"type": ["string", "null"]},
        }
    ),
}
