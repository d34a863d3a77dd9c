"""The roles of a template, with the statements of their own policies."""

from collections.abc import Mapping
from typing import Any

from infra.template.lint.resolve import resolved
from streamgage.errors import ConfigError
from support.policies.names import arns_of, refs_of
from support.policies.statement import Statement, statements_of


def table_stream(table_arn: str) -> str:
    """Return the ARN of the stream of a table; its label is the time at which it was made."""
    return f"{table_arn}/stream/2026-01-01T00:00:00.000"


def roles_of(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, tuple[Statement, ...]]:
    """Return the statements of each role of *template* (translated) that exists under *parameters*.

    Raises:
        ConfigError: a role has a managed policy, whose statements are not here, or one that is not understood.
    """
    arns = arns_of(template)
    attributes = {f"{logical_id}.Arn": arn for logical_id, arn in arns.items()}
    attributes |= {f"{logical_id}.StreamArn": table_stream(arn) for logical_id, arn in arns.items()}
    resources = resolved(template, parameters=parameters, refs=refs_of(template), attributes=attributes)
    roles: dict[str, tuple[Statement, ...]] = {}
    for logical_id, resource in resources.items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        properties = resource["Properties"]
        if properties.get("ManagedPolicyArns"):
            raise ConfigError(f"{logical_id} has managed policies: what they allow is AWS's to change")
        documents = [each["PolicyDocument"] for each in properties.get("Policies", ())]
        roles[logical_id] = tuple(statements_of(documents))
    return roles
