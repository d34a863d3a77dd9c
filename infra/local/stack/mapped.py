"""What the mapping process runs with: the template's mapping and function, and where everything answers."""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from infra.local.http.secret import Credentials
from infra.local.stack.home import Home, read_json, write_json
from infra.local.stack.template import LocalTemplate, function_name, resolve
from streamgage.errors import ConfigError


def mapping_config(
    home: Home,
    template: LocalTemplate,
    outputs: Mapping[str, str],
    *,
    endpoints: Mapping[str, str],
    credentials: Credentials,
) -> dict[str, Any]:
    """Return the document of `infra.local.mapping.process_config`."""
    (mapping,) = template.mappings.values()
    logical_id, function = template.mapped(outputs)
    return {
        "stream_arn": resolve(mapping["EventSourceArn"], outputs),
        "kinesis_endpoint": endpoints["kinesis"],
        "endpoint": endpoints["aws"],
        **credentials._asdict(),
        "mapping": numbers(resolve(mapping, outputs)),
        "function": {
            **function_document(
                function_name(logical_id), resolve(function, outputs), endpoints, credentials
            ),
            "task_dir": str(home.task_dir),
            "runtime_dir": str(home.runtime_dir),
            "log_file": str(home.logs / "function.log"),
        },
        "checkpoint_file": str(home.checkpoint_file),
        "status_file": str(home.status_file),
    }


class Management(NamedTuple):
    """Where ``@connections`` of the WebSocket API *api_id* is on this machine."""

    api_id: str
    address: str

    def put_into(self, text: str) -> str:
        """Return *text* with this address in the place of the one on AWS, its stage with it."""
        there = rf"https://{re.escape(self.api_id)}\.execute-api\.[a-z0-9.-]+(?:/[A-Za-z0-9_-]+)?"
        return re.sub(there, self.address, text)


def function_document(
    name: str,
    properties: Mapping[str, Any],
    endpoints: Mapping[str, str],
    credentials: Credentials,
    *,
    management: Management | None = None,
) -> dict[str, Any]:
    """Return what a process is told of a function with these *properties*, but for where it is."""
    function = numbers(properties)
    variables = function.get("Environment", {}).get("Variables", {})
    return {
        "name": name,
        "handler": function["Handler"],
        "timeout_s": function.get("Timeout", 3),
        "memory_mb": function.get("MemorySize", 128),
        "env": {
            **credentials.variables(),
            "AWS_ENDPOINT_URL": endpoints["aws"],
            "AWS_ENDPOINT_URL_DYNAMODB": endpoints["dynamodb"],
            "AWS_ENDPOINT_URL_KINESIS": endpoints["kinesis"],
            **{
                key: management.put_into(str(value)) if management else str(value)
                for key, value in variables.items()
            },
        },
    }


def check_lanes(template: LocalTemplate, outputs: Mapping[str, str]) -> bool:
    """Return whether lanes are partition keys.

    Raises:
        ConfigError: the mapping's factor would lose events.
    """
    (mapping,) = template.mappings.values()
    _, function = template.mapped(outputs)
    factor = int(resolve(mapping, outputs).get("ParallelizationFactor", 1))
    lanes = resolve(function, outputs)["Environment"]["Variables"].get("STREAMGAGE_LANES", "shard")
    if factor > 1 and lanes != "partition_key":
        raise ConfigError(
            f"ParallelizationFactor is {factor}, and the function's STREAMGAGE_LANES is {lanes!r}: Lambda keeps order "
            "per partition key only, so lanes by shard would lose events. Set STREAMGAGE_LANES to partition_key"
        )
    return factor > 1


def keep_fixed(
    home: Home, template: LocalTemplate, outputs: Mapping[str, str], *, given: Collection[str]
) -> None:
    """Note what of the mapping is fixed for as long as the home keeps its stream and tables. *given*: parameters by name.

    Raises:
        ConfigError: it is another now, and would count twice what is under way, or would be passed over.
    """
    (mapping,) = template.mappings.values()
    _, function = template.mapped(outputs)
    properties = resolve(mapping, outputs)
    wanted = {
        "lanes": resolve(function, outputs)["Environment"]["Variables"].get("STREAMGAGE_LANES", "shard"),
        "start": [
            str(properties.get("StartingPosition", "")),
            str(properties.get("StartingPositionTimestamp", "")),
        ],
    }
    noted = read_json(home.fixed_file)
    if noted and home.checkpoint_file.exists():
        afresh = f"Say it as it was, or start afresh: streamgage down, then rm -r {home.root}"
        problems = []
        if noted["lanes"] != wanted["lanes"]:
            problems.append(
                f"ParallelizationFactor from or to 1 makes lanes by {wanted['lanes']}, and in {home.root} is counted by "
                f"{noted['lanes']}: the same batch under both counts twice. {afresh}"
            )
        if noted["start"] != wanted["start"] and "StartAt" in given:
            problems.append(
                f"StartAt says where a mapping begins, and the one in {home.root} has begun: it would be passed over. {afresh}"
            )
        if problems:
            raise ConfigError(*problems)
    write_json(home.fixed_file, wanted)


def numbers(value: Any) -> Any:
    """Return *value* with the numbers that CloudFormation gave out as text made numbers again."""
    if isinstance(value, dict):
        return {key: each if key == "Variables" else numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [numbers(each) for each in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else value
