"""The configuration file of a process that tells changes: one JSON object, checked as a whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.changes.mapping import ChangesMapping, mapping_of
from infra.local.function.document import function_config, function_problems
from infra.local.function.sandbox import FunctionConfig
from infra.local.sealed import unseal
from streamgage.errors import ConfigError

_NAMES = frozenset(
    {
        "table",
        "endpoint",
        "access_key",
        "secret_key",
        "mapping",
        "function",
        "status_file",
        "region",
        "account",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesConfig:
    """What ``python -m infra.local.changes.process`` runs with: whose stream, where the tables answer, and the function."""

    table: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str
    mapping: ChangesMapping
    function: FunctionConfig
    status_file: Path


def load(path: Path) -> ChangesConfig:
    """Return the configuration in the file *path*. Raises: ConfigError."""
    try:
        return parse(unseal(json.loads(path.read_bytes())))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}. The next `streamgage up` writes it anew") from error


def parse(document: Mapping[str, Any]) -> ChangesConfig:
    """Return the configuration that *document* describes. Raises: ConfigError, with every problem found."""
    problems = [f"{name} is missing" for name in sorted(_NAMES - document.keys())]
    problems += [f"{name} is unknown" for name in sorted(document.keys() - _NAMES)]
    problems += function_problems(document.get("function") or {})
    mapping = None
    try:
        mapping = mapping_of(document.get("mapping") or {})
    except ConfigError as error:
        problems += error.problems
    if mapping is None or problems:
        raise ConfigError(*problems)
    return ChangesConfig(
        mapping=mapping,
        function=function_config(
            document["function"], region=document["region"], account_id=document["account"]
        ),
        status_file=Path(document["status_file"]),
        **{name: str(document[name]) for name in ("table", "endpoint", "access_key", "secret_key", "region")},
    )
