"""What gateway and changes run with: the template's APIs, the page, who is told what changed; and on which port."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from infra.local.gateway.api import read_api
from infra.local.gateway.config import first_function, other_function
from infra.local.gateway.socket_api import CONNECT, read_socket_api
from infra.local.http.secret import Credentials
from infra.local.stack.home import Home, read_json
from infra.local.stack.mapped import Management, function_document, numbers
from infra.local.stack.ports import if_free
from infra.local.stack.template import ACCOUNT, LocalTemplate, function_name, resolve
from infra.template.page import WEB_DIR
from infra.template.translate import REGION
from streamgage.errors import ConfigError

_ANSWER_S = 35  # longer than the integration's 30 s: its own answer says more than ours
_SANDBOXES = 4  # each is a process of some 60 MB; the next request waits


def may_be_served(template: LocalTemplate) -> bool:
    """Tell whether the template has an HTTP API, whatever its conditions come to."""
    properties = [each["Properties"] for each in template.gateway.values()]
    return any(each.get("ProtocolType") == "HTTP" for each in properties)


def wanted_port(home: Home, asked: int) -> int:
    """Return the port that was *asked* for; where none was, the one of the last time if it is free: addresses are kept."""
    if asked:
        return asked
    try:
        last = read_json(home.gateway_config_file)
    except ConfigError:  # the doctor's matter: it is written anew
        return 0
    port = last.get("port") if isinstance(last, dict) else None
    return if_free(port) if isinstance(port, int) else 0


def health_problem(base: str, *, timeout_s: float = _ANSWER_S) -> str | None:
    """Ask the API at *base* for its ``/health``, which its function answers from the tables; return why it does not."""
    try:
        with urllib.request.urlopen(f"{base}/health", timeout=timeout_s):  # noqa: S310 - a loopback address of our own
            return None
    except urllib.error.HTTPError as error:
        return f"it answers {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        return f"no answer ({getattr(error, 'reason', error)})"


class Place(NamedTuple):
    """What a function is told of where it runs. ``port`` is the gateway's."""

    home: Home
    port: int
    endpoints: Mapping[str, str]
    credentials: Credentials


def gateway_config(
    place: Place, template: LocalTemplate, outputs: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return the document of `infra.local.gateway.config`; None where the template has no HTTP API.

    Raises:
        ConfigError: something of the APIs would go another way here than on AWS.
    """
    home = place.home
    resources = {name: resolve(each, outputs) for name, each in template.gateway.items()}
    api, sockets = read_api(resources), read_socket_api(resources)
    if api is None:
        if sockets is not None:
            raise ConfigError(
                "the local gateway has a WebSocket API beside an HTTP API; the template has none of HTTP"
            )
        return None

    def function(named: str, log: str, task_dir: Path) -> dict[str, Any]:
        known = _function(place, template, outputs, named, log=log, task_dir=task_dir)
        return {**known, "max_concurrency": _SANDBOXES}

    document = {
        "port": place.port,
        "region": REGION,
        "account": ACCOUNT,
        "resources": numbers(resources),
        "function": function(first_function(api), "api.log", home.api_task_dir),
        "web_dir": str(WEB_DIR),
        "status_file": str(home.gateway_status_file),
    }
    if other := other_function(api):
        document["collector_function"] = function(other, "collector.log", home.collector_task_dir)
    if sockets is not None:
        named = sockets.routes[CONNECT].function
        document["socket_function"] = function(named, "socket.log", home.socket_task_dir)
    return document


def changes_config(
    place: Place, template: LocalTemplate, outputs: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return the document of `infra.local.changes.config`; None where no function reads a table's stream.

    Raises:
        ConfigError: more than one does.
    """
    home = place.home
    resolved = [resolve(each, outputs) for each in template.changes.values()]
    mappings = [each["Properties"] for each in resolved if each["Exists"] == "true"]
    if not mappings:
        return None
    if len(mappings) > 1:
        raise ConfigError(
            f"one function reads a table's stream on this machine; the template has {len(mappings)}"
        )
    (mapping,) = mappings
    named = str(mapping["FunctionName"])
    function = _function(place, template, outputs, named, log="push.log", task_dir=home.changes_task_dir)
    return {
        "table": str(mapping["EventSourceArn"]).partition(":table/")[2].partition("/")[0],
        "endpoint": place.endpoints["dynamodb"],
        "region": REGION,
        "account": ACCOUNT,
        **place.credentials._asdict(),
        "mapping": numbers(mapping),
        "function": {**function, "max_concurrency": 1},
        "status_file": str(home.changes_status_file),
    }


def build_other(
    function: Mapping[str, Any] | None, pipeline: Path, build: Callable[[Path, Path, str], None] | None
) -> None:
    """Make the bundle of a *function* that is neither the mapping's nor the HTTP API's; None: there is none.

    Raises:
        ConfigError: there is no code for it.
    """
    if function is None:
        return
    if build is None:
        raise ConfigError(f"the template has the function {function['name']}, and there is no code for it")
    build(Path(function["task_dir"]), pipeline, function["handler"])


def _function(
    place: Place, template: LocalTemplate, outputs: Mapping[str, str], named: str, *, log: str, task_dir: Path
) -> dict[str, Any]:
    """Return what a process is told of the function that *named* means."""
    logical_id, properties = template.function_of(named)
    sockets = read_socket_api({name: resolve(each, outputs) for name, each in template.gateway.items()})
    address = f"http://127.0.0.1:{place.port}/{place.credentials.base}"
    management = None if sockets is None else Management(sockets.id, address)
    return {
        **function_document(
            function_name(logical_id),
            resolve(properties, outputs),
            place.endpoints,
            place.credentials,
            management=management,
        ),
        "task_dir": str(task_dir),
        "runtime_dir": str(place.home.runtime_dir),
        "log_file": str(place.home.logs / log),
    }
