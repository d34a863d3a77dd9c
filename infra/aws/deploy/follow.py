"""Follow what CloudFormation does to a stack until it is done: each resource once, and the root cause of a failure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.aws.deploy.ports import DeployError, Say, StackEvent, Stacks
from producers.clock import Clock
from streamgage.errors import RetryableError

FOLLOW_S = 3600  # a canary of a quarter of an hour, and a roll-back after it, are well within
_POLL_MS = 3_000
_HEARTBEAT_MS = 30_000

_GOOD = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_COMPLETE"})
_VERBS = {"CREATE": "created", "UPDATE": "updated", "DELETE": "deleted", "IMPORT": "imported"}
# "Resource creation cancelled", "Resource update cancelled": they fell with another, which is the cause.
_CANCELLED = "cancelled"

# What a person can do, by words of the reason.
_HINTS = (
    (
        ("not authorized", "accessdenied", "access denied", "is not authorized to perform"),
        "the credentials that deployed may not do this: let them, then deploy again",
    ),
    (
        ("already exists", "alreadyexists"),
        "something of that name stands outside this stack: delete or rename it, then deploy again",
    ),
    (
        ("limit exceeded", "limitexceeded", "quota", "exceeds account"),
        "a quota of the account is reached: ask for more (Service Quotas), or deploy with smaller parameters",
    ),
    (
        ("codedeploy", "in alarm", "alarm state", "rollback trigger", "deployment failed"),
        "an alarm stopped the new version: `streamgage status` and the function's log say why; the old version runs",
    ),
    (
        ("not empty", "deletionprotection", "deletion protection"),
        "data is protected from deletion: see `streamgage destroy --help`",
    ),
    (("throttl", "rate exceeded"), "AWS was asked too often: deploy again in a minute"),
)
_OTHERWISE = "mend what the cause names, then deploy again"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. ``events`` are all that were seen, the oldest first."""

    status: str
    reason: str
    events: Sequence[StackEvent]

    @property
    def succeeded(self) -> bool:
        """Whether the stack is as it was asked to be."""
        return self.status in _GOOD


@dataclass(slots=True)
class Progress:
    """Events in, lines out: one a resource and phase, when it is over, with how long it took."""

    stack_name: str
    working: dict[str, int] = field(default_factory=dict)  # logical id → since when

    def feed(self, event: StackEvent) -> tuple[str, str] | None:
        """Return a line and its style where *event* ends something, or begins a roll-back."""
        if is_own(event, self.stack_name):
            if event.status not in ("ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"):
                return None
            self.working.clear()
            return f"rolling back: {event.reason or 'no reason given'}", "bold red"
        verb, _, phase = event.status.partition("_")
        if phase == "IN_PROGRESS":  # twice, of some: begun, and "Resource creation Initiated"
            self.working.setdefault(event.logical_id, event.at_ms)
            return None
        since_ms = self.working.pop(event.logical_id, event.at_ms)
        return _line(event, verb, phase, max(event.at_ms - since_ms, 0) / 1000)


def follow(
    stacks: Stacks, stack_id: str, *, stack_name: str, after: str | None, clock: Clock, say: Say
) -> Outcome:
    """Say what happens to the stack after the event *after*, until it is done or nothing is left to wait for.

    Raises:
        RetryableError: not done within an hour; CloudFormation goes on.
    """
    progress, seen = Progress(stack_name), list[StackEvent]()
    started_ms = spoke_ms = clock.now_ms()
    while True:
        for event in stacks.events(stack_id, after=after):
            after = event.event_id
            seen.append(event)
            line = progress.feed(event)
            if line is not None:
                say(*line)
                spoke_ms = clock.now_ms()
            if is_end(event, stack_name):
                return Outcome(event.status, event.reason, seen)
        now_ms = clock.now_ms()
        if now_ms - started_ms > FOLLOW_S * 1000:
            raise RetryableError(
                f"stack {stack_name} is not done within {FOLLOW_S} s. {how_to_look(stack_name)}"
            )
        if now_ms - spoke_ms >= _HEARTBEAT_MS:
            spoke_ms = now_ms
            say(
                f"{(now_ms - started_ms) // 1000} s; in work: {', '.join(sorted(progress.working)) or 'the stack'}"
            )
        clock.sleep_ms(_POLL_MS)


