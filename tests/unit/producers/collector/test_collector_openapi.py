"""The collector's OpenAPI document: true of what is answered, and asked what it should not be by schemathesis."""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from producers.collector.collector import ROUTES, Collector
from producers.collector.message import Asked
from producers.collector.openapi import document
from support.collecting import Kept, collector_over, pipeline

DOCUMENT = document(pipeline())
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def wsgi(collector: Collector) -> Callable[..., Iterable[bytes]]:
    """Return *collector* as schemathesis asks it, and its document."""

    def application(environ: Mapping[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/openapi.json":
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(DOCUMENT).encode()]
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        body = environ.get("wsgi.input", io.BytesIO()).read(int(environ.get("CONTENT_LENGTH") or 0))
        asked = Asked(
            environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""), headers, body
        )
        answer = collector.answer(asked)
        start(f"{answer.status} X", [("Content-Type", answer.content_type), *answer.headers.items()])
        return [answer.body]

    return application


@pytest.fixture(scope="module")
def schema() -> Any:
    project = ProjectConfig(base_url="http://localhost", generation=GenerationConfig(database="none"))
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_wsgi("/openapi.json", wsgi(collector_over(Kept())), config=config)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=str)
@pytest.mark.parametrize(("path", "method"), [each for each in OPERATIONS if each[1] == "post"])
def test_whatever_is_sent_the_answer_is_as_documented(
    schema: Any, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method.upper()]

    @seed(14)
    @settings(max_examples=12, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()


def test_the_document_has_each_route_and_its_schemas_hold() -> None:
    assert {path: {method.upper() for method in methods} for path, methods in DOCUMENT["paths"].items()} == {
        path: set(methods) - {"OPTIONS"} for path, methods in ROUTES.items()
    }
    for name, each in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(each)
        assert f"#/components/schemas/{name}'" in str(DOCUMENT), name
