"""Evaluate a CloudFormation template as CloudFormation would: parameters, conditions, and references where known.

What is not known (a Ref to a resource) stays an expression. Every mapping of the result knows where it stood, so that a
finding can name the line.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from streamgage.errors import ConfigError

Path = tuple[str | int, ...]

# What CloudFormation knows without being told. None of it decides what a rule says.
PSEUDO: Mapping[str, str] = {
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "streamgage",
    "AWS::URLSuffix": "amazonaws.com",
}
_LOGIC = {"Fn::And", "Fn::Equals", "Fn::Not", "Fn::Or"}
_NO_VALUE = "AWS::NoValue"
_ABSENT = object()
_SUB = re.compile(r"\$\{(!?)([^{}]+)\}")  # no { inside: else a text of many "${" costs their square


class Node(dict[str, Any]):
    """A mapping of the template, and its ``path`` there."""

    path: Path = ()


def resolved(
    template: Mapping[str, Any],
    *,
    parameters: Mapping[str, str],
    refs: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> dict[str, Node]:
    """Return the resources of *template* (translated, not SAM) that exist under *parameters*, evaluated.

    *refs* holds what Ref gives for a logical id, *attributes* what GetAtt gives for ``"LogicalId.Attribute"``.
    """
    resolver = _Resolver(template, parameters, refs or {}, attributes or {})
    resources: dict[str, Node] = {}
    for logical_id, resource in template.get("Resources", {}).items():
        if resolver.holds(resource.get("Condition")):
            resources[logical_id] = resolver.value(resource, ("Resources", logical_id))
    return resources


def broken_rules(template: Mapping[str, Any], *, parameters: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield place and description of each assertion of the template's Rules that *parameters* do not keep.

    CloudFormation would refuse them after everything was uploaded. One that asks by functions other than those of
    conditions (Fn::Contains and the like) is left to it.
    """
    resolver = _Resolver(template, parameters, {}, {})
    for name, rule in template.get("Rules", {}).items():
        condition = rule.get("RuleCondition")
        for index, each in enumerate(rule.get("Assertions", ())):
            asked = [condition, each.get("Assert")]
            if not _functions(asked) <= _LOGIC:
                continue
            if resolver.true(condition) and not resolver.true(each.get("Assert")):
                yield ("Rules", name, "Assertions", index, "Assert"), str(each.get("AssertDescription", name))


