"""CloudFormation by boto3: the adapter of the three ports of deploy_ports.py."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.deploy.ports import (
    ChangeSet,
    ChangeSetRequest,
    StackEvent,
    StackResource,
    StackState,
)
from infra.aws.stacks import aws_errors, is_absent

# The template makes roles (without names of their own), and the SAM transform is a macro.
CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")


class BotoChangeSets:
    """Change sets. *client* is a boto3 CloudFormation client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def create(self, request: ChangeSetRequest) -> str:
        """Ask for a change set; see ChangeSets."""
        template = {"TemplateBody": request.body} if request.url is None else {"TemplateURL": request.url}
        with aws_errors(f"change set of stack {request.stack}"):
            answer = self._client.create_change_set(
                StackName=request.stack,
                ChangeSetName=request.name,
                ChangeSetType=request.kind,
                Capabilities=list(CAPABILITIES),
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in request.parameters.items()
                ],
                **template,
            )
        return str(answer["Id"])

    def read(self, change_set_id: str) -> ChangeSet:
        """Return the change set, every page of it; see ChangeSets."""
        changes: list[Mapping[str, Any]] = []
        with aws_errors("change set"):
            pages = self._client.get_paginator("describe_change_set").paginate(
                ChangeSetName=change_set_id, IncludePropertyValues=True
            )
            for page in pages:
                changes += page.get("Changes", ())
        return ChangeSet(
            change_set_id, page["StackId"], page["Status"], page.get("StatusReason", ""), changes
        )

    def delete(self, change_set_id: str) -> None:
        """Delete the change set; see ChangeSets."""
        with (
            aws_errors("deletion of the change set"),
            suppress(self._client.exceptions.ChangeSetNotFoundException),
        ):
            self._client.delete_change_set(ChangeSetName=change_set_id)


class BotoStacks:
    """Stacks, and work on them. *client* is a boto3 CloudFormation client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, stack: str) -> StackState | None:
        """Return the stack with this name or id; see Stacks."""
        with aws_errors(f"stack {stack}"):
            try:
                (found,) = self._client.describe_stacks(StackName=stack)["Stacks"]
                events = self._client.describe_stack_events(StackName=found["StackId"])["StackEvents"]
            except ClientError as error:
                if is_absent(error):
                    return None
                raise
        if found["StackStatus"] == "DELETE_COMPLETE":  # described by its id, for 90 days
            return None
        return _state(found, last_event=events[0]["EventId"] if events else None)

    def all(self) -> Iterator[StackState]:
        """Yield every stack of the account and region, without its events. Asked for as it is read."""
        with aws_errors("stacks of the region"):
            for page in self._client.get_paginator("describe_stacks").paginate():
                yield from (_state(each, last_event=None) for each in page["Stacks"])

    def events(self, stack: str, *, after: str | None) -> list[StackEvent]:
        """Return the events after *after*, the oldest first; see Stacks."""
        found: list[StackEvent] = []
        with aws_errors(f"events of stack {stack}"):
            for page in self._client.get_paginator("describe_stack_events").paginate(StackName=stack):
                for raw in page["StackEvents"]:  # the newest first
                    if raw["EventId"] == after:
                        return found[::-1]
                    found.append(_event(raw))
        return found[::-1]

    def resources(self, stack: str) -> list[StackResource]:
        """Return what the stack consists of, with what its template says of the end of each; see Stacks."""
        with aws_errors(f"resources of stack {stack}"):
            pages = self._client.get_paginator("list_stack_resources").paginate(StackName=stack)
            found = [each for page in pages for each in page["StackResourceSummaries"]]
            template = self._resources_of(stack)
        return [
            StackResource(
                each["LogicalResourceId"],
                each.get("PhysicalResourceId", ""),
                each["ResourceType"],
                each["ResourceStatus"],
                **_end_of(template.get(each["LogicalResourceId"], {})),
            )
            for each in found
        ]

    def execute(self, change_set_id: str) -> None:
        """Begin what the change set says; see Work."""
        with aws_errors("execution of the change set"):
            self._client.execute_change_set(ChangeSetName=change_set_id)

    def delete_stack(self, stack: str) -> None:
        """Begin to delete the stack; see Work."""
        with aws_errors(f"deletion of stack {stack}"):
            self._client.delete_stack(StackName=stack)

    def newest_deleted(self, name: str) -> str | None:
        """Return the id of the stack *name* that was deleted last, in the 90 days that CloudFormation remembers."""
        with aws_errors(f"deleted stacks named {name}"):
            pages = self._client.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
            found = [each for page in pages for each in page["StackSummaries"] if each["StackName"] == name]
        newest = max(found, key=lambda each: each.get("DeletionTime", each["CreationTime"]), default=None)
        return None if newest is None else str(newest["StackId"])

    def _resources_of(self, stack: str) -> Mapping[str, Mapping[str, Any]]:
        template = self._client.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
        if isinstance(template, str):  # YAML; what we deploy is JSON, which boto3 parses
            from samtranslator.yaml_helper import yaml_parse  # noqa: PLC0415 - of the extra `local`

            template = yaml_parse(template)
        resources: Mapping[str, Mapping[str, Any]] = template.get("Resources", {})
        return resources


def _end_of(resource: Mapping[str, Any]) -> dict[str, Any]:
    policy = resource.get("DeletionPolicy", "Delete")
    accepted = resource.get("Metadata", {}).get("streamgage", {}).get("accept", {})
    return {"policy": policy, "passing": policy == "Delete" and "SG022" in accepted}


def _state(found: Mapping[str, Any], *, last_event: str | None) -> StackState:
    return StackState(
        name=found["StackName"],
        stack_id=found["StackId"],
        status=found["StackStatus"],
        reason=found.get("StackStatusReason", ""),
        parameters=_pairs(found.get("Parameters", ()), "Parameter"),
        outputs=_pairs(found.get("Outputs", ()), "Output"),
        protected=bool(found.get("EnableTerminationProtection")),
        last_event=last_event,
    )


def _event(raw: Mapping[str, Any]) -> StackEvent:
    return StackEvent(
        event_id=raw["EventId"],
        logical_id=raw.get("LogicalResourceId", ""),
        physical_id=raw.get("PhysicalResourceId", ""),
        type=raw.get("ResourceType", ""),
        status=raw.get("ResourceStatus", ""),
        reason=raw.get("ResourceStatusReason", ""),
        at_ms=round(raw["Timestamp"].timestamp() * 1000),
    )


def _pairs(items: Iterable[Mapping[str, str]], what: str) -> dict[str, str]:
    return {each[f"{what}Key"]: each.get(f"{what}Value", "") for each in items}