def is_end(event: StackEvent, stack_name: str) -> bool:
    """Tell whether *event* is the stack's own and ends what was done to it."""
    return is_own(event, stack_name) and not event.status.endswith("IN_PROGRESS")


def is_own(event: StackEvent, stack_name: str) -> bool:
    """Tell whether *event* is of the stack itself, not of a resource of it."""
    return event.logical_id == stack_name and event.type == "AWS::CloudFormation::Stack"


def root_cause(outcome: Outcome, stack_name: str) -> StackEvent | None:
    """Return the first failure that did not fall with another; None where no resource failed."""
    failed = [
        each for each in outcome.events if each.status.endswith("_FAILED") and each.logical_id != stack_name
    ]
    own = (each for each in failed if _CANCELLED not in each.reason.lower())
    return next(own, failed[0] if failed else None)


def failure(outcome: Outcome, stack_name: str) -> DeployError:
    """Return the error that names the cause of *outcome*, what state the stack is in, and what to do."""
    lines = [f"stack {stack_name}: {outcome.status}: {_state(outcome.status, stack_name)}"]
    cause = root_cause(outcome, stack_name)
    reason = cause.reason if cause else outcome.reason
    if cause is not None:
        lines.append(
            f"  cause: {cause.logical_id} ({cause.type}) {cause.status}: {reason or 'no reason given'}"
        )
        others = {
            each.logical_id
            for each in outcome.events
            if each.status.endswith("_FAILED")
            and each.logical_id != cause.logical_id
            and not is_own(each, stack_name)
        }
        if others:
            lines.append(f"  fell with it, or after it: {', '.join(sorted(others))}")
    else:
        lines.append(f"  cause: {reason or 'CloudFormation names none'}")
    lines.append(f"  do: {_hint(reason)}")
    return DeployError("\n".join(lines))


def how_to_look(stack_name: str) -> str:
    """Say that CloudFormation goes on by itself, and how to look at it."""
    return (
        f"CloudFormation goes on by itself. Look: aws cloudformation describe-stack-events --stack-name {stack_name} "
        f"--max-items 20, or: streamgage status --target aws --stack {stack_name} (each with --region, where you gave one)"
    )


def _line(event: StackEvent, verb: str, phase: str, took_s: float) -> tuple[str, str] | None:
    what = f"{event.logical_id}  {event.type}"
    if phase == "COMPLETE":
        return f"{_VERBS.get(verb, verb.lower()):<8}  {what}  {took_s:.0f} s", "green"
    if phase == "SKIPPED":
        return f"{'kept':<8}  {what}  {event.physical_id}", "cyan"
    if phase.endswith("FAILED"):
        style = "" if _CANCELLED in event.reason.lower() else "bold red"
        return f"{'failed':<8}  {what}  {took_s:.0f} s  {event.reason}", style
    return None


def _state(status: str, stack_name: str) -> str:
    return {
        "ROLLBACK_COMPLETE": "it could not be created, and what was made is undone. Deploy again with --yes: that "
        "deletes the empty stack first",
        "UPDATE_ROLLBACK_COMPLETE": "the update is undone; what ran before runs again",
        "UPDATE_ROLLBACK_FAILED": "not even the roll-back succeeded. Mend what it names, then: "
        f"aws cloudformation continue-update-rollback --stack-name {stack_name}",
        "ROLLBACK_FAILED": f"something that was made could not be deleted: streamgage destroy --stack {stack_name}",
        "DELETE_FAILED": f"something could not be deleted; the rest is. Then again: streamgage destroy --stack {stack_name}",
    }.get(status, "it is not as it was asked to be")


def _hint(reason: str) -> str:
    text = reason.lower()
    return next((hint for words, hint in _HINTS if any(word in text for word in words)), _OTHERWISE)
