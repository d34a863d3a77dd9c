"""Deploy: ask CloudFormation for a change set, show it, and execute it; or show it only.

Everything that changes the account goes through a change set, so that what was confirmed is what is done.
Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html and
using-cfn-describing-stacks.html for the states of a stack (checked 2026-11-21).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from infra.aws.deploy.changes import (
    Line,
    ParameterChange,
    ResourceChange,
    compare_parameters,
    dangers,
    lane_dangers,
    read_changes,
    render,
)
from infra.aws.deploy.follow import Outcome, failure, follow, how_to_look
from infra.aws.deploy.ports import (
    ChangeSet,
    ChangeSetRequest,
    ChangeSets,
    DeployError,
    Say,
    Stacks,
    StackState,
    Work,
)
from producers.clock import Clock
from streamgage.errors import ConfigError, RetryableError

_CHANGE_SET_S = 300
_POLL_MS = 2_000
# What CloudFormation says of a change set that changes nothing; the second where a transform is involved.
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")

# In these a stack takes no change set; what a person does instead.
_REFUSED = {
    "CREATE_FAILED": "nothing was rolled back. Delete it: streamgage destroy --stack {name}",
    "ROLLBACK_FAILED": "its creation failed, and could not be undone. Delete it: streamgage destroy --stack {name}",
    "DELETE_FAILED": "it was being deleted. Delete it: streamgage destroy --stack {name}",
    "UPDATE_ROLLBACK_FAILED": "the last update failed, and could not be undone. Mend what its events name, then: "
    "aws cloudformation continue-update-rollback --stack-name {name}",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to stand: exactly one of ``body`` and ``url`` is the template; ``change_set`` is a name for the change."""

    stack: str
    change_set: str
    parameters: Mapping[str, str]
    body: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment would do. ``last_event`` is the stack's newest event before it."""

    stack: str
    stack_id: str
    change_set_id: str
    kind: Literal["CREATE", "UPDATE"]
    changes: tuple[ResourceChange, ...]
    parameters: tuple[ParameterChange, ...]
    empty: bool
    last_event: str | None

    @property
    def dangers(self) -> list[str]:
        """A sentence for each change that costs data, or lets it count twice."""
        return dangers(self.changes) + (lane_dangers(self.parameters) if self.kind == "UPDATE" else [])

    def lines(self) -> list[Line]:
        """Return the diff."""
        if self.empty:
            return [Line(f"stack {self.stack}: no changes")]
        what = "would be created" if self.kind == "CREATE" else "would change"
        return [Line(f"stack {self.stack} {what}", "bold"), *render(self.changes, self.parameters)]


