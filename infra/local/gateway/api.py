"""An HTTP API as the template describes it: routes, integrations, stages, and what is not carried out here.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/AWS_ApiGatewayV2.html, and quotas:
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html (checked 2026-11-29).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from infra.local.gateway.cors import Cors
from infra.local.gateway.throttle import Rate
from streamgage.errors import ConfigError

DEFAULT = "$default"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY"})
_LONGEST_MS, _SHORTEST_MS = 30_000, 50
_TYPE = "AWS::ApiGatewayV2::"
_DEFAULT_RATE, _DEFAULT_BURST = (
    10_000.0,
    5_000,
)  # of an account in a region, where a stage says one of the two


@dataclass(frozen=True, slots=True)
class Route:
    """A route and its integration: ``$default``, or ``METHOD /path/{name}/{rest+}``.

    ``function`` is the ARN of what the integration invokes. ``unasked`` says which authorizer AWS would ask.
    """

    key: str
    function: str
    timeout_ms: int = _LONGEST_MS
    unasked: str = ""


class Guarded(Protocol):
    """A route that AWS may ask an authorizer about."""

    @property
    def key(self) -> str:
        """The route key."""

    @property
    def unasked(self) -> str:
        """Which authorizer that is; empty: none."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage. ``rates`` are by route key; under ``""`` is what every other route has; none: not throttled."""

    name: str = DEFAULT
    rates: Mapping[str, Rate] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpApi:
    """One HTTP API. *id* is what Ref of it is."""

    id: str
    routes: tuple[Route, ...]
    stages: tuple[Stage, ...]
    cors: Cors | None = None


def read_api(resources: Mapping[str, Mapping[str, Any]]) -> HttpApi | None:
    """Return the HTTP API of *resources* (by what others name each by; Type, Properties, Exists), None where there is none.

    Raises:
        ConfigError: with everything in it that would go another way here than on AWS, or not at all.
    """
    there = existing(resources)
    apis = {name: each["Properties"] for name, each in of_kind(there, "Api").items()}
    apis = {name: each for name, each in apis.items() if each.get("ProtocolType") == "HTTP"}
    if not apis:
        return None
    if len(apis) > 1:
        raise ConfigError(f"the local gateway serves one HTTP API; the template has {len(apis)}")
    ((api_id, properties),) = apis.items()
    problems: list[str] = []
    if "Body" in properties or "BodyS3Location" in properties:
        problems.append(f"{api_id}: say its routes as resources; an OpenAPI document is not read here")
    routes = tuple(_route(there, each, problems) for each in of_api(there, "Route", api_id).values())
    stages = tuple(read_stage(each, problems) for each in of_api(there, "Stage", api_id).values())
    cors = (
        tried(lambda: Cors.of(properties["CorsConfiguration"]), None, problems)
        if "CorsConfiguration" in properties
        else None
    )
    if not routes or not stages:
        problems.append(f"{api_id}: an HTTP API has a route and a stage")
    if len({each.key for each in routes}) < len(routes):
        problems.append(f"{api_id}: two routes have one key")
    if problems:
        raise ConfigError(*problems)
    return HttpApi(api_id, routes, stages, cors)


def unasked(routes: Iterable[Guarded]) -> list[str]:
    """Return a line for each kind of authorizer that guards routes on AWS; here the base address does, which is a secret."""
    guarded = [each for each in routes if each.unasked]
    kinds = dict.fromkeys(each.unasked for each in guarded)
    return [
        f"{', '.join(each.key for each in guarded if each.unasked == kind)}: on AWS {kind} says who may ask; here whoever "
        "knows the address, which is a secret"
        for kind in kinds
    ]


def preflight_paths(routes: Iterable[Route]) -> frozenset[str]:
    """Return the paths whose preflights have a route of their own, which asks nobody: the function says which pages may come."""
    asked = [each.key.partition(" ") for each in routes if not each.unasked]
    return frozenset(path for method, _, path in asked if method == "OPTIONS" and "{" not in path)


