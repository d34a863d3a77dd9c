"""The configuration file of the gateway's process: one JSON object, checked as a whole."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.function.document import function_config, function_problems
from infra.local.function.sandbox import FunctionConfig
from infra.local.gateway.api import DEFAULT, HttpApi, read_api
from infra.local.gateway.socket_api import SocketApi, read_socket_api
from infra.local.sealed import unseal
from streamgage.errors import ConfigError

_NAMES = frozenset({"port", "resources", "function", "web_dir", "status_file", "region", "account"})
_OPTIONAL = frozenset({"socket_function", "collector_function"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketConfig:
    """The WebSocket API and the function behind it."""

    api: SocketApi
    function: FunctionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherConfig:
    """A second function of the HTTP API, and what its routes call it."""

    named: str
    function: FunctionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What ``python -m infra.local.gateway`` runs with: the API, its function, the page's folder; its WebSocket API.

    ``function`` answers ``$default``, ``collector`` the routes that name another one.
    """

    port: int
    api: HttpApi
    function: FunctionConfig
    web_dir: Path
    status_file: Path
    socket: SocketConfig | None = None
    collector: OtherConfig | None = None


def load(path: Path) -> GatewayConfig:
    """Return the configuration in the file *path*. Raises: ConfigError."""
    try:
        return parse(unseal(json.loads(path.read_bytes())))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}. The next `streamgage up` writes it anew") from error


def parse(document: Mapping[str, Any]) -> GatewayConfig:
    """Return the configuration that *document* describes. Raises: ConfigError, with every problem found."""
    problems = [f"{name} is missing" for name in sorted(_NAMES - document.keys())]
    problems += [f"{name} is unknown" for name in sorted(document.keys() - _NAMES - _OPTIONAL)]
    problems += function_problems(document.get("function") or {})
    resources = document.get("resources") or {}
    api, socket_api = None, None
    try:
        api = read_api(resources)
        socket_api = read_socket_api(resources)
    except ConfigError as error:
        problems += error.problems
    socket_function = document.get("socket_function")
    if socket_api is not None:
        problems += [f"socket_{each}" for each in function_problems(socket_function or {})]
    if api is None or problems:
        raise ConfigError(*(problems or ["the template has no HTTP API"]))
    other = other_function(api)
    collector_function = document.get("collector_function") or {}
    if other and (wrong := function_problems(collector_function)):
        raise ConfigError(*(f"collector_{each}" for each in wrong))
    place = {"region": document["region"], "account_id": document["account"]}
    socket = None
    if socket_api is not None:
        _check_one_function(each.function for each in socket_api.routes.values())
        socket = SocketConfig(api=socket_api, function=function_config(socket_function or {}, **place))
    return GatewayConfig(
        port=int(document["port"]),
        api=api,
        function=function_config(document["function"], **place),
        web_dir=Path(document["web_dir"]),
        status_file=Path(document["status_file"]),
        socket=socket,
        collector=OtherConfig(named=other, function=function_config(collector_function, **place))
        if other
        else None,
    )


def first_function(api: HttpApi) -> str:
    """Return what the routes of *api* call the function that answers ``$default``, or else the first of them."""
    default = [each.function for each in api.routes if each.key == DEFAULT]
    return (default or [each.function for each in api.routes])[0]


def other_function(api: HttpApi) -> str:
    """Return what some routes of *api* call the function that is another than the first; empty: none does.

    Raises:
        ConfigError: they name more than two.
    """
    others = sorted({each.function for each in api.routes} - {first_function(api)})
    if len(others) > 1:
        raise ConfigError(
            f"the local gateway runs two functions of an HTTP API; the routes name {first_function(api)}, {', '.join(others)}"
        )
    return others[0] if others else ""


def _check_one_function(named: Iterable[str]) -> None:
    functions = sorted(set(named))
    if len(functions) > 1:
        raise ConfigError(
            f"the local gateway runs one function of a WebSocket API; the routes name {', '.join(functions)}"
        )
