"""Rules on roles, and on what a person sees: policies, alarms, logs, and the values of parameters."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.template.lint.resolve import Node
from infra.template.lint.rule import Problem, Rules
from infra.template.lint.subject import Subject, each_of, properties, target
from infra.template.lint.unscoped import UNSCOPED

RULES = Rules()
# What is inside of a resource of the template: behind its ARN, or behind its id in an ARN.
_WITHIN_OURS = re.compile(r"(?:\$\{[A-Za-z0-9]+(\.[A-Za-z]+)?\}|arn:[^*?$]*:\$\{[A-Za-z0-9]+\}/)")


def statements(subject: Subject) -> Iterator[Node]:
    """Yield each statement that allows something to a role, user or group of the template."""
    for _, each in subject.of_type("AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group"):
        for policy in each_of(properties(each).get("Policies")):
            yield from _allowing(policy.get("PolicyDocument", {}))
    for _, each in subject.of_type("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
        yield from _allowing(properties(each).get("PolicyDocument", {}))


def _allowing(document: Any) -> Iterator[Node]:
    return (
        each
        for each in each_of(document.get("Statement"))
        if isinstance(each, Node) and each.get("Effect") == "Allow"
    )


@RULES.add(
    "SG030",
    "error",
    what="a policy with a wildcard for actions",
    why="it allows what nobody asked for, and what AWS adds under that name tomorrow",
    mend="name each action; tests/infra/test_least_privilege.py shows which are made",
)
def actions_are_named(subject: Subject) -> Iterator[Problem]:
    """No Allow has a wildcard, nor NotAction."""
    for each in statements(subject):
        wild = [
            str(action) for action in each_of(each.get("Action")) if "*" in str(action) or "?" in str(action)
        ]
        if wild or "NotAction" in each:
            what = ", ".join(wild) or "everything but " + ", ".join(map(str, each_of(each["NotAction"])))
            yield Problem.at(each, f"it allows {what}", "Action" if wild else "NotAction")


@RULES.add(
    "SG031",
    "error",
    what="a policy with a wildcard for resources, where AWS allows a resource",
    why="a mistake, or a stolen role, reaches every table, stream and queue of the account",
    mend='name the resource: !GetAtt Table.Arn, or what is inside of it: !Sub "${Bucket.Arn}/*"',
)
def resources_are_named(subject: Subject) -> Iterator[Problem]:
    """A wildcard stands only behind the name of a resource of this template, or for actions that know none."""
    for each in statements(subject):
        if set(map(str, each_of(each.get("Action")))) <= UNSCOPED and "Action" in each:
            continue
        wild = [text for text in map(_text, each_of(each.get("Resource"))) if _is_wide(text)]
        if wild or "NotResource" in each:
            what = ", ".join(wild) or "all but some resources"
            yield Problem.at(each, f"it allows {what}", "Resource" if wild else "NotResource")


@RULES.add(
    "SG040",
    "error",
    what="an alarm that tells nobody",
    why="it turns red where nobody looks",
    mend="set AlarmActions: [!Ref AlarmTopic], and leave ActionsEnabled alone",
)
def alarms_ring(subject: Subject) -> Iterator[Problem]:
    """An alarm has an action, and it is on."""
    for name, each in subject.of_type("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
        node = properties(each)
        off = str(node.get("ActionsEnabled", True)).lower() == "false"
        if off or not node.get("AlarmActions"):
            yield Problem.at(node, f"{name} has no action", "ActionsEnabled" if off else "AlarmActions")


@RULES.add(
    "SG041",
    "warning",
    what="logs that are kept for ever",
    why="a log group without retention, and the one that Lambda makes by itself, is paid for until somebody deletes it",
    mend="set RetentionInDays, and give the function's LoggingConfig a log group of the template",
)
def logs_expire(subject: Subject) -> Iterator[Problem]:
    """Each group has a retention, and each function a group."""
    named: set[str] = set()
    for name, each in subject.of_type("AWS::Logs::LogGroup"):
        node = properties(each)
        own = node.get("LogGroupName")
        named.add(str(own if isinstance(own, str) else (own or {}).get("Fn::Sub", "")))
        if "RetentionInDays" not in node:
            yield Problem.at(node, f"{name} keeps its logs for ever", "RetentionInDays")
    for name, function in subject.functions.items():
        group = function.get("LoggingConfig", {}).get("LogGroup")
        known = subject.at(group) is not None or {f"/aws/lambda/${{{name}}}", str(group)} & named
        if not known:
            yield Problem.at(function, f"{name} logs into a group that Lambda makes", "LoggingConfig")


@RULES.add(
    "SG042",
    "error",
    what="deployments that no alarm rolls back",
    why="a canary that nobody watches is only a slow mistake",
    mend="name alarms under DeploymentPreference: Alarms",
)
def canaries_are_watched(subject: Subject) -> Iterator[Problem]:
    """A deployment group has alarms."""
    for name, each in subject.of_type("AWS::CodeDeploy::DeploymentGroup"):
        node = properties(each)
        alarms = node.get("AlarmConfiguration", {})
        if not alarms.get("Alarms") or str(alarms.get("Enabled", True)).lower() == "false":
            yield Problem.at(node, f"{name} has no alarms", "AlarmConfiguration")


@RULES.add(
    "SG050",
    "error",
    what="a parameter outside its bounds",
    why="CloudFormation refuses it, after the bundle was made and uploaded",
    mend="change the value in [deploy] of pipeline.toml, or in --parameter",
)
def parameters_are_within_bounds(subject: Subject) -> Iterator[Problem]:
    """MinValue, MaxValue and AllowedPattern; AllowedValues are refused when the values are put together."""
    for name, value in subject.values.items():
        declared = subject.declared.get(name, {})
        if (problem := _out_of_bounds(value, declared)) is not None:
            yield Problem(("Parameters", name), f"{name} is {value!r}: {problem}")


@RULES.add(
    "SG051",
    "error",
    what="parameters that the template's own Rules refuse",
    why="CloudFormation refuses them, after the bundles were made and uploaded",
    mend="give the parameters together as the assertion says",
)
def parameters_keep_the_rules(subject: Subject) -> Iterator[Problem]:
    """Assertions by the functions of conditions."""
    for path, description in subject.broken:
        yield Problem(path, description)


def _out_of_bounds(value: str, declared: Mapping[str, Any]) -> str | None:
    if declared.get("Type") == "Number":
        try:
            number = float(value)
        except ValueError:
            return "not a number"
        if number < float(declared.get("MinValue", number)):
            return f"at least {declared['MinValue']}"
        if number > float(declared.get("MaxValue", number)):
            return f"at most {declared['MaxValue']}"
    pattern = declared.get("AllowedPattern")
    return None if pattern is None or re.fullmatch(pattern, value) else f"must match {pattern}"


def _text(resource: Any) -> str:
    if isinstance(resource, dict):
        return str(resource.get("Fn::Sub") or f"${{{target(resource)}}}")
    return str(resource)


def _is_wide(resource: str) -> bool:
    return ("*" in resource or "?" in resource) and not _WITHIN_OURS.match(resource)