def existing(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return those of *resources* that their conditions let be."""
    return {name: each for name, each in resources.items() if each.get("Exists", "true") == "true"}


def of_kind(resources: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    """Return the resources of API Gateway of one *kind*: Api, Route …."""
    return {name: each for name, each in resources.items() if each["Type"] == _TYPE + kind}


def of_api(
    resources: Mapping[str, Mapping[str, Any]], kind: str, api_id: str
) -> dict[str, Mapping[str, Any]]:
    """Return the properties of those of a *kind* that belong to the API *api_id*."""
    found = {name: each["Properties"] for name, each in of_kind(resources, kind).items()}
    return {name: each for name, each in found.items() if each.get("ApiId") == api_id}


def _route(
    resources: Mapping[str, Mapping[str, Any]], properties: Mapping[str, Any], problems: list[str]
) -> Route:
    key = str(properties.get("RouteKey", ""))
    problems += [f"route {key!r}: {each}" for each in _wrong_key(key)]
    target = str(properties.get("Target", ""))
    function, timeout_ms = integration_of(
        resources, key, target, problems, versions=("2.0",), longest_ms=_LONGEST_MS
    )
    asked = str(properties.get("AuthorizationType", "NONE"))
    return Route(key, function, timeout_ms, "" if asked == "NONE" else asked)


def integration_of(
    resources: Mapping[str, Mapping[str, Any]],
    key: str,
    target: str,
    problems: list[str],
    *,
    versions: tuple[str, ...],
    longest_ms: int,
) -> tuple[str, int]:
    """Return the ARN of the function behind the route *key*, and its integration's time; note what is not carried out here.

    *versions* are the payload formats that such an API has; the first is meant where none is said, if it is ``1.0``.
    """
    integration = (
        of_kind(resources, "Integration").get(target.removeprefix("integrations/"), {}).get("Properties")
    )
    if integration is None:
        problems.append(f"route {key!r}: its target {target!r} is no integration of the template")
        return "", longest_ms
    if integration.get("IntegrationType") != "AWS_PROXY" or "IntegrationSubtype" in integration:
        problems.append(f"route {key!r}: only integrations with a function (AWS_PROXY) are carried out here")
    if str(integration.get("PayloadFormatVersion", "1.0")) not in versions:
        problems.append(f"route {key!r}: PayloadFormatVersion must be {versions[0]!r} here")
    if "RequestParameters" in integration or "ResponseParameters" in integration:
        problems.append(f"route {key!r}: parameters are not mapped here")
    timeout_ms: int = tried(lambda: int(integration.get("TimeoutInMillis", longest_ms)), 0, problems)
    if not _SHORTEST_MS <= timeout_ms <= longest_ms:
        problems.append(f"route {key!r}: TimeoutInMillis is from {_SHORTEST_MS} to {longest_ms}")
    uri = str(integration.get("IntegrationUri", ""))
    return uri.partition("/functions/")[2].removesuffix("/invocations") or uri, timeout_ms


def _wrong_key(key: str) -> list[str]:
    if key == DEFAULT:
        return []
    method, _, path = key.partition(" ")
    if method not in METHODS or not path.startswith("/"):
        return ["a route key is $default, or a method and a path: GET /pets/{id}"]
    segments = path[1:].split("/")
    names = [each for each in segments if "{" in each or "}" in each]
    problems = [
        f"{each!r}: a variable is a whole part of the path"
        for each in names
        if not (each.startswith("{") and each.endswith("}") and each[1:-1].rstrip("+"))
    ]
    if any(each.endswith("+}") for each in segments[:-1]):
        problems.append("a greedy variable is the last part of the path")
    return problems


def read_stage(properties: Mapping[str, Any], problems: list[str]) -> Stage:
    """Return the stage of *properties*, and note what is wrong with it."""
    settings = {"": properties.get("DefaultRouteSettings") or {}, **(properties.get("RouteSettings") or {})}
    found = {key: tried(partial(_rate, each), None, problems) for key, each in settings.items()}
    rates = {key: each for key, each in found.items() if each is not None}
    variables = {key: str(each) for key, each in (properties.get("StageVariables") or {}).items()}
    return Stage(str(properties.get("StageName", DEFAULT)), rates, variables)


def _rate(settings: Mapping[str, Any]) -> Rate | None:
    rate, burst = settings.get("ThrottlingRateLimit"), settings.get("ThrottlingBurstLimit")
    if rate is None and burst is None:
        return None
    return Rate(
        per_s=_DEFAULT_RATE if rate is None else float(rate),
        burst=_DEFAULT_BURST if burst is None else int(burst),
    )


def tried(read: Callable[[], Any], otherwise: Any, problems: list[str]) -> Any:
    """Return what *read* returns; where it cannot be read, note why and return *otherwise*."""
    try:
        return read()
    except (ValueError, TypeError) as error:
        problems.append(str(error))
        return otherwise
