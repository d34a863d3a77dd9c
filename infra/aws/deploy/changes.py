"""A change set as a person reads it: what is added, changed, replaced or removed, and which data that would cost.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_ResourceChange.html and
API_ResourceTargetDefinition.html (checked 2026-11-21).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# What holds telemetry, what could not be applied, or accounts of people: a new one in its place is an empty one.
DATA_TYPES = {
    "AWS::Kinesis::Stream": "stream",
    "AWS::DynamoDB::Table": "table",
    "AWS::DynamoDB::GlobalTable": "table",
    "AWS::S3::Bucket": "bucket",
    "AWS::SQS::Queue": "queue",
    "AWS::Cognito::UserPool": "pool",
}

Kind = Literal["replaced", "maybe replaced", "removed", "changed", "added", "imported"]
KINDS: tuple[Kind, ...] = ("replaced", "maybe replaced", "removed", "changed", "added", "imported")
_SIGNS: dict[Kind, str] = {
    "replaced": "!",
    "maybe replaced": "?",
    "removed": "-",
    "changed": "~",
    "added": "+",
    "imported": ">",
}
_STYLES: dict[Kind, str] = {
    "replaced": "yellow",
    "maybe replaced": "yellow",
    "removed": "yellow",
    "changed": "cyan",
    "added": "green",
    "imported": "green",
}
_DANGER = "bold red"
_STAYS = {
    "Retain": True,
    "ReplaceAndRetain": True,
    "Delete": False,
    "ReplaceAndDelete": False,
    "Snapshot": False,
    "ReplaceAndSnapshot": False,
}
_RESTS = {
    True: "the old one stays, beside the stack",
    False: "the old one is deleted",
    None: "what becomes of the old one is for its policy to say",
}
_RECREATIONS = ("Never", "Conditionally", "Always")
_SHOWN = 72  # characters of a value


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """One thing that changes of a resource. ``before`` and ``after`` are None where CloudFormation does not say."""

    name: str
    before: str | None
    after: str | None
    recreation: str
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """What happens to one resource.

    ``stays``: where it is replaced or removed, the old one is kept with its data; None where CloudFormation does not say.
    """

    kind: Kind
    logical_id: str
    physical_id: str
    type: str
    stays: bool | None
    properties: tuple[PropertyChange, ...]

    @property
    def data(self) -> str | None:
        """What kind of data would be left behind or lost; None where none would."""
        return DATA_TYPES.get(self.type) if self.kind in ("replaced", "maybe replaced", "removed") else None


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A parameter of the template whose value differs; None is no value."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diff, and how it is coloured ("" is not)."""

    text: str
    style: str = ""


def read_changes(changes: Iterable[Mapping[str, Any]]) -> tuple[ResourceChange, ...]:
    """Return the *Changes* of DescribeChangeSet, the dangerous first, then by name."""
    read = [_resource(each["ResourceChange"]) for each in changes if each.get("ResourceChange")]
    return tuple(sorted(read, key=lambda each: (KINDS.index(each.kind), each.logical_id)))


