"""Whether a deployment is of code or of a definition: a stack counts what it counted first, for its life.

A canary runs two versions of a function over one progress, and a roll-back goes from one to the other. Where they count
different things each is left with a share, for good. So what a consumer counts is recorded in its stack, and another
definition is another consumer, deployed beside it: docs/operations.md, "Change what is measured".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infra.aws.deploy.ports import StackState
from streamgage.definition.fingerprint import (
    definition_of,
    definition_text,
    differences,
    parse_definition,
    rollups_in,
    windows_in,
)
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError

CONSUMER, DEFINITION, STREAM, TABLE, START = (
    "Consumer",
    "Definition",
    "SharedStreamArn",
    "SharedTable",
    "StartAt",
)
_FIXED = {
    CONSUMER: "main",
    STREAM: "",
    TABLE: "",
    START: "0",
}  # for a stack's life, and what they are by default
_OF_THE_STREAM = ("RetentionHours", "KeyArn")  # what a stack beside another has from it
_UNRECORDED = ("", "none")
_MOST_CHARACTERS = 4096  # of a parameter's value
_HOW_TO_CHANGE = (
    "It would be counted from now on only, and in part while two versions run. Set the next generation of each rollup that "
    "changes and another consumer for all that this file is to count, and deploy it beside: streamgage deploy --stack "
    "{stack}-v2 --beside {stack} (docs/operations.md, change what is measured). Nothing was changed"
)


@dataclass(frozen=True, slots=True)
class Surrounding:
    """What stands: the stack itself, the one to stand beside, and every other of the account and region."""

    stack: str
    standing: StackState | None
    beside: StackState | None = None
    others: Iterable[StackState] = ()

    @property
    def counting(self) -> StackState | None:
        """The stack itself, where it counts: not what is left of one that could not be created."""
        stack = self.standing
        return None if stack is None or stack.status in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE") else stack


def parameters_of_consumer(
    pipeline: Pipeline, chosen: Mapping[str, str], around: Surrounding, *, start_at_s: int | None = None
) -> dict[str, str]:
    """Return the parameters that say who counts what, for the template of *chosen* ones (named by a person).

    Raises:
        ConfigError: the stack that stands counts something else, or who it is to stand beside counts that already.
    """
    if around.counting is not None:
        fixed = _fixed_of(around.counting, around.beside, chosen, start_at_s)
    else:
        fixed = {name: chosen.get(name, default) for name, default in _FIXED.items()}
        fixed[CONSUMER] = pipeline.consumer_for(chosen.get(CONSUMER))
        if start_at_s is not None:
            fixed[START] = str(start_at_s)
        if around.beside is not None:
            fixed |= _of_the_other(around.beside, chosen)
    is_named = fixed[CONSUMER] in pipeline.consumers  # else all that it counts would be removed
    definition = definition_of(pipeline, fixed[CONSUMER]) if is_named else {}
    text = definition_text(definition)
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(
            f"consumer {fixed[CONSUMER]} counts {windows_in(definition)} windows of rollups: more than its stack can record "
            f"({_MOST_CHARACTERS} characters). Give some of the rollups another consumer"
        )
    _check_unchanged(around, definition)
    _check_apart(around, fixed, definition)
    return {**fixed, DEFINITION: text}


def readers_of(data: Iterable[str], others: Iterable[StackState]) -> list[str]:
    """Return the names of the stacks that use one of *data*, names of streams and tables, as another's."""
    names = set(data)
    return sorted(
        each.name
        for each in others
        if each.parameters.get(STREAM, "").rpartition("/")[2] in names
        or each.parameters.get(TABLE, "") in names
    )


def _fixed_of(
    standing: StackState, beside: StackState | None, chosen: Mapping[str, str], start_at_s: int | None
) -> dict[str, str]:
    """Return what the stack that stands has; what is asked for otherwise is refused, not overridden."""
    fixed = {name: standing.parameters.get(name, default) for name, default in _FIXED.items()}
    asked = {name: value for name, value in chosen.items() if name in _FIXED}
    if start_at_s is not None:
        asked[START] = str(start_at_s)
    if beside is not None:
        asked |= {STREAM: beside.outputs.get("StreamArn", ""), TABLE: beside.outputs.get("TableName", "")}
    problems = [
        f"{name} of stack {standing.name} is {fixed[name] or 'its own'}, for its life; asked for is {value or 'its own'}. "
        "Another one is another stack"
        for name, value in asked.items()
        if value != fixed[name]
    ]
    if problems:
        raise ConfigError(*problems)
    kept = {name: standing.parameters[name] for name in _OF_THE_STREAM if name in standing.parameters}
    return fixed | ({name: chosen.get(name, value) for name, value in kept.items()} if fixed[STREAM] else {})


def _of_the_other(other: StackState, chosen: Mapping[str, str]) -> dict[str, str]:
    lacking = [each for each in ("StreamArn", "TableName") if not other.outputs.get(each)]
    if lacking:
        raise ConfigError(
            f"stack {other.name} ({other.status}) has no output {' and '.join(lacking)}: it is not done, or was deployed by "
            "an earlier version of streamgage"
        )
    asked = [name for name in (STREAM, TABLE) if chosen.get(name)]
    if asked:
        raise ConfigError(
            f"--beside {other.name} says what {' and '.join(asked)} is: leave the parameter out"
        )
    of_the_stream = {
        name: other.parameters[name]
        for name in _OF_THE_STREAM
        if name in other.parameters and name not in chosen
    }
    return {STREAM: other.outputs["StreamArn"], TABLE: other.outputs["TableName"], **of_the_stream}


def _check_unchanged(around: Surrounding, definition: Mapping[str, str]) -> None:
    standing = around.counting
    if standing is None:
        return
    recorded = _recorded(standing)
    if recorded is None:
        raise ConfigError(
            f"stack {standing.name} does not say what it counts: an earlier version of streamgage deployed it, whose items "
            "and progress are written otherwise. " + _HOW_TO_CHANGE.format(stack=standing.name)
        )
    changed = differences(recorded, definition)
    if changed:
        raise ConfigError(
            *changed,
            f"what stack {standing.name} counts would change. " + _HOW_TO_CHANGE.format(stack=standing.name),
        )


def _check_apart(around: Surrounding, fixed: Mapping[str, str], definition: Mapping[str, str]) -> None:
    """Refuse what another stack on the same table counts already: its name, or a generation of a rollup."""
    if not fixed[TABLE]:
        return
    own = rollups_in(definition)
    problems = []
    for other in [*([around.beside] if around.beside else []), *around.others]:
        if other.name == around.stack or other.outputs.get("TableName") != fixed[TABLE]:
            continue
        told = f"stack {other.name} on the same table"
        if other.parameters.get(CONSUMER, "main") == fixed[CONSUMER]:
            problems.append(f"consumer {fixed[CONSUMER]} is {told} already: name another in pipeline.toml")
        counted = own & rollups_in(_recorded(other) or {})
        problems += [
            f"{each} is counted by {told} already: set the next generation" for each in sorted(counted)
        ]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def _recorded(stack: StackState) -> dict[str, str] | None:
    text = stack.parameters.get(DEFINITION, "")
    if text in _UNRECORDED:
        return None
    try:
        return parse_definition(text)
    except ValueError as error:
        raise ConfigError(f"parameter {DEFINITION} of stack {stack.name}: {error}") from error
