"""What the gateway's process runs with: the template's HTTP API, its function and the page, and on which port."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from infra.local.gateway.api import read_api
from infra.local.http.secret import Credentials
from infra.local.stack.home import Home, read_json
from infra.local.stack.mapped import function_document, numbers
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


def gateway_config(
    home: Home,
    template: LocalTemplate,
    outputs: Mapping[str, str],
    *,
    port: int,
    endpoints: Mapping[str, str],
    credentials: Credentials,
) -> dict[str, Any] | None:
    """Return the document of `infra.local.gateway.config`; None where the template has no HTTP API.

    Raises:
        ConfigError: something of the API would go another way here than on AWS.
    """
    resources = {name: resolve(each, outputs) for name, each in template.gateway.items()}
    api = read_api(resources)
    if api is None:
        return None
    logical_id, function = template.function_of(api.routes[0].function)
    return {
        "port": port,
        "region": REGION,
        "account": ACCOUNT,
        "resources": numbers(resources),
        "function": {
            **function_document(
                function_name(logical_id), resolve(function, outputs), endpoints, credentials
            ),
            "task_dir": str(home.api_task_dir),
            "runtime_dir": str(home.runtime_dir),
            "log_file": str(home.logs / "api.log"),
            "max_concurrency": _SANDBOXES,
        },
        "web_dir": str(WEB_DIR),
        "status_file": str(home.gateway_status_file),
    }