class Deployment:
    """One run of `deploy` or `diff`, over the ports of CloudFormation."""

    def __init__(
        self, *, change_sets: ChangeSets, stacks: Stacks, work: Work, clock: Clock, say: Say
    ) -> None:
        self._change_sets, self._stacks, self._work = change_sets, stacks, work
        self._clock, self._say = clock, say
        self._executed: set[str] = set()

    @contextmanager
    def plan(self, wanted: Wanted, *, clear_failed: bool = False) -> Iterator[Plan]:
        """Give the plan for *wanted*. Where it was not executed in the block, nothing of it is left.

        *clear_failed*: a stack whose creation failed and was rolled back is deleted first; it holds nothing.

        Raises:
            ConfigError: the stack's state, or CloudFormation, refuses it.
            RetryableError: no change set within five minutes.
        """
        before = self._ready(wanted.stack, clear_failed=clear_failed)
        is_new = before is None or before.status == "REVIEW_IN_PROGRESS"
        kind: Literal["CREATE", "UPDATE"] = "CREATE" if is_new else "UPDATE"
        request = ChangeSetRequest(
            wanted.stack, kind, wanted.change_set, wanted.parameters, wanted.body, wanted.url
        )
        change_set_id = None
        try:
            change_set_id = self._change_sets.create(request)
            made = self._await(change_set_id)
            empty = not is_new and _is_empty(made)
            if made.status == "FAILED" and not empty:
                raise ConfigError(f"CloudFormation refuses the change of stack {wanted.stack}: {made.reason}")
            known = {} if before is None or is_new else before.parameters
            yield Plan(
                stack=wanted.stack,
                stack_id=made.stack_id,
                change_set_id=change_set_id,
                kind=kind,
                changes=read_changes(made.changes),
                parameters=compare_parameters(known, wanted.parameters),
                empty=empty,
                last_event=self._last_event(made.stack_id),
            )
        finally:
            self._discard(wanted.stack, change_set_id, ours=before is None)

    def execute(self, plan: Plan, *, allow_replacement: bool) -> Outcome:
        """Let CloudFormation do what *plan* says, and follow it to the end.

        Raises:
            ConfigError: it would cost data, and *allow_replacement* is not set. Nothing was done.
            DeployError: it failed; the message names the root cause.
            RetryableError: it is not done within an hour; CloudFormation goes on.
        """
        if plan.dangers and not allow_replacement:
            raise ConfigError(
                *plan.dangers,
                "refused: data would be lost, left behind, or counted twice. If that is meant: --allow-replacement",
            )
        self._executed.add(
            plan.change_set_id
        )  # before it: a request whose answer is lost may have been heard
        self._work.execute(plan.change_set_id)
        outcome = follow(
            self._stacks,
            plan.stack_id,
            stack_name=plan.stack,
            after=plan.last_event,
            clock=self._clock,
            say=self._say,
        )
        if not outcome.succeeded:
            raise failure(outcome, plan.stack)
        return outcome

    def _ready(self, name: str, *, clear_failed: bool) -> StackState | None:
        stack = self._stacks.read(name)
        if stack is None or stack.status == "REVIEW_IN_PROGRESS":
            return stack
        if stack.status.endswith("IN_PROGRESS"):
            raise ConfigError(
                f"stack {name} is {stack.status}: someone is at work on it. {how_to_look(name)}"
            )
        if stack.status in _REFUSED:
            raise ConfigError(f"stack {name} is {stack.status}: {_REFUSED[stack.status].format(name=name)}")
        if stack.status != "ROLLBACK_COMPLETE":
            return stack
        left = [e for e in self._stacks.events(stack.stack_id, after=None) if e.status == "DELETE_SKIPPED"]
        what = ", ".join(f"{each.logical_id} ({each.physical_id})" for each in left)
        stays = (
            f" It leaves behind, empty: {what}; to delete that too, instead: streamgage destroy --stack {name} "
            f"--delete-data {name}"
            if what
            else ""
        )
        if not clear_failed:
            raise ConfigError(
                f"stack {name} is ROLLBACK_COMPLETE: its creation failed and was undone. Deploy with --yes: that deletes "
                f"the empty stack first.{stays}"
            )
        self._say(f"deleting what is left of the creation that failed.{stays}")
        self.delete(stack)
        return None

    def delete(self, stack: StackState) -> Outcome:
        """Delete *stack*, and follow it to the end. Raises: as ``execute`` does."""
        self._work.delete_stack(stack.stack_id)
        outcome = follow(
            self._stacks,
            stack.stack_id,
            stack_name=stack.name,
            after=stack.last_event,
            clock=self._clock,
            say=self._say,
        )
        if not outcome.succeeded:
            raise failure(outcome, stack.name)
        return outcome

    def _await(self, change_set_id: str) -> ChangeSet:
        deadline_ms = self._clock.now_ms() + _CHANGE_SET_S * 1000
        self._say("waiting for CloudFormation's change set")
        while True:
            made = self._change_sets.read(change_set_id)
            if made.status in ("CREATE_COMPLETE", "FAILED"):
                return made
            if made.status.startswith("DELETE"):
                raise DeployError(f"change set {change_set_id} was deleted by someone else ({made.status})")
            if self._clock.now_ms() > deadline_ms:
                raise RetryableError(
                    f"no change set within {_CHANGE_SET_S} s (it is {made.status}); try again"
                )
            self._clock.sleep_ms(_POLL_MS)

    def _last_event(self, stack_id: str) -> str | None:
        stack = self._stacks.read(stack_id)
        return stack.last_event if stack else None

    def _discard(self, name: str, change_set_id: str | None, *, ours: bool) -> None:
        """Delete what was not executed; with it the empty stack that CloudFormation made for it."""
        if change_set_id in self._executed:
            return
        if change_set_id is not None:
            self._change_sets.delete(change_set_id)
        stack = self._stacks.read(name) if ours else None
        if stack is not None and stack.status == "REVIEW_IN_PROGRESS":
            self._work.delete_stack(stack.stack_id)


def _is_empty(made: ChangeSet) -> bool:
    """Tell whether nothing differs. A change of outputs alone is one, though it lists no resource."""
    return made.status == "FAILED" and any(words in made.reason for words in _NO_CHANGES)
