"""A WebSocket API as the template describes it: how a message finds its route, and which routes answer.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api.html, and quotas:
https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html (checked
2026-11-29).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.gateway.api import DEFAULT, Stage, existing, integration_of, of_api, of_kind, read_stage
from streamgage.errors import ConfigError

CONNECT, DISCONNECT = "$connect", "$disconnect"
_LONGEST_MS = 29_000
_SELECTION = re.compile(r"\$\{?request\.body\.([A-Za-z0-9_.-]+?)\}?")


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """A route and its integration. ``two_way``: what the function answers goes back to the client.

    ``function`` is the ARN of what the integration invokes. ``unasked`` says which authorizer AWS would ask.
    """

    key: str
    function: str
    timeout_ms: int = _LONGEST_MS
    two_way: bool = False
    unasked: str = ""


@dataclass(frozen=True, slots=True)
class SocketApi:
    """One WebSocket API. *id* is what Ref of it is; ``selection`` is where in a message's JSON its route stands."""

    id: str
    selection: tuple[str, ...]
    routes: Mapping[str, SocketRoute]
    stage: Stage

    def route_of(self, message: str) -> SocketRoute | None:
        """Return the route that *message* takes: the one that it names, else ``$default``; None where the API has neither."""
        named = _named(message, self.selection)
        if named is not None and named in self.routes and named not in (CONNECT, DISCONNECT):
            return self.routes[named]
        return self.routes.get(DEFAULT)


def read_socket_api(resources: Mapping[str, Mapping[str, Any]]) -> SocketApi | None:
    """Return the WebSocket API of *resources*, as `api.read_api` does; None where there is none.

    Raises:
        ConfigError: with everything in it that would go another way here than on AWS, or not at all.
    """
    there = existing(resources)
    apis = {name: each["Properties"] for name, each in of_kind(there, "Api").items()}
    apis = {name: each for name, each in apis.items() if each.get("ProtocolType") == "WEBSOCKET"}
    if not apis:
        return None
    if len(apis) > 1:
        raise ConfigError(f"the local gateway serves one WebSocket API; the template has {len(apis)}")
    ((api_id, properties),) = apis.items()
    problems: list[str] = []
    expression = str(properties.get("RouteSelectionExpression", ""))
    selection = _SELECTION.fullmatch(expression)
    if selection is None:
        problems.append(
            f"{api_id}: RouteSelectionExpression is {expression!r}; here it is $request.body.NAME"
        )
    answered = {str(each.get("RouteId")) for each in of_api(there, "RouteResponse", api_id).values()}
    routes = [
        _route(there, name, each, problems, has_response=name in answered)
        for name, each in of_api(there, "Route", api_id).items()
    ]
    stages = [read_stage(each, problems) for each in of_api(there, "Stage", api_id).values()]
    if CONNECT not in {each.key for each in routes} or len(stages) != 1:
        problems.append(f"{api_id}: a WebSocket API has the route {CONNECT} and one stage here")
    if len({each.key for each in routes}) < len(routes):
        problems.append(f"{api_id}: two routes have one key")
    if problems or selection is None:
        raise ConfigError(*problems)
    by_key = {each.key: each for each in routes}
    return SocketApi(api_id, tuple(selection[1].split(".")), by_key, stages[0])


def _route(
    resources: Mapping[str, Mapping[str, Any]],
    name: str,
    properties: Mapping[str, Any],
    problems: list[str],
    *,
    has_response: bool,
) -> SocketRoute:
    key = str(properties.get("RouteKey", ""))
    if not key or (key.startswith("$") and key not in (CONNECT, DISCONNECT, DEFAULT)):
        problems.append(f"route {key!r}: a route key is $connect, $disconnect, $default or a word of yours")
    if str(properties.get("ModelSelectionExpression", "")) or properties.get("RequestModels"):
        problems.append(f"route {key!r}: models are not checked here")
    wants_response = properties.get("RouteResponseSelectionExpression") == DEFAULT
    if wants_response is not has_response:
        problems.append(
            f"route {key!r}: the client is answered where the route has RouteResponseSelectionExpression {DEFAULT} and a "
            f"RouteResponse of it; {name} has one of the two"
        )
    target = str(properties.get("Target", ""))
    function, timeout_ms = integration_of(
        resources, key, target, problems, versions=("1.0",), longest_ms=_LONGEST_MS
    )
    asked = str(properties.get("AuthorizationType", "NONE"))
    return SocketRoute(key, function, timeout_ms, has_response, "" if asked == "NONE" else asked)


def _named(message: str, selection: tuple[str, ...]) -> str | None:
    """Return the text that stands in the JSON *message* where the route is said."""
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return None
    for each in selection:
        value = value.get(each) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
