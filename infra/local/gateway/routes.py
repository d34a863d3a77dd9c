"""Which route a request takes.

"API Gateway selects the route with the best match, using the following priority: 1. Full match for a route and method. 2. Match
for a route and method with a greedy path variable ({proxy+}). 3. The $default route." Among full matches a part that is spelled
out goes before a variable, from left to right, and a method that is named before ANY; among greedy ones the longest.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html (checked 2026-11-29).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from infra.local.gateway.api import DEFAULT, Route, Stage


class Match(NamedTuple):
    """The route of a request, and the values of its variables."""

    route: Route
    parameters: Mapping[str, str]


class RouteTable:
    """The routes of one API, the best match first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        parsed = [_parsed(each) for each in routes if each.key != DEFAULT]
        self._routes = sorted(parsed, key=_order)
        self._default = next((each for each in routes if each.key == DEFAULT), None)

    def match(self, method: str, path: str) -> Match | None:
        """Return the route that *path*, decoded and without its stage, takes; None where the API has none for it."""
        segments = path[1:].split("/")
        for route, wanted, parts in self._routes:
            if wanted in (method, "ANY") and (found := _values(parts, segments)) is not None:
                return Match(route, found)
        return Match(self._default, {}) if self._default is not None else None


def stage_of(stages: Iterable[Stage], path: str) -> tuple[Stage, str] | None:
    """Return the stage that *path* names by its first part, else ``$default``, and the path without it; None: neither."""
    first, slash, rest = path[1:].partition("/")
    by_name = {each.name: each for each in stages}
    if first in by_name and first != DEFAULT:
        return by_name[first], slash + rest or "/"
    return (by_name[DEFAULT], path) if DEFAULT in by_name else None


def _parsed(route: Route) -> tuple[Route, str, list[str]]:
    method, _, path = route.key.partition(" ")
    return route, method, path[1:].split("/")


def _order(parsed: tuple[Route, str, list[str]]) -> tuple[bool, int, list[bool], bool]:
    """Return what the best match has the least of."""
    _, method, parts = parsed
    greedy = _is_greedy(parts[-1])
    return greedy, -len(parts) if greedy else 0, [each.startswith("{") for each in parts], method == "ANY"


def _is_greedy(part: str) -> bool:
    return part.endswith("+}")


def _values(parts: list[str], segments: list[str]) -> dict[str, str] | None:
    """Return the variables' values where *segments* are what *parts* ask for."""
    found: dict[str, str] = {}
    greedy = _is_greedy(parts[-1])
    if (len(segments) < len(parts)) if greedy else (len(segments) != len(parts)):
        return None
    for number, part in enumerate(parts):
        if _is_greedy(part):
            found[part[1:-2]] = "/".join(segments[number:])
        elif part.startswith("{"):
            found[part[1:-1]] = segments[number]
        elif part != segments[number]:
            return None
    return None if any(not each for each in found.values()) else found
