"""The configuration file of the gateway's process: one JSON object, checked as a whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.function.document import function_config, function_problems
from infra.local.function.sandbox import FunctionConfig
from infra.local.gateway.api import HttpApi, read_api
from infra.local.sealed import unseal
from streamgage.errors import ConfigError

_NAMES = frozenset({"port", "resources", "function", "web_dir", "status_file", "region", "account"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What ``python -m infra.local.gateway`` runs with: the API, the function behind it, the page's folder."""

    port: int
    api: HttpApi
    function: FunctionConfig
    web_dir: Path
    status_file: Path


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
    problems += [f"{name} is unknown" for name in sorted(document.keys() - _NAMES)]
    problems += function_problems(document.get("function") or {})
    api = None
    try:
        api = read_api(document.get("resources") or {})
    except ConfigError as error:
        problems += error.problems
    if api is None or problems:
        raise ConfigError(*(problems or ["the template has no HTTP API"]))
    functions = {each.function for each in api.routes}
    if len(functions) > 1:
        raise ConfigError(
            f"the local gateway runs one function; the routes name {', '.join(sorted(functions))}"
        )
    return GatewayConfig(
        port=int(document["port"]),
        api=api,
        function=function_config(
            document["function"], region=document["region"], account_id=document["account"]
        ),
        web_dir=Path(document["web_dir"]),
        status_file=Path(document["status_file"]),
    )
