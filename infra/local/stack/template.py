"""Read the one SAM template for one machine: what Lambda and Kinesis would run we keep, the rest goes to CloudFormation.

The SAM translator runs offline. Expressions in what we keep (``!Ref Aggregates``) are not evaluated here: they become
outputs of the emulator's stack, so its CloudFormation resolves them as AWS would.
"""

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.stack.aws_only import CONDITIONS, why_only_on_aws
from infra.template.translate import REGION, translate
from streamgage.errors import ConfigError

ACCOUNT = "000000000000"
STACK_NAME = "streamgage"

_STREAM = "AWS::Kinesis::Stream"
_FUNCTION = "AWS::Lambda::Function"
_MAPPING = "AWS::Lambda::EventSourceMapping"
_TABLE = "AWS::DynamoDB::Table"
_GATEWAY = frozenset(
    f"AWS::ApiGatewayV2::{each}"
    for each in ("Api", "Authorizer", "Deployment", "Integration", "Route", "RouteResponse", "Stage")
)
_ARNS = {
    _FUNCTION: ("lambda", "function:{}"),
    _TABLE: ("dynamodb", "table/{}"),
    _MAPPING: ("lambda", "event-source-mapping:{}"),
    "AWS::CloudWatch::Alarm": ("cloudwatch", "alarm:{}"),
}
Names = Mapping[str, Mapping[str, str]]
"""Of what the emulator does not create: by logical id, what Ref of it is here (under "") and each attribute."""

_ABSENT = "AWS::NoValue"  # as text in an output, where CloudFormation would leave the property out


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A resource of the template that exists only on AWS, and why."""

    logical_id: str
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class LocalTemplate:
    """The template, divided. Values of ``kept`` resources may hold ``{"Fn::Output": name}`` marks: see resolve.

    ``cloudformation`` is the template that the emulator's CloudFormation creates. ``tables`` are those that it is not
    to create, because another engine holds them. ``changes`` are the mappings of tables' streams, with their conditions as
    ``gateway`` has them: ``gateway`` has the resources of API Gateway by what others name each by,
    with Type, Properties, and Exists ("true" or "false": its condition). ``elsewhere`` is what no one here creates.
    """

    cloudformation: dict[str, Any]
    streams: dict[str, dict[str, Any]]
    functions: dict[str, dict[str, Any]]
    mappings: dict[str, dict[str, Any]]
    tables: dict[str, dict[str, Any]]
    gateway: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    elsewhere: tuple[Elsewhere, ...] = ()

    def mapped(self, outputs: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Return logical id and properties of the function that the one mapping invokes."""
        (mapping,) = self.mappings.values()
        return self.function_of(str(resolve(mapping["FunctionName"], outputs)))

    def function_of(self, named: str) -> tuple[str, dict[str, Any]]:
        """Return logical id and properties of the function that *named* means: its name, or an ARN or URI with it.

        Raises:
            ConfigError: it is no function of the template.
        """
        parts = re.split(r"[:/]", named)
        for logical_id, properties in self.functions.items():
            if function_name(logical_id) in parts:
                return logical_id, properties
        raise ConfigError(f"{named} is no function of the template; it has: {', '.join(self.functions)}")


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
        ConfigError: the translator refuses it, or what the emulator is to create needs what exists only on AWS.
    """
    rest = translate(path)
    resources = rest["Resources"]
    kept: dict[str, dict[str, dict[str, Any]]] = {_STREAM: {}, _FUNCTION: {}, _MAPPING: {}}
    if keep_tables:
        kept[_TABLE] = {}
    names: dict[str, dict[str, str]] = {}
    gateway: dict[str, dict[str, Any]] = {}
    changes: dict[str, dict[str, Any]] = {}
    elsewhere: list[Elsewhere] = []
    for logical_id, resource in list(resources.items()):
        kind = resource["Type"]
        if why := why_only_on_aws(resource):
            elsewhere.append(Elsewhere(logical_id, kind, why))
        elif kind == _MAPPING and _is_of_table(resource):
            changes[logical_id] = _with_condition(resource)
        elif kind in kept:
            kept[kind][logical_id] = _takes_what_comes(resource["Properties"])
        elif kind in _GATEWAY:
            name = logical_id if kind.endswith("::Stage") else _gateway_name(logical_id, resource)
            gateway[name] = _with_condition(resource)
        else:
            continue
        names[logical_id] = _name_of(logical_id, resource)
        del resources[logical_id]
    outputs: dict[str, Any] = {}
    marked = {
        kind: {name: _mark(_without_ours(each, names), outputs) for name, each in group.items()}
        for kind, group in kept.items()
    }
    served, told_changes = (
        {name: _mark(_without_ours(each, names), outputs) for name, each in group.items()}
        for group in (gateway, changes)
    )
    cloudformation: dict[str, Any] = {
        **{key: rest[key] for key in ("Parameters", "Conditions") if key in rest},
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": _without_ours(resources, names),
        "Outputs": {name: {"Value": value} for name, value in outputs.items()}
        | _without_ours(_of_here(rest.get("Outputs", {})), names),
    }
    _check_whole(cloudformation, names)
    return LocalTemplate(
        cloudformation,
        marked[_STREAM],
        marked[_FUNCTION],
        marked[_MAPPING],
        marked.get(_TABLE, {}),
        served,
        told_changes,
        tuple(elsewhere),
    )


def told(elsewhere: Iterable[Elsewhere]) -> str:
    """Return a line for a person: which resources, and why."""
    groups: dict[str, list[str]] = {}
    for each in elsewhere:
        groups.setdefault(each.why, []).append(each.logical_id)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in groups.items()) or "nothing"


def _of_here(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the *outputs* that there may be on this machine."""
    return {name: each for name, each in outputs.items() if each.get("Condition") not in CONDITIONS}


