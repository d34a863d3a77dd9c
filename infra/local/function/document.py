"""The function's part of a process's configuration file, as JSON has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local.function.sandbox import FunctionConfig

_REQUIRED = ("name", "handler", "task_dir", "runtime_dir", "log_file")
_OPTIONAL = ("env", "timeout_s", "memory_mb", "max_concurrency")


def function_problems(document: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the names in *document*."""
    problems = [f"function.{name} is missing" for name in _REQUIRED if not document.get(name)]
    return problems + [
        f"function.{name} is unknown" for name in sorted(set(document) - {*_REQUIRED, *_OPTIONAL})
    ]


def function_config(document: Mapping[str, Any], *, region: str, account_id: str) -> FunctionConfig:
    """Return the function that a *document* without problems describes."""
    return FunctionConfig(
        name=document["name"],
        handler=document["handler"],
        task_dir=Path(document["task_dir"]).resolve(),
        runtime_dir=Path(document["runtime_dir"]).resolve(),
        log_file=Path(document["log_file"]).resolve(),
        region=region,
        account_id=account_id,
        **{name: document[name] for name in _OPTIONAL if name in document},
    )
