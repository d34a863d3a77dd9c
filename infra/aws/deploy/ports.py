"""What deploying needs of CloudFormation: values, and three small ports. boto3's adapter is deploy_cloudformation.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from streamgage.errors import StreamgageError


class DeployError(StreamgageError):
    """CloudFormation did not do what was asked; the message names the cause, and what a person can do."""

    code = "deploy_failed"


@dataclass(frozen=True, slots=True)
class StackState:
    """A stack as CloudFormation has it. ``parameters`` are those it was last deployed with.

    ``last_event`` is the id of its newest event; ``protected`` is its termination protection.
    """

    name: str
    stack_id: str
    status: str
    reason: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    protected: bool = False
    last_event: str | None = None


@dataclass(frozen=True, slots=True)
class StackEvent:
    """One event of a stack, or of one of its resources. ``at_ms`` is ms since the epoch."""

    event_id: str
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class StackResource:
    """One resource of a stack. ``policy`` is its DeletionPolicy.

    ``passing``: it goes with the stack, and its template says why nobody misses what is in it (an accepted SG022).
    """

    logical_id: str
    physical_id: str
    type: str
    status: str
    policy: str = "Delete"
    passing: bool = False

    @property
    def stays(self) -> bool:
        """Whether it outlives its stack."""
        return self.policy in ("Retain", "RetainExceptOnCreate")


@dataclass(frozen=True, slots=True)
class ChangeSetRequest:
    """What to ask of CloudFormation: exactly one of ``body`` and ``url`` is the template."""

    stack: str
    kind: Literal["CREATE", "UPDATE"]
    name: str
    parameters: Mapping[str, str]
    body: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set, or what became of the wish for one. ``changes`` are as the API has them: see changes.py."""

    change_set_id: str
    stack_id: str
    status: str
    reason: str
    changes: Sequence[Mapping[str, Any]] = ()


class ChangeSets(Protocol):
    """Change sets of any stack. Calls raise ConfigError for what a person must change, RetryableError for what may pass."""

    def create(self, request: ChangeSetRequest) -> str:
        """Ask for one, and return its id at once; CloudFormation works it out meanwhile."""

    def read(self, change_set_id: str) -> ChangeSet:
        """Return it, with all its changes."""

    def delete(self, change_set_id: str) -> None:
        """Delete it; one that is gone is deleted."""


class Stacks(Protocol):
    """What stacks there are, and what happens to them."""

    def read(self, stack: str) -> StackState | None:
        """Return the stack with this name or id, or None where there is none (any more, under a name)."""

    def events(self, stack: str, *, after: str | None) -> Sequence[StackEvent]:
        """Return the events after the one with id *after*, the oldest first; all of them where it is None."""

    def resources(self, stack: str) -> Sequence[StackResource]:
        """Return what the stack consists of, or consisted of where *stack* is the id of a deleted one."""


class Work(Protocol):
    """What changes an account. Each call only begins it."""

    def execute(self, change_set_id: str) -> None:
        """Let CloudFormation do what the change set says."""

    def delete_stack(self, stack: str) -> None:
        """Let CloudFormation delete the stack with this name or id."""


class Say(Protocol):
    """Where progress goes."""

    def __call__(self, text: str, style: str = "") -> None:
        """Show a line to the person at the terminal."""
