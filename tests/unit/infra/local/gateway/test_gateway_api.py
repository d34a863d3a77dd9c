"""An HTTP API read from the template; which route a request takes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.gateway.api import HttpApi, Route, Stage, preflight_paths, read_api, unasked
from infra.local.gateway.config import first_function, other_function
from infra.local.gateway.routes import RouteTable, stage_of
from infra.local.gateway.throttle import Rate
from streamgage.errors import ConfigError
from support.served import integration, resources

# Keys of an API, a request, the key that takes it (None: none does), and its variables.
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html (checked 2026-11-29).
KEYS = (
    "GET /pets/dog/1",
    "GET /pets/dog/{id}",
    "GET /pets/{kind}/1",
    "GET /pets/{proxy+}",
    "ANY /{proxy+}",
    "POST /pets",
    "ANY /pets",
    "$default",
)
TAKEN = [
    ("GET", "/pets/dog/1", "GET /pets/dog/1", {}),
    ("GET", "/pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
    ("GET", "/pets/cat/1", "GET /pets/{kind}/1", {"kind": "cat"}),
    ("GET", "/pets/cat/2", "GET /pets/{proxy+}", {"proxy": "cat/2"}),
    ("GET", "/pets/cat", "GET /pets/{proxy+}", {"proxy": "cat"}),
    ("PUT", "/pets/cat/2", "ANY /{proxy+}", {"proxy": "pets/cat/2"}),
    ("POST", "/pets", "POST /pets", {}),
    ("GET", "/pets", "ANY /pets", {}),
    ("HEAD", "/pets", "ANY /pets", {}),
    ("GET", "/", "$default", {}),
    ("GET", "/other", "ANY /{proxy+}", {"proxy": "other"}),
]


@pytest.mark.parametrize(("method", "path", "key", "parameters"), TAKEN)
@pytest.mark.parametrize("order", [1, -1])
def test_the_best_match_takes_a_request_in_whatever_order_routes_are_written(
    method: str, path: str, key: str, parameters: dict[str, str], order: int
) -> None:
    match = RouteTable([Route(each, "f") for each in KEYS][::order]).match(method, path)
    assert match is not None
    assert (match.route.key, match.parameters) == (key, parameters)


@pytest.mark.parametrize("path", ["/", "/pets", "/pets/", "/pets/1/2", "/PETS/1", "//1"])
def test_without_a_default_route_what_matches_none_has_none(path: str) -> None:
    assert RouteTable([Route("GET /pets/{id}", "f")]).match("GET", path) is None


@given(path=st.text(alphabet="/ab{}+", max_size=12))
def test_with_a_default_route_no_path_is_lost(path: str) -> None:
    assert RouteTable([Route(each, "f") for each in KEYS]).match("GET", f"/{path}") is not None


@pytest.mark.parametrize(
    ("names", "path", "found"),
    [
        (["$default"], "/a/b", ("$default", "/a/b")),
        (["$default", "prod"], "/prod/a", ("prod", "/a")),
        (["$default", "prod"], "/prod", ("prod", "/")),
        (["$default", "prod"], "/production", ("$default", "/production")),
        (["$default"], "/$default/a", ("$default", "/$default/a")),
        (["prod"], "/a", None),
    ],
)
def test_a_stage_is_the_first_part_of_the_path_else_the_default_one(
    names: list[str], path: str, found: tuple[str, str] | None
) -> None:
    staged = stage_of([Stage(each) for each in names], path)
    assert (staged and (staged[0].name, staged[1])) == found


def test_an_api_is_its_routes_stages_rates_and_cors() -> None:
    described = resources(
        {"RouteKey": "$default", "AuthorizationType": "AWS_IAM"},
        {"RouteKey": "GET /a/{b+}", "AuthorizationType": "NONE", "Target": "integrations/quick"},
        cors={"AllowOrigins": ["https://a.example"], "MaxAge": "300"},
        stage={
            "DefaultRouteSettings": {"ThrottlingRateLimit": "0.5", "ThrottlingBurstLimit": 2},
            "RouteSettings": {"GET /a/{b+}": {"ThrottlingBurstLimit": 1}},
            "StageVariables": {"a": 1},
        },
    )
    quick = {"ApiId": "api", **integration(TimeoutInMillis=1000)}
    described["quick"] = {"Type": "AWS::ApiGatewayV2::Integration", "Properties": quick}
    api = read_api(described)
    assert api is not None
    assert [(each.key, each.timeout_ms, each.unasked) for each in api.routes] == [
        ("$default", 30_000, "AWS_IAM"),
        ("GET /a/{b+}", 1_000, ""),
    ]
    assert api.stages[0].rates == {"": Rate(0.5, 2), "GET /a/{b+}": Rate(10_000, 1)}
    assert api.stages[0].variables == {"a": "1"}
    assert api.cors is not None
    assert (set(api.cors.named_origins), api.cors.max_age_s) == ({"https://a.example"}, 300)


def test_what_its_condition_leaves_out_is_not_there() -> None:
    described = resources({"RouteKey": "$default"}, {"RouteKey": "GET /a"})
    described["route1"]["Exists"] = "false"
    api = read_api(described)
    assert api is not None
    assert [each.key for each in api.routes] == ["$default"]
    for each in described.values():
        each["Exists"] = "false"
    assert read_api(described) is None


def test_an_api_of_websockets_is_none() -> None:
    described = resources()
    described["api"]["Properties"]["ProtocolType"] = "WEBSOCKET"
    assert read_api(described) is None


@pytest.mark.parametrize(
    ("route", "changed", "why"),
    [
        ({"RouteKey": "GET"}, {}, "a route key is"),
        ({"RouteKey": "FETCH /a"}, {}, "a route key is"),
        ({"RouteKey": "GET a"}, {}, "a route key is"),
        ({"RouteKey": "GET /a{b}"}, {}, "a variable is a whole part"),
        ({"RouteKey": "GET /{}"}, {}, "a variable is a whole part"),
        ({"RouteKey": "GET /{a+}/b"}, {}, "a greedy variable is the last part"),
        ({"RouteKey": "$default", "Target": "integrations/other"}, {}, "is no integration of the template"),
        ({"RouteKey": "$default"}, {"IntegrationType": "HTTP_PROXY"}, "AWS_PROXY"),
        ({"RouteKey": "$default"}, {"PayloadFormatVersion": "1.0"}, "must be '2.0'"),
        ({"RouteKey": "$default"}, {"PayloadFormatVersion": None}, "must be '2.0'"),
        ({"RouteKey": "$default"}, {"TimeoutInMillis": 30_001}, "from 50 to 30000"),
        ({"RouteKey": "$default"}, {"TimeoutInMillis": "soon"}, "invalid literal"),
        ({"RouteKey": "$default"}, {"RequestParameters": {"a": "b"}}, "parameters are not mapped"),
    ],
)
def test_what_would_go_another_way_here_is_refused(
    route: dict[str, Any], changed: dict[str, Any], why: str
) -> None:
    described = resources(route)
    described["all"]["Properties"] |= changed
    with pytest.raises(ConfigError, match=why):
        read_api(described)


def test_every_problem_is_told_at_once() -> None:
    described = resources({"RouteKey": "GET"}, {"RouteKey": "GET"}, cors={"AllowOrigins": "*"})
    described["api"]["Properties"]["Body"] = {}
    with pytest.raises(ConfigError) as refused:
        read_api(described)
    told = "\n".join(refused.value.problems)
    for each in ("OpenAPI", "a route key is", "lists of texts", "two routes have one key"):
        assert each in told


def test_two_apis_are_refused() -> None:
    described = resources()
    described["other"] = described["api"]
    with pytest.raises(ConfigError, match="one HTTP API; the template has 2"):
        read_api(described)


def test_an_api_has_two_functions_at_most_and_the_default_routes_is_the_first() -> None:
    routes = (Route("POST /v1/events", "two"), Route("$default", "one"), Route("POST /v1/metrics", "two"))
    api = HttpApi("api", routes, (Stage(),))
    assert (first_function(api), other_function(api)) == ("one", "two")
    alone = HttpApi("api", routes[1:2], (Stage(),))
    assert (first_function(alone), other_function(alone)) == ("one", "")
    with pytest.raises(
        ConfigError, match="runs two functions of an HTTP API; the routes name one, three, two"
    ):
        other_function(HttpApi("api", (*routes, Route("GET /x", "three")), (Stage(),)))


def test_pages_of_any_origin_may_come_where_a_preflight_has_a_route_of_its_own() -> None:
    routes = (
        Route("OPTIONS /v1/events", "f"),
        Route("OPTIONS /{proxy+}", "f"),
        Route("OPTIONS /signed", "f", unasked="AWS_IAM"),
        Route("POST /v1/metrics", "f"),
    )
    assert preflight_paths(routes) == {"/v1/events"}


def test_what_an_authorizer_guards_on_aws_is_told_once_a_kind() -> None:
    guarded = [
        {"RouteKey": key, "AuthorizationType": kind} for key, kind in (("$default", "JWT"), ("GET /a", "JWT"))
    ]
    api = read_api(
        resources(*guarded, {"RouteKey": "GET /b", "AuthorizationType": "AWS_IAM"}, {"RouteKey": "GET /c"})
    )
    assert api is not None
    jwt, iam = unasked(api.routes)
    assert jwt.startswith("$default, GET /a: on AWS JWT says who may ask")
    assert iam.startswith("GET /b: on AWS AWS_IAM")
