"""What must hold of the template's HTTP API: one rule a function, as in template_rules."""

import json
from collections.abc import Iterator
from typing import Any

from support.template_rules import ANSWERS, FUNCTION, Deployed, Rule

_API = "AWS::ApiGatewayV2::"


def no_api_means_none(deployed: Deployed) -> Iterator[str]:
    parts = [each for each in deployed.resources.values() if each["Type"].startswith(_API)]
    others = [*deployed.of("AWS::Lambda::Permission"), *deployed.of(FUNCTION)[1:]]
    if not deployed.serves and (parts or others):
        yield "something is left of an API that is not wanted"
    if deployed.serves and not (parts and others):
        yield "there is no API, or nothing behind it"


def questions_are_answered_to_those_who_may_ask(deployed: Deployed) -> Iterator[str]:
    """Signed requests of the account, or tokens that are for this API, as the parameters say."""
    if not deployed.serves:
        return
    parameters, by_token = deployed.parameters, bool(deployed.parameters["JwtIssuer"]) or deployed.pages
    route, authorizers = routes_of(deployed)["$default"], deployed.of(f"{_API}Authorizer")
    if route.get("AuthorizationType") != ("JWT" if by_token else "AWS_IAM"):
        yield f"authorization is {route.get('AuthorizationType')}"
    if not by_token == ("AuthorizerId" in route) == bool(authorizers):
        yield "the authorizer is not that of tokens"
    for each in authorizers:
        configuration, audience = each["Properties"]["JwtConfiguration"], parameters["JwtAudience"]
        if not deployed.pages and configuration != {
            "Issuer": parameters["JwtIssuer"],
            "Audience": {"Fn::Split": [",", audience]},
        }:
            yield f"tokens are taken by {configuration}"
    if bool(parameters["JwtScopes"]) != ("AuthorizationScopes" in route):
        yield "scopes are not those of the parameter"


def routes_are_these_and_may_call_the_function(deployed: Deployed) -> Iterator[str]:
    """One that asks for credentials; and where other origins may read, one of preflights, which have none."""
    if not deployed.serves:
        return
    crosses, routes = bool(deployed.parameters["ApiOrigins"]), routes_of(deployed)
    if routes.keys() - {"$default"} != ({"OPTIONS /{proxy+}"} if crosses else set()):
        yield f"routes are {sorted(routes)}"
    if crosses != ("CorsConfiguration" in deployed.only(f"{_API}Api")):
        yield "other origins may read what the parameter does not say"
    told = [
        *deployed.live("AWS::Lambda::Permission"),
        *deployed.collecting("AWS::Lambda::Permission"),
    ]
    permissions = [each["Properties"] for each in deployed.of("AWS::Lambda::Permission")]
    permissions = [each for each in permissions if each not in told]
    if len(permissions) != len(routes):
        yield "a route may not call the function, or something that is no route may"
    for permission in permissions:
        source = json.dumps(permission.get("SourceArn"))
        if permission["Principal"] != "apigateway.amazonaws.com" or "${HttpApi}" not in source:
            yield "others than this API may call the function"


def routes_of(deployed: Deployed) -> dict[str, dict[str, Any]]:
    """Return the properties of each route of the HTTP API, but the collector's, by its key."""
    return {each["Properties"]["RouteKey"]: each["Properties"] for each in deployed.lasting(f"{_API}Route")}


def an_api_is_bounded_and_written_down(deployed: Deployed) -> Iterator[str]:
    if not deployed.serves:
        return
    parameters, function = deployed.parameters, deployed.function(ANSWERS)
    stage, integration = deployed.only(f"{_API}Stage"), deployed.only(f"{_API}Integration")
    limits = {"ThrottlingRateLimit": parameters["ApiRate"], "ThrottlingBurstLimit": parameters["ApiBurst"]}
    if stage.get("DefaultRouteSettings") != limits:
        yield f"it is throttled by {stage.get('DefaultRouteSettings')}"
    written = json.loads(stage.get("AccessLogSettings", {}).get("Format", "{}"))
    if not {"requestId", "status", "caller", "path"} <= written.keys() or "query" in json.dumps(written):
        yield "it is not written down who asked, or too much of it"
    if integration.get("PayloadFormatVersion") != "2.0" or "Aliaslive" not in json.dumps(
        integration["IntegrationUri"]
    ):
        yield "the API passes the alias by, or speaks another format"
    if not int(function["Timeout"]) * 1000 < integration["TimeoutInMillis"] <= 30_000:
        yield "the API does not wait for its function"
    reserved = parameters["ApiConcurrency"] if int(parameters["ApiConcurrency"]) else None
    if function.get("ReservedConcurrentExecutions") != reserved:
        yield "what is reserved is not the parameter's"


HTTP_RULES: tuple[Rule, ...] = (
    no_api_means_none,
    questions_are_answered_to_those_who_may_ask,
    routes_are_these_and_may_call_the_function,
    an_api_is_bounded_and_written_down,
)
