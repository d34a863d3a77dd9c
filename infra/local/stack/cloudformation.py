"""The part of the template that the emulator's CloudFormation creates."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from infra.local.stack.children import wait_until
from infra.local.stack.template import STACK_NAME, LocalTemplate
from streamgage.errors import ConfigError

_START_S = 30


def _body(template: LocalTemplate) -> str:
    """Return the template as a request takes it, 51,200 bytes at most: without what is for a person to read."""
    short = {
        part: {
            name: {key: value for key, value in each.items() if key != "Description"}
            for name, each in template.cloudformation.get(part, {}).items()
        }
        for part in ("Parameters", "Outputs")
    }
    resources = {
        name: {**each, "Properties": _without_words(each.get("Properties", {}))}
        for name, each in template.cloudformation["Resources"].items()
    }
    return json.dumps({**template.cloudformation, **short, "Resources": resources}, separators=(",", ":"))


def _without_words(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in properties.items() if key != "AlarmDescription"}


def create_resources(client: Any, template: LocalTemplate, parameters: Mapping[str, str]) -> dict[str, str]:
    """Create or update the stack in the emulator's CloudFormation; return its outputs."""
    known = template.cloudformation.get("Parameters", {})
    wrong = [
        f"the template has no parameter {name!r}; it has: {', '.join(known)}"
        for name in parameters
        if name not in known
    ]
    if wrong:
        raise ConfigError(*wrong)
    arguments = {
        "StackName": STACK_NAME,
        "TemplateBody": _body(template),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM"],
    }
    try:
        client.create_stack(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AlreadyExistsException":
            raise ConfigError(f"CloudFormation refuses the template: {error}") from error
        try:
            client.update_stack(**arguments)
        except ClientError as refused:
            if "No updates" not in str(refused):
                raise ConfigError(f"CloudFormation refuses the template: {refused}") from refused

    stack: dict[str, Any] = {}

    def settled() -> bool:
        stack.update(client.describe_stacks(StackName=STACK_NAME)["Stacks"][0])
        return not stack["StackStatus"].endswith("IN_PROGRESS")

    wait_until(settled, seconds=_START_S, what="CloudFormation")
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise ConfigError(
            f"CloudFormation: {stack['StackStatus']}: {stack.get('StackStatusReason', 'no reason given')}"
        )
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
