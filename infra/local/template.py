"""Read the one SAM template for one machine: what Lambda and Kinesis would run we keep, the rest goes to CloudFormation.

The SAM translator runs offline. Expressions in what we keep (``!Ref Aggregates``) are not evaluated here: they become
outputs of the emulator's stack, so its CloudFormation resolves them as AWS would.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamgage.errors import ConfigError

REGION = "us-east-1"
ACCOUNT = "000000000000"
STACK_NAME = "streamgage"

_STREAM = "AWS::Kinesis::Stream"
_FUNCTION = "AWS::Lambda::Function"
_MAPPING = "AWS::Lambda::EventSourceMapping"
_TABLE = "AWS::DynamoDB::Table"


@dataclass(frozen=True, slots=True)
class LocalTemplate:
    """The template, divided. Values of ``kept`` resources may hold ``{"Fn::Output": name}`` marks: see resolve.

    ``cloudformation`` is the template that the emulator's CloudFormation creates. ``tables`` are those that it is not
    to create, because another engine holds them.
    """

    cloudformation: dict[str, Any]
    streams: dict[str, dict[str, Any]]
    functions: dict[str, dict[str, Any]]
    mappings: dict[str, dict[str, Any]]
    tables: dict[str, dict[str, Any]]


def stream_name(logical_id: str) -> str:
    """Return the name of the stream that the template calls *logical_id*."""
    return f"{STACK_NAME}-{logical_id}"


def stream_arn(logical_id: str) -> str:
    """Return the ARN of the stream that the template calls *logical_id*."""
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream_name(logical_id)}"


def function_name(logical_id: str) -> str:
    """Return the name of the function that the template calls *logical_id*."""
    return f"{STACK_NAME}-{logical_id}"


def table_name(logical_id: str) -> str:
    """Return the name of the table that the template calls *logical_id*, where we create it."""
    return f"{STACK_NAME}-{logical_id}"


def divide(path: Path, *, keep_tables: bool = False) -> LocalTemplate:
    """Translate and divide the SAM template at *path*; its tables too, where *keep_tables*.

    Raises:
        ConfigError: the translator refuses it.
    """
    resources, rest = _translate(path)
    kept: dict[str, dict[str, dict[str, Any]]] = {_STREAM: {}, _FUNCTION: {}, _MAPPING: {}}
    if keep_tables:
        kept[_TABLE] = {}
    for logical_id in [name for name, each in resources.items() if each["Type"] in kept]:
        resource = resources.pop(logical_id)
        kept[resource["Type"]][logical_id] = resource["Properties"]
    names = (
        {name: (stream_name(name), stream_arn(name)) for name in kept[_STREAM]}
        | {
            name: (function_name(name), f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function_name(name)}")
            for name in kept[_FUNCTION]
        }
        | {
            name: (table_name(name), f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table_name(name)}")
            for name in kept.get(_TABLE, {})
        }
    )
    outputs: dict[str, Any] = {}
    marked = {
        kind: {name: _mark(_without_ours(each, names), outputs) for name, each in group.items()}
        for kind, group in kept.items()
    }
    cloudformation: dict[str, Any] = {
        **{key: rest[key] for key in ("Parameters", "Conditions") if key in rest},
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": _without_ours(resources, names),
        "Outputs": {name: {"Value": value} for name, value in outputs.items()}
        | _without_ours(rest.get("Outputs", {}), names),
    }
    return LocalTemplate(
        cloudformation, marked[_STREAM], marked[_FUNCTION], marked[_MAPPING], marked.get(_TABLE, {})
    )


def resolve(value: Any, outputs: Mapping[str, str]) -> Any:
    """Return *value* with each mark replaced by what the emulator's stack gives out."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::Output"}:
            return outputs[value["Fn::Output"]]
        return {key: resolve(each, outputs) for key, each in value.items()}
    if isinstance(value, list):
        return [resolve(each, outputs) for each in value]
    return value


def _translate(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    # Imported here: the translator takes half a second, and only `up` needs it.
    import boto3  # noqa: PLC0415 - see above
    from samtranslator.parser.parser import Parser  # noqa: PLC0415 - see above
    from samtranslator.sdk.resource import SamResourceType  # noqa: F401, PLC0415 - loads the translator's plugins
    from samtranslator.translator.translator import Translator  # noqa: PLC0415 - see above
    from samtranslator.yaml_helper import yaml_parse  # noqa: PLC0415 - see above

    try:
        template = yaml_parse(path.read_text(encoding="utf-8"))
        for each in template["Resources"].values():
            if (
                each["Type"] == "AWS::Serverless::Function"
            ):  # the translator wants a place in S3; locally it is a folder
                each["Properties"]["CodeUri"] = "s3://local/bundle"
        translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
        translated = translator.translate(template, {})
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # the translator raises many kinds, each about the template
        raise ConfigError(f"{path}: not a SAM template that can be translated: {error}") from error
    return translated["Resources"], translated


def _without_ours(value: Any, names: Mapping[str, tuple[str, str]]) -> Any:
    """Replace references to what we keep by its name or ARN, which we choose."""
    if isinstance(value, dict):
        if value.keys() == {"Ref"} and value["Ref"] in names:
            return names[value["Ref"]][0]
        if value.keys() == {"Fn::GetAtt"}:
            target = value["Fn::GetAtt"]
            logical_id, attribute = target.split(".", 1) if isinstance(target, str) else target
            if logical_id in names and attribute == "Arn":
                return names[logical_id][1]
        return {
            key: _without_ours(each, names)
            for key, each in value.items()
            if key != "DependsOn" or each not in names
        }
    if isinstance(value, list):
        return [_without_ours(each, names) for each in value]
    if isinstance(value, str) and "${" in value:
        for logical_id, (name, arn) in names.items():
            value = value.replace(f"${{{logical_id}}}", name).replace(f"${{{logical_id}.Arn}}", arn)
    return value


def _mark(value: Any, outputs: dict[str, Any]) -> Any:
    """Replace each expression in *value* by a mark, and put the expression into *outputs* under the mark's name."""
    if isinstance(value, dict):
        key = next(iter(value), "")
        if len(value) == 1 and (key == "Ref" or key.startswith("Fn::")):
            text = json.dumps(value, sort_keys=True)
            name = next(
                (each for each, known in outputs.items() if json.dumps(known, sort_keys=True) == text), ""
            )
            name = name or f"Local{len(outputs)}"
            outputs[name] = value
            return {"Fn::Output": name}
        return {each: _mark(inner, outputs) for each, inner in value.items()}
    if isinstance(value, list):
        return [_mark(each, outputs) for each in value]
    return value