def compare_parameters(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ParameterChange, ...]:
    """Return the parameters whose values differ, by name."""
    names = sorted(before.keys() | after.keys())
    return tuple(
        ParameterChange(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def dangers(changes: Iterable[ResourceChange]) -> list[str]:
    """Return a sentence for each change that costs data, or leaves it behind."""
    return [
        f"{each.logical_id} ({each.data} {each.physical_id}) {_fate(each)}" for each in changes if each.data
    ]


def lane_dangers(parameters: Iterable[ParameterChange]) -> list[str]:
    """Return a sentence where the lanes of a stack that stands would change: a batch under way then counts twice."""
    return [
        f"{each.name} {each.before} -> {each.after} changes lanes from shard to partition key, or back: what is under way "
        "counts twice. Stop the producers and drain first: docs/operations.md#lanes"
        for each in parameters
        if each.name == "ParallelizationFactor"
        and None not in (each.before, each.after)
        and "1" in (each.before, each.after)
    ]


def render(changes: Sequence[ResourceChange], parameters: Sequence[ParameterChange]) -> list[Line]:
    """Return the diff in lines. Every resource, and everything that changes of one, is named."""
    lines = []
    width = max((len(each.logical_id) for each in changes), default=0)
    if parameters:
        lines.append(Line("parameters", "bold"))
        wide = max(len(each.name) for each in parameters)
        lines += [Line(f"  {each.name:<{wide}}  {_value(each)}") for each in parameters]
    if changes:
        lines.append(Line("resources", "bold"))
    for change in changes:
        fate = f"  {_fate(change)}" if change.kind in ("replaced", "maybe replaced", "removed") else ""
        lines.append(
            Line(
                f"{_SIGNS[change.kind]} {change.logical_id:<{width}}  {change.type}{fate}",
                _DANGER if change.data else _STYLES[change.kind],
            )
        )
        lines += [_property_line(each) for each in change.properties]
    counts = Counter(each.kind for each in changes)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
    lines.append(
        Line(
            f"{len(changes)} resources: {told}"
            if changes
            else "no resource changes; outputs or descriptions do"
        )
    )
    return lines


def _resource(raw: Mapping[str, Any]) -> ResourceChange:
    action, replacement = raw.get("Action"), raw.get("Replacement")
    kind: Kind = "changed"  # Modify, SyncWithActual
    if action == "Add":
        kind = "added"
    elif action == "Remove":
        kind = "removed"
    elif action == "Import":
        kind = "imported"
    elif replacement == "True":
        kind = "replaced"
    elif replacement == "Conditional" or action == "Dynamic":  # Dynamic: "can't determine the exact action"
        kind = "maybe replaced"
    return ResourceChange(
        kind,
        raw.get("LogicalResourceId", "?"),
        raw.get("PhysicalResourceId", ""),
        raw.get("ResourceType", "?"),
        _STAYS.get(raw.get("PolicyAction", "")),
        _properties(raw),
    )


def _properties(raw: Mapping[str, Any]) -> tuple[PropertyChange, ...]:
    """Return what changes, each name once: CloudFormation lists a property once a cause."""
    found: dict[str, PropertyChange] = {}
    for detail in raw.get("Details", ()):
        target = detail.get("Target", {})
        name = _name(target)
        known = found.get(name, PropertyChange(name, None, None, "Never"))
        recreation = target.get("RequiresRecreation", "Never")
        cause = detail.get("CausingEntity")
        found[name] = PropertyChange(
            name,
            target.get("BeforeValue", known.before),
            target.get("AfterValue", known.after),
            max(known.recreation, recreation, key=_rank),
            known.causes if cause is None or cause in known.causes else (*known.causes, cause),
        )
    told = {each.get("Target", {}).get("Attribute") for each in raw.get("Details", ())}
    for scope in raw.get("Scope", ()):
        if scope not in told:
            found.setdefault(scope, PropertyChange(scope, None, None, "Never"))
    return tuple(found.values())


def _name(target: Mapping[str, Any]) -> str:
    """Return ``Environment.Variables.X`` for ``/Properties/Environment/Variables/X``; other attributes keep their name."""
    attribute = target.get("Attribute", "Properties")
    path = [each for each in str(target.get("Path", "")).split("/") if each]
    if path and path[0] == attribute:
        path = path[1:]
    if not path:
        path = [target["Name"]] if target.get("Name") else []
    return ".".join(path if attribute == "Properties" and path else [attribute, *path])


def _rank(recreation: str) -> int:
    return _RECREATIONS.index(recreation) if recreation in _RECREATIONS else len(_RECREATIONS)


def _property_line(change: PropertyChange) -> Line:
    text = f"      {change.name}"
    if change.before is not None or change.after is not None:
        text += f"  {_arrow(change.before, change.after)}"
    if change.causes:
        text += f"  (of {', '.join(change.causes)})"
    if change.recreation != "Never":
        text += "  makes a new one" if change.recreation == "Always" else "  may make a new one"
    return Line(text, "" if change.recreation == "Never" else "yellow")


def _fate(change: ResourceChange) -> str:
    rest = _RESTS[change.stays]
    if change.kind == "removed":
        return f"REMOVED: {rest}"
    if change.kind == "maybe replaced":
        return f"MAY BE REPLACED by a new one: then {rest}"
    return f"REPLACED by a new one{', empty' if change.data else ''}: {rest}"


def _value(change: ParameterChange) -> str:
    return _shown(change.after) if change.before is None else _arrow(change.before, change.after)


def _arrow(before: str | None, after: str | None) -> str:
    return f"{_shown(before)} → {_shown(after)}"


def _shown(value: str | None) -> str:
    if value is None:
        return "(none)"
    text = " ".join(value.split()) or '""'
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