def _takes_what_comes(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return *properties* without a capacity that a parameter decides: no engine here keeps to it, and it is no text."""
    if not isinstance(properties.get("BillingMode"), dict):
        return dict(properties)
    rest = {key: each for key, each in properties.items() if key != "ProvisionedThroughput"}
    return rest | {"BillingMode": "PAY_PER_REQUEST"}


def _name_of(logical_id: str, resource: Mapping[str, Any]) -> dict[str, str]:
    """Return what Ref (under "") and the attributes are of a resource that the emulator does not create."""
    kind, name = resource["Type"], f"{STACK_NAME}-{logical_id}"
    if kind == _STREAM:
        return {"": stream_name(logical_id), "Arn": stream_arn(logical_id)}
    if kind in _GATEWAY:
        name = _gateway_name(logical_id, resource)
        scheme = "wss" if resource["Properties"].get("ProtocolType") == "WEBSOCKET" else "https"
        endpoint = f"{scheme}://{name}.execute-api.{REGION}.amazonaws.com"
        return {"": name, "ApiId": name, "ApiEndpoint": endpoint} if kind.endswith("::Api") else {"": name}
    if kind == _MAPPING:
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    if kind == "AWS::Lambda::Alias":  # whose Ref is its ARN
        function = function_name(resource["Properties"]["FunctionName"]["Ref"])
        arn = _arn("lambda", f"function:{function}:{resource['Properties']['Name']}")
        return {"": arn, "Arn": arn}
    form = _ARNS.get(kind)
    arn = _arn(*form).format(name) if form else name
    # Its label is the engine's to say: whoever reads the stream asks for it.
    return {"": name, "Arn": arn} | ({"StreamArn": f"{arn}/stream/local"} if kind == _TABLE else {})


def _is_of_table(mapping: Mapping[str, Any]) -> bool:
    """Tell whether a *mapping* reads a table's stream."""
    source = mapping["Properties"].get("EventSourceArn")
    if isinstance(source, dict):
        target = source.get("Fn::GetAtt", "")
        return (target.split(".") if isinstance(target, str) else target)[-1] == "StreamArn"
    return isinstance(source, str) and source.split(":")[2:3] == ["dynamodb"]


def _gateway_name(logical_id: str, resource: Mapping[str, Any]) -> str:
    """Return what Ref of a resource of API Gateway is here: an API's id has ten letters and digits, as on AWS."""
    kind, stage = resource["Type"], resource["Properties"].get("StageName")
    if kind.endswith("::Stage") and isinstance(stage, str):
        return stage
    name = f"{STACK_NAME}-{logical_id}"
    return uuid.uuid5(uuid.NAMESPACE_URL, name).hex[:10] if kind.endswith("::Api") else name


def _with_condition(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return type and properties of *resource*, and an expression that says whether it exists."""
    condition = resource.get("Condition")
    exists = {"Fn::If": [condition, "true", "false"]} if condition else "true"
    return {"Type": resource["Type"], "Properties": resource["Properties"], "Exists": exists}


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _check_whole(cloudformation: Mapping[str, Any], names: Names) -> None:
    """Refuse a reference to what the emulator does not create, where we know no value for it."""
    wanted = _references([cloudformation["Resources"], cloudformation["Outputs"]])
    problems = [
        f"the template asks {name} for what is not known of it on this machine"
        for name in names
        if name in wanted
    ]
    if problems:
        raise ConfigError(*problems)


def _references(value: Any) -> set[str]:
    """Return what *value* refers to."""
    if isinstance(value, dict):
        found = set().union(*map(_references, value.values()))
        if value.keys() == {"Ref"}:
            found.add(value["Ref"])
        if value.keys() == {"Fn::GetAtt"}:
            target = value["Fn::GetAtt"]
            found.add(target.split(".")[0] if isinstance(target, str) else target[0])
        return found
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return set(re.findall(r"\$\{(\w+)", value)) if isinstance(value, str) else set()


def resolve(value: Any, outputs: Mapping[str, str]) -> Any:
    """Return *value* with each mark replaced by what the emulator's stack gives out."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::Output"}:
            return outputs[value["Fn::Output"]]
        if value.keys() == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return resolve(then if resolve(condition, outputs) == "true" else otherwise, outputs)
        if value.keys() == {"Fn::Split"}:
            separator, text = value["Fn::Split"]
            return str(resolve(text, outputs)).split(separator)
        resolved = {key: resolve(each, outputs) for key, each in value.items()}
        return {key: each for key, each in resolved.items() if each != _ABSENT}
    if isinstance(value, list):
        return [each for each in (resolve(each, outputs) for each in value) if each != _ABSENT]
    return value


def _without_ours(value: Any, names: Names) -> Any:
    """Replace references to what we keep by its name, ARN or another attribute, which we choose."""
    if isinstance(value, dict):
        if value.keys() == {"Ref"} and value["Ref"] in names:
            return names[value["Ref"]][""]
        if value.keys() == {"Fn::GetAtt"}:
            target = value["Fn::GetAtt"]
            logical_id, attribute = target.split(".", 1) if isinstance(target, str) else target
            if attribute in names.get(logical_id, {}):
                return names[logical_id][attribute]
        return {
            key: _without_ours(each, names) for key, each in value.items() if key != "DependsOn"
        } | _depends_on(value, names)
    if isinstance(value, list):
        return [_without_ours(each, names) for each in value]
    if isinstance(value, str) and "${" in value:
        for logical_id, known in names.items():
            for attribute, text in known.items():
                value = value.replace(f"${{{logical_id}{'.' if attribute else ''}{attribute}}}", text)
    return value


def _depends_on(resource: Mapping[str, Any], names: Names) -> dict[str, list[str]]:
    """Return what *resource* is to wait for, of what the emulator creates."""
    wanted = resource.get("DependsOn", [])
    left = [each for each in ([wanted] if isinstance(wanted, str) else wanted) if each not in names]
    return {"DependsOn": left} if left else {}


def _mark(value: Any, outputs: dict[str, Any]) -> Any:
    """Replace each expression in *value* by a mark, and put the expression into *outputs* under the mark's name."""
    if isinstance(value, dict):
        key = next(iter(value), "")
        if _is_structured(value) and key == "Fn::If":
            condition, *branches = value[key]
            exists = _mark({key: [condition, "true", "false"]}, outputs)
            return {key: [exists, *(_mark(each, outputs) for each in branches)]}
        if key == "Fn::Split":
            return {key: [value[key][0], _mark(value[key][1], outputs)]}
        if _is_expression(value):
            value = _spelled_out(value)
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


def _is_expression(value: Any) -> bool:
    key = next(iter(value), "") if isinstance(value, dict) and len(value) == 1 else ""
    return key == "Ref" or key.startswith("Fn::")


def _is_structured(value: Any) -> bool:
    """Tell whether *value* comes to a list or an object: an output is a text, so we choose and split ourselves."""
    if not _is_expression(value):
        return isinstance(value, dict | list)
    return "Fn::Split" in value or any(map(_is_structured, value.get("Fn::If", ())[1:]))


def _spelled_out(value: Any) -> Any:
    """Return an expression whose values are texts, an absent one too: an output is a text."""
    if isinstance(value, dict):
        if value == {"Ref": _ABSENT}:
            return _ABSENT
        return {key: _spelled_out(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_spelled_out(each) for each in value]
    return json.dumps(value) if isinstance(value, bool) else value
