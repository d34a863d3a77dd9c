"""Compare what a role allows with what is asked of it: nothing missing, nothing over, nothing wider than it must be."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from infra.template.lint.unscoped import UNSCOPED
from support.policies.statement import Call, Statement, allows, matches


def missing(statements: Sequence[Statement], calls: Iterable[Call]) -> Iterator[str]:
    """Yield each of *calls* that *statements* do not allow."""
    for call in calls:
        if not allows(statements, call):
            yield f"{call.action} on {call.resource} is made, and not allowed"


def unused(
    statements: Sequence[Statement], calls: Sequence[Call], exceptions: Mapping[str, str]
) -> Iterator[str]:
    """Yield each action with resource that is allowed and never made, and each of *exceptions* that is none.

    *exceptions* holds actions that somebody else makes with the role, or only at times, and why.
    """
    excused: set[str] = set()
    for statement in statements:
        for action in statement.actions if statement.allows else ():
            for resource in statement.resources:
                made = any(
                    matches(action.lower(), each.action.lower()) and matches(resource, each.resource)
                    for each in calls
                )
                if not made and action in exceptions:
                    excused.add(action)
                elif not made:
                    yield f"{action} on {resource} is allowed ({statement.sid}), and never made"
    yield from (f"{each} is an exception that is not needed" for each in exceptions if each not in excused)


def too_wide(
    statements: Sequence[Statement], arns: Iterable[str], exceptions: Mapping[str, str]
) -> Iterator[str]:
    """Yield each wildcard that is not needed: of an action, or of a resource beyond one of *arns* (of the template).

    *exceptions* holds actions that are allowed on everything although IAM knows resources for them, and why.
    """
    known = tuple(arns)
    for statement in statements:
        if not statement.allows:
            continue
        yield from (
            f"{each} ({statement.sid}) is a wildcard for actions" for each in statement.actions if "*" in each
        )
        if set(statement.actions) <= UNSCOPED | exceptions.keys():
            continue
        for resource in statement.resources:
            head = resource.rstrip("*").rstrip(":/")
            if "*" in resource and resource not in known and head not in known:
                yield f"{resource} ({statement.sid}) is wider than a resource of the template"
