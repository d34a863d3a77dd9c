"""The OpenAPI document: whole, true of what is answered, and asked what it should not be by schemathesis."""

from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from processors.live import parameters
from processors.live.openapi import document
from processors.live.parameters import Parameter
from support.http_face import Face, FakeStack, world, wsgi
from support.strategies import pipeline

FACE = Face(FakeStack(world().store))
DOCUMENT = document(pipeline())
OPERATIONS = [
    "/health", "/v1/status", "/v1/openapi.json", "/v1/rollups", "/v1/rollups/{rollup}",
    *(f"/v1/rollups/{{rollup}}/{how}" for how in ("keys", "range", "top", "silent")),
]  # fmt: skip
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, allow_header_conformance, unsupported_method,
]  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Any:
    generation = GenerationConfig(database="none")
    project = ProjectConfig(base_url="http://localhost", generation=generation)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_wsgi("/v1/openapi.json", wsgi(FACE.application), config=config)


MODES = [
    *((path, GenerationMode.POSITIVE) for path in OPERATIONS),
    *((path, GenerationMode.NEGATIVE) for path in OPERATIONS if DOCUMENT["paths"][path]["get"]["parameters"]),
]


@pytest.mark.parametrize(("path", "mode"), MODES, ids=str)
def test_whatever_is_asked_the_answer_is_as_documented(schema: Any, path: str, mode: GenerationMode) -> None:
    operation = schema[path]["GET"]
    checks = [*CHECKS, *([negative_data_rejection] if mode is GenerationMode.NEGATIVE else [])]

    @seed(14)
    @settings(max_examples=40, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(checks=checks)

    ask()
    assert not any(each.error for each in FACE.told)


@pytest.mark.parametrize("path", OPERATIONS)
def test_the_examples_are_answered(path: str) -> None:
    """Each parameter's example alone, and those of what is required beside it."""
    asked = DOCUMENT["paths"][path]["get"]["parameters"]
    rollup = "page_views"
    needed = [
        f"{each['name']}={each['example']}" for each in asked if each["in"] == "query" and each["required"]
    ]
    for each in asked:
        if each["in"] != "query" or each["name"] in ("key.device_id", "key.metric", "key.visitor_id"):
            continue
        values = each["example"] if isinstance(each["example"], list) else [each["example"]]
        pairs = [*needed, *(f"{each['name']}={value}" for value in values if not each["required"])]
        also = (
            {"by": "compare=previous"}
            if path.endswith("range")
            else dict.fromkeys(("fill", "compare", "moving"), "each_window=true")
        )
        query = "&".join(filter(None, [*pairs, also.get(each["name"], "")]))
        target = (
            path.format(rollup=rollup)
            + "?"
            + query.replace(">", "%3E").replace(" ", "%20").replace("True", "true")
        )
        found = FACE(target)
        assert found.status == 200, (target, found.body)


def test_the_document_is_an_openapi_document_whose_references_and_examples_hold() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    schemas = DOCUMENT["components"]["schemas"]
    for name, each in schemas.items():
        jsonschema.Draft202012Validator.check_schema(each)
        assert str(DOCUMENT).count(f"#/components/schemas/{name}'") > 0, f"{name} is named nowhere"
    names = []
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            names.append(operation["operationId"])
            for parameter in operation["parameters"]:
                jsonschema.validate(parameter["example"], parameter["schema"])
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("keys", parameters.KEYS), ("range", parameters.RANGE), ("top", parameters.TOP), ("silent", parameters.SILENT),
    ],
)  # fmt: skip
def test_every_parameter_is_documented_and_every_documented_one_is_taken(
    path: str, known: tuple[Parameter, ...]
) -> None:
    asked = DOCUMENT["paths"][f"/v1/rollups/{{rollup}}/{path}"]["get"]["parameters"]
    told = {each["name"] for each in asked} - {"rollup"}
    assert told == {each.name for each in known} | {
        "key.device_id",
        "key.metric",
        "key.page",
        "key.visitor_id",
    }


@pytest.mark.parametrize("path", OPERATIONS)
def test_each_answer_is_as_its_schema_says(path: str) -> None:
    target = path.format(rollup="page_views") + ("?for=1h" if path.endswith("silent") else "")
    told = FACE(target).json
    schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(told, {**schema, "components": DOCUMENT["components"]})
