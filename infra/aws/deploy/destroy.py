"""Destroy: delete a stack, and its data only where that was asked for by name.

The function, its mapping and the roles go with the stack. Streams, tables, buckets, queues and user pools stay (DeletionPolicy), until
they are deleted by name; only then their protection is taken off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from infra.aws.deploy.changes import DATA_TYPES
from infra.aws.deploy.deployment import Deployment
from infra.aws.deploy.ports import DeployError, Say, StackResource, Stacks, StackState
from streamgage.errors import ConfigError, StreamgageError

# Queues and failed batches before stream and table: what is cheapest to lose goes first, should this be interrupted.
_ORDER = (
    "AWS::SQS::Queue",
    "AWS::S3::Bucket",
    "AWS::Cognito::UserPool",
    "AWS::Kinesis::Stream",
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
)


class DataStores(Protocol):
    """Streams, tables, buckets, queues and user pools by their physical ids."""

    def release(self, resource: StackResource) -> None:
        """Let CloudFormation delete *resource*: take its deletion protection off, or empty it. Gone is done."""

    def delete(self, resource: StackResource) -> bool:
        """Delete *resource* and all its data; return False where it was gone."""


class DeletedStacks(Protocol):
    """Stacks that are no more."""

    def newest_deleted(self, name: str) -> str | None:
        """Return the id of the stack *name* that was deleted last; None where none is remembered."""


@dataclass(frozen=True, slots=True)
class Remains:
    """A stack to destroy. ``stack`` is None where it is gone, and only its data may be left."""

    name: str
    stack: StackState | None
    resources: Sequence[StackResource]

    @property
    def data(self) -> list[StackResource]:
        """What holds data, in the order in which it would be deleted."""
        found = [
            each
            for each in self.resources
            if each.type in DATA_TYPES
            and each.physical_id
            and each.status != "DELETE_COMPLETE"
            and not each.passing
        ]
        return sorted(found, key=lambda each: (_ORDER.index(each.type), each.logical_id))

    @property
    def endangered(self) -> list[StackResource]:
        """What holds data and would go with the stack."""
        return [] if self.stack is None else [each for each in self.data if not each.stays]


def survey(stacks: Stacks, deleted: DeletedStacks, name: str) -> Remains:
    """Return what there is of the stack *name*. Raises: ConfigError where there is nothing."""
    stack = stacks.read(name)
    if stack is not None:
        if stack.status.endswith("IN_PROGRESS") and stack.status != "REVIEW_IN_PROGRESS":
            raise ConfigError(f"stack {name} is {stack.status}: wait until it is done, then destroy it")
        if stack.protected:
            raise ConfigError(
                f"stack {name} has termination protection. Take it off first: aws cloudformation "
                f"update-termination-protection --no-enable-termination-protection --stack-name {name}"
            )
        if stack.status == "ROLLBACK_COMPLETE":  # nothing is in it, but what its roll-back had to keep
            return Remains(name, stack, left_behind(stacks, stack.stack_id))
        return Remains(name, stack, stacks.resources(stack.stack_id))
    gone = deleted.newest_deleted(name)
    if gone is None:
        raise ConfigError(f"there is no stack {name}, and none that was deleted in the last 90 days")
    return Remains(name, None, left_behind(stacks, gone))


def left_behind(stacks: Stacks, stack_id: str) -> list[StackResource]:
    """Return what was in the stack once and outlived it, or its place in it: events tell, for 90 days."""
    return [
        StackResource(each.logical_id, each.physical_id, each.type, each.status, "Retain")
        for each in {
            event.physical_id: event
            for event in stacks.events(stack_id, after=None)
            if event.status == "DELETE_SKIPPED"
        }.values()
    ]


def check(remains: Remains, *, delete_data: str | None) -> None:
    """Refuse what would delete data that was not named.

    Raises:
        ConfigError: *delete_data* is not the stack's name; or it is not given, and data would go with the stack.
    """
    name = remains.name
    if delete_data is not None:
        if delete_data != name:
            raise ConfigError(
                f"--delete-data {delete_data}: that is not the name of stack {name}. Nothing was deleted"
            )
        return
    if remains.stack is None:
        left = _told(remains.data)
        raise ConfigError(
            f"stack {name} is deleted already{f'; its data stayed: {left}' if left else ''}. "
            f"To delete the data: streamgage destroy --stack {name} --delete-data {name}"
        )
    if remains.endangered:
        raise ConfigError(
            f"data would go with stack {name}: {_told(remains.endangered)}. Deploy it with DeletionPolicy: Retain first, "
            f"or delete the data with it: --delete-data {name}"
        )


def destroy(
    remains: Remains, *, delete_data: bool, deployment: Deployment, stores: DataStores, say: Say
) -> None:
    """Delete the stack, then, where *delete_data*, what it leaves behind. Call ``check`` before.

    Begin again where it was interrupted: what is gone is done.

    Raises:
        DeployError: the stack, or some of its data, could not be deleted; the rest is.
    """
    data = remains.data
    if remains.stack is not None:
        for resource in remains.endangered if delete_data else ():
            say(f"taking the protection off {resource.logical_id}  {resource.physical_id}")
            stores.release(resource)
        deployment.delete(remains.stack)
    if not delete_data:
        for resource in data:
            say(
                f"stays     {DATA_TYPES[resource.type]:<6}  {resource.logical_id}  {resource.physical_id}",
                "cyan",
            )
        return
    failed = []
    for resource in data:
        try:
            was_there = stores.delete(resource)
        except StreamgageError as error:
            failed.append(f"{resource.logical_id} ({resource.physical_id}): {error}")
            continue
        what = f"{DATA_TYPES[resource.type]:<6}  {resource.logical_id}  {resource.physical_id}"
        say(f"deleted   {what}" if was_there else f"was gone  {what}", "green")
    if failed:
        raise DeployError("\n  ".join(("some data could not be deleted; the rest is:", *failed)))


def _told(resources: Sequence[StackResource]) -> str:
    return ", ".join(f"{each.logical_id} ({DATA_TYPES[each.type]} {each.physical_id})" for each in resources)