def _functions(value: Any) -> set[str]:
    """Return the names of the functions in *value*."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    own = {each for each in value if each.startswith("Fn::")} if isinstance(value, dict) else set()
    return own.union(*map(_functions, inner))


class _Resolver:
    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, str],
        refs: Mapping[str, str],
        attributes: Mapping[str, str],
    ) -> None:
        self._conditions: Mapping[str, Any] = template.get("Conditions", {})
        self._attributes = attributes
        self._held: dict[str, bool | None] = {}  # None: it is being asked
        declared: Mapping[str, Any] = template.get("Parameters", {})
        typed = {name: _typed(value, declared.get(name, {})) for name, value in parameters.items()}
        self._refs: dict[str, Any] = {**PSEUDO, **typed, **refs}

    def holds(self, condition: str | None) -> bool:
        """Return whether *condition* holds; asked once each, for they may stand on one another by the thousand.

        Raises:
            ConfigError: it refers to itself.
        """
        if condition is None:
            return True
        known = self._held.get(condition, _ABSENT)
        if known is None:
            raise ConfigError(f"condition {condition} refers to itself")
        if known is _ABSENT:
            self._held[condition] = None
            known = self._held[condition] = self.true(self._conditions.get(condition))
        return bool(known)

    def value(self, value: Any, path: Path) -> Any:
        """Return *value* evaluated, or _ABSENT."""
        if isinstance(value, dict):
            if len(value) == 1:
                ((key, argument),) = value.items()
                if key == "Ref" or key.startswith("Fn::"):
                    return self._expression(key, argument, path)
            node = Node()
            node.path = path
            for key, each in value.items():
                found = self.value(each, (*path, key))
                if found is not _ABSENT:
                    node[key] = found
            return node
        if isinstance(value, list):
            found = [self.value(each, (*path, index)) for index, each in enumerate(value)]
            return [each for each in found if each is not _ABSENT]
        return value

    def _expression(self, key: str, argument: Any, path: Path) -> Any:
        left = self._left(key, argument, path)
        if key == "Ref":
            return _ABSENT if argument == _NO_VALUE else self._refs.get(argument, left)
        known = {
            "Fn::GetAtt": self._attribute,
            "Fn::If": self._if,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
        }
        return known[key](argument, path) if key in known else left

    def _attribute(self, argument: Any, path: Path) -> Any:
        logical_id, _, name = (
            argument.partition(".") if isinstance(argument, str) else (argument[0], "", argument[1])
        )
        return self._attributes.get(
            f"{logical_id}.{name}", self._left("Fn::GetAtt", [logical_id, name], path)
        )

    def _if(self, argument: Any, path: Path) -> Any:
        index = 1 if self.holds(argument[0]) else 2
        return self.value(argument[index], (*path, "Fn::If", index))

    def _join(self, argument: Any, path: Path) -> Any:
        parts = self.value(argument[1], (*path, "Fn::Join", 1))
        if isinstance(parts, list) and all(isinstance(each, str) for each in parts):
            return str(argument[0]).join(parts)
        return self._left("Fn::Join", [argument[0], parts], path)

    def _select(self, argument: Any, path: Path) -> Any:
        parts, index = self.value(argument[1], (*path, "Fn::Select", 1)), int(argument[0])
        if isinstance(parts, list) and index < len(parts):
            return parts[index]
        return self._left("Fn::Select", [argument[0], parts], path)

    def _split(self, argument: Any, path: Path) -> Any:
        text = self.value(argument[1], (*path, "Fn::Split", 1))
        return (
            text.split(argument[0])
            if isinstance(text, str)
            else self._left("Fn::Split", [argument[0], text], path)
        )

    def _sub(self, argument: Any, path: Path) -> Any:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        known = {name: self.value(each, (*path, "Fn::Sub", 1, name)) for name, each in own.items()}
        open_names = False

        def put(match: re.Match[str]) -> str:
            nonlocal open_names
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            found = known.get(name, self._refs.get(name, self._attributes.get(name)))
            if not isinstance(found, (str, int, float)):
                open_names = True
                return match.group()
            return str(found)

        done = _SUB.sub(put, text)
        return self._left("Fn::Sub", done, path) if open_names else done

    def _left(self, key: str, argument: Any, path: Path) -> Node:
        node = Node({key: argument})
        node.path = path
        return node

    def true(self, condition: Any) -> bool:
        """Return whether *condition* holds. One that CloudFormation does not take holds: cfn-lint names it."""
        if not isinstance(condition, dict):
            return True
        key: str
        argument: Any
        key, argument = next(iter(condition.items()), ("", ()))
        if key == "Condition":
            return self.holds(argument)
        if key == "Fn::Not":
            return not self.true(argument[0])
        if key == "Fn::Or":
            return any(self.true(each) for each in argument)
        if key == "Fn::Equals":
            left, right = (self.value(each, ()) for each in argument)
            return _text(left) == _text(right)
        return all(self.true(each) for each in argument) if key == "Fn::And" else True


def _typed(value: str, parameter: Mapping[str, Any]) -> Any:
    if parameter.get("Type") == "Number":
        number = re.fullmatch(r"-?\d+(\.\d+)?", value)
        return value if number is None else float(value) if number[1] else int(value)
    if parameter.get("Type") in ("CommaDelimitedList", "List<Number>", "List<String>"):
        return value.split(",")
    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
