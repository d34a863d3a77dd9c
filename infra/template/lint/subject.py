"""What rules look at: the resources as they will be, with the pipeline definition beside them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from infra.template.lint.resolve import Node, Path
from streamgage.definition.pipeline import Pipeline

OUR_HANDLER = "processors.aggregate.function.handler"
ON_DEMAND_SHARDS = 4
"""What a stream on demand has at first.

Source: https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
"""
_STREAM_ARN = re.compile(r"arn:[^:]+:kinesis:")
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9]+)[.}]")


def target(value: Any) -> str | None:
    """Return the logical id that *value* refers to: a Ref, a GetAtt, or the first name in a Sub."""
    if not isinstance(value, dict):
        return None
    if "Ref" in value:
        return str(value["Ref"])
    if "Fn::GetAtt" in value:
        return str(value["Fn::GetAtt"][0])
    found = _REFERENCE.search(str(value.get("Fn::Sub", "")))
    return found.group(1) if found else None


def properties(resource: Node) -> Node:
    """Return the properties of *resource*; where it has none, nothing, at its place."""
    found = resource.get("Properties")
    if isinstance(found, Node):
        return found
    empty = Node()
    empty.path = resource.path
    return empty


def each_of(value: Any) -> list[Any]:
    """Return *value* as IAM reads it: one thing stands for a list of it."""
    return value if isinstance(value, list) else [] if value is None else [value]


def whole(value: Any, default: int) -> int:
    """Return *value* as a number; *default* where it is none, or not known before AWS knows it."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


@dataclass(frozen=True)
class Subject:
    """A template under its parameters. ``pipeline`` is None where a foreign template is read by itself.

    ``declared`` holds the template's parameters, ``values`` what each of them is; ``broken`` the place and description of
    each assertion of its Rules that they do not keep.
    """

    resources: Mapping[str, Node]
    pipeline: Pipeline | None
    declared: Mapping[str, Any]
    values: Mapping[str, str]
    broken: tuple[tuple[Path, str], ...] = ()

    def of_type(self, *kinds: str) -> Iterator[tuple[str, Node]]:
        """Yield the resources of *kinds*, with their logical ids."""
        return ((name, each) for name, each in self.resources.items() if each.get("Type") in kinds)

    def at(self, value: Any) -> Node | None:
        """Return the resource that *value* refers to, if the template has it."""
        return self.resources.get(target(value) or "")

    @cached_property
    def functions(self) -> dict[str, Node]:
        """The properties of each Lambda function."""
        return {name: properties(each) for name, each in self.of_type("AWS::Lambda::Function")}

    @cached_property
    def mappings(self) -> tuple["StreamMapping", ...]:
        """The event source mappings that read a Kinesis stream."""
        found = (
            self._mapping(properties(each)) for _, each in self.of_type("AWS::Lambda::EventSourceMapping")
        )
        return tuple(each for each in found if each is not None)

    def function_of(self, value: Any) -> str | None:
        """Return the logical id of the function that a FunctionName means, through alias and version."""
        name = target(value)
        resource = self.resources.get(name or "")
        if resource is not None and resource["Type"] in ("AWS::Lambda::Alias", "AWS::Lambda::Version"):
            return target(properties(resource).get("FunctionName"))
        return name

    def tables_of(self, function: Node) -> Iterator[Node]:
        """Yield the resources whose names *function* gets as STREAMGAGE_TABLE: the tables of aggregates."""
        table = self.at(environment(function).get("STREAMGAGE_TABLE"))
        if table is not None:
            yield table

    def _mapping(self, node: Node) -> "StreamMapping | None":
        arn = node.get("EventSourceArn")
        stream = self.at(arn)
        if stream is None and not (isinstance(arn, str) and _STREAM_ARN.match(arn)):
            return None
        if stream is not None and stream["Type"] != "AWS::Kinesis::Stream":
            return None
        function = self.functions.get(self.function_of(node.get("FunctionName")) or "")
        return StreamMapping(node, function, None if stream is None else properties(stream))


@dataclass(frozen=True)
class StreamMapping:
    """A mapping with Lambda's defaults, and the function and stream that it joins, where the template has them.

    Source of the defaults: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html
    """

    node: Node
    function: Node | None
    stream: Node | None

    @property
    def is_ours(self) -> bool:
        """Whether our aggregate function gets the batches."""
        return self.function is not None and self.function.get("Handler") == OUR_HANDLER

    @property
    def factor(self) -> int:
        """Batches of one shard at a time."""
        return self._number("ParallelizationFactor", 1)

    @property
    def batch_records(self) -> int:
        """The most records of a batch."""
        return self._number("BatchSize", 100)

    @property
    def window_s(self) -> int:
        """How long records are gathered."""
        return self._number("MaximumBatchingWindowInSeconds", 0)

    @property
    def attempts(self) -> int:
        """How often a batch is tried again; -1 is without end."""
        return self._number("MaximumRetryAttempts", -1)

    @property
    def age_s(self) -> int:
        """How old a record is tried; -1 is without end."""
        return self._number("MaximumRecordAgeInSeconds", -1)

    @property
    def retention_s(self) -> int:
        """How long the stream keeps a record; a day where neither the template nor the function's environment says."""
        if self.stream is None:  # another stack's
            told = {} if self.function is None else environment(self.function)
            hours = told.get("STREAMGAGE_RETENTION_HOURS")
        else:
            hours = self.stream.get("RetentionPeriodHours")
        return whole(hours, 24) * 3600

    @property
    def timeout_s(self) -> int:
        """How long one try may take."""
        return whole(None if self.function is None else self.function.get("Timeout"), 3)

    @property
    def shards(self) -> int:
        """How many shards the stream has, at least."""
        if self.stream is None:
            return 1
        on_demand = self.stream.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND"
        return whole(self.stream.get("ShardCount"), ON_DEMAND_SHARDS if on_demand else 1)

    @property
    def destination(self) -> Any:
        """Where discarded batches go, or None."""
        return self.node.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")

    @property
    def reports_failures(self) -> bool:
        """Whether Lambda reads the function's answer."""
        return "ReportBatchItemFailures" in self.node.get("FunctionResponseTypes", ())

    def _number(self, name: str, default: int) -> int:
        return whole(self.node.get(name), default)


def environment(function: Node) -> Node:
    """Return the environment variables of *function*."""
    found = function.get("Environment", {}).get("Variables")
    return found if isinstance(found, Node) else Node()
