"""Our OpenAPI document, of the very tables that requests are judged by.

Powertools makes one from type annotations, by pydantic: 9 MB in the bundle, and a cold start that takes twice as long.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from processors.live.parameters import KEY_PREFIX, KEYS, RANGE, SILENT, TOP, Parameter
from processors.live.replies import CSV, JSON, NDJSON, PARQUET
from processors.query.answer import CellKind
from streamgage.definition.pipeline import Pipeline

VERSION = "1"
_NUMBER_OR_NULL = {"type": ["number", "null"]}
_INSTANT = {"type": ["integer", "null"], "description": "ms since the epoch; null where nothing is known"}
_COLUMN_KINDS = [str(each) for each in CellKind]

_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error", "problems"],
        "properties": {
            "error": {"type": "string", "description": "one line"},
            "problems": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Rollup": {
        "type": "object",
        "required": ["name", "source", "key", "windows", "columns"],
        "properties": {
            "name": {"type": "string"},
            "source": {"type": "string"},
            "key": {"type": "array", "items": {"type": "string"}},
            "windows": {"type": "array", "items": {"type": "string"}},
            "columns": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "kind", "error"],
                    "properties": {
                        "name": {"type": "string"},
                        "kind": {"enum": ["text", "number", "json"]},
                        "error": {
                            "type": ["string", "null"],
                            "description": "what a value may be off of; null: exact",
                        },
                    },
                },
            },
        },
    },
    "Rollups": {
        "type": "object",
        "required": ["rollups", "consumer", "now_ms", "applied_ms", "freshness"],
        "properties": {
            "rollups": {"type": "array", "items": {"$ref": "#/components/schemas/Rollup"}},
            "consumer": {"type": "string"},
            "now_ms": {"type": "integer"},
            "applied_ms": _INSTANT,
            "freshness": {"type": "string"},
        },
    },
    "About": {
        "type": "object",
        "required": ["left", "errors", "freshness", "now_ms", "read_units"],
        "properties": {
            "left": {"type": "integer", "minimum": 0, "description": "rows beyond the limit"},
            "errors": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "of columns that are not exact: by how much a value may be off, relatively",
            },
            "freshness": {
                "type": "object",
                "required": ["applied_ms", "text"],
                "properties": {"applied_ms": _INSTANT, "text": {"type": "string"}},
            },
            "now_ms": {"type": "integer"},
            "read_units": {**_NUMBER_OR_NULL, "description": "null to a caller who sees some keys only"},
        },
    },
    "Keys": {
        "allOf": [{"$ref": "#/components/schemas/About"}],
        "type": "object",
        "required": ["keys"],
        "properties": {
            "keys": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}
        },
    },
    "Answer": {
        "allOf": [{"$ref": "#/components/schemas/About"}],
        "type": "object",
        "required": ["columns", "keys", "rows"],
        "properties": {
            "columns": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "kind"],
                    "properties": {"name": {"type": "string"}, "kind": {"enum": _COLUMN_KINDS}},
                },
            },
            "keys": {
                "type": "integer",
                "minimum": 0,
                "description": "the first so many columns are the key's",
            },
            "rows": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                },
            },
        },
    },
    "Status": {
        "type": "object",
        "required": ["now_ms", "applied_ms", "behind_ms", "freshness", "quarantined"],
        "properties": {
            "now_ms": {"type": "integer"},
            "applied_ms": _INSTANT,
            "behind_ms": {"type": ["integer", "null"]},
            "freshness": {"type": "string"},
            "quarantined": {
                "type": "object",
                "required": ["messages"],
                "properties": {"messages": {"type": ["integer", "null"]}},
            },
        },
    },
    "Health": {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}},
    "Ticket": {
        "type": "object",
        "required": ["ticket", "expires_ms"],
        "properties": {
            "ticket": {
                "type": ["string", "null"],
                "description": "what the WebSocket is opened with, once: live?ticket=…; null: it takes none",
            },
            "expires_ms": _INSTANT,
        },
    },
    "PrometheusAnswer": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["success", "error"]},
            "data": {},
            "errorType": {"type": "string"},
            "error": {"type": "string"},
            "warnings": {"type": "array", "items": {"type": "string"}},
            "infos": {"type": "array", "items": {"type": "string"}},
        },
    },
}
_SAYS = {
    400: "the question is wrong; every problem is told",
    401: "API Gateway knows no such caller",
    403: "the caller may not ask this",
    404: "there is no such path or rollup",
    405: "not with this method",
    406: "none of the forms that are accepted is made here",
    413: "the answer, or the body, is too large",
    414: "the query string is too long",
    415: "the body is no form",
    422: "the question cannot be computed",
    429: "too many requests",
    500: "the table cannot be read as it stands",
    503: "the table does not answer; ask again",
    504: "there was no answer in time",
}
_ASKED = (400, 401, 403, 404, 405, 406, 413, 414, 429, 500, 503, 504)
_PLAIN = (400, 401, 403, 404, 405, 406, 414, 429, 500, 503, 504)
_QUESTIONS: tuple[tuple[str, Sequence[Parameter], str, str], ...] = (
    ("keys", KEYS, "Keys", "The keys that had events in the range"),
    ("range", RANGE, "Answer", "The windows of a range, of each key, or what is made of them"),
    ("top", TOP, "Answer", "The first rows, over the range, of each window, or of any"),
    ("silent", SILENT, "Answer", "The keys that were not heard of for so long, the longest silent first"),
)
_PROMETHEUS = {
    "query": "get post",
    "query_range": "get post",
    "labels": "get post",
    "label/{label}/values": "get",
    "series": "get post",
    "metadata": "get",
    "status/buildinfo": "get",
}


def document(pipeline: Pipeline) -> dict[str, Any]:
    """Return the document of what can be asked of *pipeline*."""
    names = list(pipeline.rollups) or ["none"]
    rollup = {
        "name": "rollup",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": names},
        "example": names[0],
    }
    fields = list(dict.fromkeys(field for each in pipeline.rollups.values() for field in each.key))
    of_rollup = "/v1/rollups/{rollup}"
    paths: dict[str, Any] = {
        "/health": {"get": _operation("health", "Whether the table answers", [], "Health", _PLAIN)},
        "/v1/status": {"get": _operation("status", "How far everything is applied", [], "Status", _PLAIN)},
        "/v1/openapi.json": {"get": _operation("openapi", "This document", [], None, _PLAIN)},
        "/v1/rollups": {"get": _operation("rollups", "What can be asked", [], "Rollups", _PLAIN)},
        of_rollup: {
            "get": _operation("rollup", "What can be asked of one rollup", [rollup], "Rollup", _PLAIN)
        },
    }
    paths["/v1/live/ticket"] = {
        "post": _operation(
            "ticket", "A ticket to be told of changes, good once and for a minute", [], "Ticket", _PLAIN
        )
    }
    for how, known, schema, says in _QUESTIONS:
        asked = [rollup, *map(_told, known), *(_field(each, pipeline) for each in fields)]
        paths[f"{of_rollup}/{how}"] = {"get": _operation(how, says, asked, schema, _ASKED)}
    for path, methods in _PROMETHEUS.items():
        paths[f"/prometheus/api/v1/{path}"] = {
            method: _prometheus_operation(path, method) for method in methods.split()
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "streamgage",
            "version": VERSION,
            "summary": "Exact aggregates of telemetry",
            "description": "Numbers are exact decimals. Times are ISO 8601 in UTC. A row whose may_change is true was not over, "
            "or not wholly applied; partial: some of it is not counted here, or not kept any more.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ".."}],  # of where this document is
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(
    name: str, says: str, parameters: list[Any], schema: str | None, statuses: Sequence[int]
) -> dict[str, Any]:
    content: dict[str, Any] = {
        JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}}
    }
    if schema in ("Answer", "Keys"):
        text = {"schema": {"type": "string"}}
        content |= {CSV: text, NDJSON: text, PARQUET: {"schema": {"type": "string", "format": "binary"}}}
    return {
        "operationId": name,
        "summary": says,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": says,
                "content": content,
                "headers": {"ETag": {"schema": {"type": "string"}}},
            },
            "304": {"description": "it is what If-None-Match names"},
            **_refusals(statuses, "Error"),
        },
    }


def _prometheus_operation(path: str, method: str) -> dict[str, Any]:
    answer = {JSON: {"schema": {"$ref": "#/components/schemas/PrometheusAnswer"}}}
    label = {
        "name": "label",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "example": "window",
    }
    form = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
    return {
        "operationId": f"prometheus_{method}_{path.split('/', maxsplit=1)[0]}",
        "summary": "As Prometheus answers",
        "externalDocs": {"url": "https://prometheus.io/docs/prometheus/latest/querying/api/"},
        "parameters": [label] if "{label}" in path else [],
        **({"requestBody": {"content": form}} if method == "post" else {}),
        "responses": {
            "200": {"description": "As Prometheus answers", "content": answer},
            **_refusals((*_ASKED, 415, 422), "PrometheusAnswer"),
        },
    }


def _refusals(statuses: Sequence[int], schema: str) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {str(each): {"description": _SAYS[each], "content": content} for each in sorted(statuses)}


def _told(parameter: Parameter) -> dict[str, Any]:
    schema: Mapping[str, Any] = parameter.schema
    if parameter.is_repeatable:
        schema = {"type": "array", "items": schema}
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "description": parameter.says,
        "schema": schema,
        "example": [parameter.example] if parameter.is_repeatable else parameter.example,
    }


def _field(name: str, pipeline: Pipeline) -> dict[str, Any]:
    of = ", ".join(each.name for each in pipeline.rollups.values() if name in each.key)
    return {
        "name": f"{KEY_PREFIX}{name}",
        "in": "query",
        "required": False,
        "description": f"which {name}: a value, or a pattern with * and ?. Of {of}",
        "schema": {"type": "string"},
        "example": "*",
    }
