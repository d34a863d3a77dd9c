"""The collector's OpenAPI document: what may be sent, and how it is answered. Events are as the definition's schemas say."""

from collections.abc import Mapping
from typing import Any

from producers.collector.collector import EVENTS, HEALTH, METRICS, READY, WRITE
from producers.collector.message import JSON
from producers.collector.otlp import PROTOBUF
from streamgage.definition.pipeline import Pipeline

_SCHEMAS: Mapping[str, Any] = {
    "Error": {
        "type": "object",
        "required": ["error", "problems"],
        "properties": {
            "error": {"type": "string", "description": "one line"},
            "problems": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Taken": {
        "type": "object",
        "required": ["accepted", "refused", "repeated"],
        "properties": {
            "accepted": {"type": "integer", "description": "events that are durable"},
            "refused": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "place", "reason"],
                    "properties": {
                        "index": {"type": "integer"},
                        "place": {"type": "string"},
                        "reason": {"type": "string"},
                    },
                },
            },
            "repeated": {"type": "boolean", "description": "the batch was known by its key, and counts once"},
        },
    },
    "OtlpStatus": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    },
    "InfluxError": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    },
    "Status": {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}},
}
_WHY = {
    400: "the request cannot be read; nothing was taken",
    401: "no key, or none of this collector",
    403: "the key is not for this source, or this page",
    409: "the idempotency key is that of another batch",
    413: "it is too large, inflates to too much, or has more refused events than an answer can tell of",
    415: "its content type or coding is none that is read",
    429: "too much comes: again after Retry-After",
    503: "it could not be made durable: again after Retry-After",
}


def document(pipeline: Pipeline) -> dict[str, Any]:
    """Return the document, with the sources of *pipeline*."""
    source = {"type": "string", "enum": list(pipeline.sources)}
    event = {"type": "object", "properties": {"source": source}}
    batch = {
        "oneOf": [
            {"type": "array", "items": event},
            {**event, "not": {"required": ["events"]}},
            {
                "type": "object",
                "required": ["events"],
                "additionalProperties": False,
                "properties": {
                    "client": {"type": "string", "pattern": "^[!-~]{1,100}$"},
                    "batch": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
                    "events": {"type": "array", "items": event},
                },
                "dependentRequired": {"client": ["batch"], "batch": ["client"]},
            },
        ]
    }
    once = {"type": "string", "pattern": "^[!-~]{1,128}$"}
    by_body = {**_query("X-Once", {"type": "string", "enum": ["body"]}, "body"), "in": "header"}
    take = {
        "operationId": "take",
        "summary": "Take events, and answer once they are durable",
        "description": "CloudEvents too: application/cloudevents+json, application/cloudevents-batch+json, or ce- headers.",
        "parameters": [
            _query("source", source, "reading"),
            _query("idempotency_key", once, "d1-17"),
            {**_query("Idempotency-Key", once, "d1-17"), "in": "header"},
            by_body,
        ],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": batch}, "application/x-ndjson": {"schema": {"type": "string"}}},
        },
        "responses": {
            "200": _answer("what was accepted is durable", "Taken"),
            "422": _answer("all were refused", "Taken"),
            **_refusals("Error"),
        },
    }
    export = {
        "operationId": "export",
        "summary": "Take metrics by OTLP/HTTP",
        "parameters": [by_body],
        "requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}},
        "responses": {
            "200": {
                "description": "an ExportMetricsServiceResponse",
                "content": {JSON: {"schema": {"type": "object"}}, PROTOBUF: {}},
            },
            **_refusals("OtlpStatus"),
        },
    }
    precision = {"type": "string", "enum": ["ns", "us", "ms", "s"]}
    write = {
        "operationId": "write",
        "summary": "Take InfluxDB's line protocol",
        "parameters": [_query("precision", precision, "s"), by_body],
        "requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}},
        "responses": {"204": {"description": "all lines are durable"}, **_refusals("InfluxError")},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "streamgage collector", "version": "1"},
        "security": [{"bearer": []}, {"header": []}, {"query": []}, {}],
        "paths": {
            EVENTS: {"post": take},
            HEALTH: {"get": _looked("health", "Is it there?", {})},
            READY: {
                "get": _looked(
                    "ready", "Can it make events durable just now?", {"503": _answer(_WHY[503], "Error")}
                )
            },
            METRICS: {"post": export},
            WRITE: {"post": write},
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "query": {"type": "apiKey", "in": "query", "name": "key"},
            },
        },
    }


def _query(name: str, schema: Mapping[str, Any], example: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "example": example}


def _answer(says: str, schema: str) -> dict[str, Any]:
    return {"description": says, "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _refusals(schema: str) -> dict[str, Any]:
    return {str(status): _answer(why, schema) for status, why in _WHY.items()}


def _looked(name: str, summary: str, others: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "security": [{}],
        "parameters": [],
        "responses": {"200": _answer("yes", "Status"), **others},
    }
