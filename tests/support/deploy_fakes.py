"""A small CloudFormation, for the ports of deploying: each operation is a script of events, played a few a poll."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from infra.aws.deploy.ports import ChangeSet, ChangeSetRequest, StackEvent, StackResource, StackState

STACK_TYPE = "AWS::CloudFormation::Stack"


@dataclass
class FakeClock:
    time_ms: int = 0

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


@dataclass
class Told:
    """What the person saw."""

    lines: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)

    def __call__(self, text: str, style: str = "") -> None:
        self.lines.append(text)
        self.styles.append(style)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Step:
    """One event of a script: (logical id, status, reason) after *ms*."""

    logical_id: str
    status: str
    reason: str = ""
    ms: int = 1_000
    type: str = "AWS::SQS::Queue"


@dataclass
class FakeCloudFormation:
    """One stack's life. *scripts* are consumed one an operation; *made* is what a change set becomes."""

    name: str = "plant"
    stack: StackState | None = None
    scripts: list[list[Step]] = field(default_factory=list)
    made: Callable[[str], ChangeSet] = lambda id_: ChangeSet(id_, "arn:plant", "CREATE_COMPLETE", "", ())
    pending_reads: int = 2
    left: list[StackResource] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    requests: list[ChangeSetRequest] = field(default_factory=list)
    all_events: list[StackEvent] = field(default_factory=list)
    playing: list[Step] = field(default_factory=list)
    time_ms: int = 0
    interrupt: bool = False

    @property
    def change_sets(self) -> "FakeChangeSets":
        return FakeChangeSets(self)

    # Stacks
    def read(self, stack: str) -> StackState | None:
        if self.stack is None or stack not in (self.stack.name, self.stack.stack_id):
            return None
        last = self.all_events[-1].event_id if self.all_events else None
        return replace(self.stack, last_event=last)

    def events(self, stack: str, *, after: str | None) -> Sequence[StackEvent]:
        assert stack in (self.name, "arn:plant")
        if self.interrupt and self.playing:
            raise KeyboardInterrupt
        for step in self.playing[:2]:
            self.play(step)
        del self.playing[:2]
        ids = [each.event_id for each in self.all_events]
        return self.all_events[ids.index(after) + 1 if after in ids else 0 :]

    def resources(self, stack: str) -> Sequence[StackResource]:
        assert stack in (self.name, "arn:plant")
        return self.left

    # Work
    def execute(self, change_set_id: str) -> None:
        self.log.append(f"execute {change_set_id}")
        self.playing = list(self.scripts.pop(0))

    def delete_stack(self, stack: str) -> None:
        self.log.append(f"delete {stack}")
        assert self.stack is not None
        if self.stack.status == "REVIEW_IN_PROGRESS":
            self.stack = None
        else:
            self.playing = list(self.scripts.pop(0))

    def play(self, step: Step) -> None:
        self.time_ms += step.ms
        own = step.logical_id == self.name
        self.all_events.append(
            StackEvent(
                f"e{len(self.all_events)}",
                step.logical_id,
                "arn:plant" if own else f"physical-{step.logical_id}",
                STACK_TYPE if own else step.type,
                step.status,
                step.reason,
                self.time_ms,
            )
        )
        if own:
            gone = step.status == "DELETE_COMPLETE"
            self.stack = None if gone else StackState(self.name, "arn:plant", step.status, step.reason)


class FakeChangeSets:
    def __init__(self, owner: FakeCloudFormation) -> None:
        self.owner, self.reads = owner, 0

    def create(self, request: ChangeSetRequest) -> str:
        self.owner.requests.append(request)
        self.owner.log.append(f"create {request.kind}")
        if self.owner.stack is None:
            self.owner.play(Step(self.owner.name, "REVIEW_IN_PROGRESS"))
        return "cs1"

    def read(self, change_set_id: str) -> ChangeSet:
        self.reads += 1
        if self.reads <= self.owner.pending_reads:
            return ChangeSet(change_set_id, "arn:plant", "CREATE_IN_PROGRESS", "")
        return self.owner.made(change_set_id)

    def delete(self, change_set_id: str) -> None:
        self.owner.log.append(f"discard {change_set_id}")


def change(
    logical_id: str, action: str = "Modify", kind: str = "AWS::SQS::Queue", **more: Any
) -> dict[str, Any]:
    """One change, as DescribeChangeSet has it."""
    return {
        "Type": "Resource",
        "ResourceChange": {
            "Action": action,
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": f"physical-{logical_id}",
            "ResourceType": kind,
            **more,
        },
    }
