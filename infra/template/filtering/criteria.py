"""FilterCriteria of a mapping that reads Kinesis: up to ten patterns, and which records pass one of them.

A pattern's top level names the fields of a record: ``data``, which is the record's data read as JSON, and beside it what
a record's event says of it. Data that is not JSON, as aggregated (KPL), Avro and compressed data are, has no fields:
"Lambda drops the record" where the pattern has a ``data``, and looks at the other fields only where it has not.

The guide's note says that Kinesis mappings filter on ``data`` only, its table that other fields are filtered on: both
are so documented. Here the table is carried out; lint tells of the note.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis-filtering.html (checked 2026-11-29).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.template.filtering.pattern import Pattern, parse_json, parse_pattern
from infra.template.filtering.rules import InvalidPattern

FILTERS = 5
FILTERS_BY_QUOTA = 10
"""Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html (checked 2026-11-29)."""
DATA = "data"
METADATA = (
    "kinesisSchemaVersion",
    "partitionKey",
    "sequenceNumber",
    "approximateArrivalTimestamp",
    "eventSource",
    "eventVersion",
    "eventID",
    "eventName",
    "invokeIdentityArn",
    "awsRegion",
    "eventSourceARN",
)


@dataclass(frozen=True, slots=True)
class Criteria:
    """The filters of a mapping; a record passes where one of them matches."""

    patterns: tuple[Pattern, ...]

    def passes(self, data: bytes, metadata: Callable[[], Mapping[str, Any]]) -> bool:
        """Return whether a record of *data* passes; *metadata* is asked for the other fields, if they matter."""
        fields: dict[str, Any] = {}
        if any(pattern.roots() != {DATA} for pattern in self.patterns):
            fields.update(metadata())
        try:
            fields[DATA] = parse_json(data.decode())
        except ValueError:  # UnicodeDecodeError is one
            return any(DATA not in pattern.roots() and pattern.matches(fields) for pattern in self.patterns)
        return any(pattern.matches(fields) for pattern in self.patterns)


def parse_criteria(given: object) -> tuple[Criteria | None, list[str]]:
    """Return FilterCriteria, or None where it filters nothing; and every problem of it."""
    filters = given.get("Filters") if isinstance(given, Mapping) else None
    if given in (None, {}) or filters == []:
        return None, []  # "Filters: []" takes the filters of a mapping away
    if not isinstance(given, Mapping) or set(given) != {"Filters"} or not isinstance(filters, list):
        return None, [f"FilterCriteria is {given!r}: must be {{Filters: [{{Pattern: ...}}]}}"]
    if len(filters) > FILTERS_BY_QUOTA:
        return None, [
            f"FilterCriteria has {len(filters)} filters: Lambda takes {FILTERS}, {FILTERS_BY_QUOTA} by a raised quota"
        ]
    patterns: list[Pattern] = []
    problems: list[str] = []
    for number, each in enumerate(filters, 1):
        try:
            patterns.append(_pattern(each))
        except InvalidPattern as error:
            problems.append(f"FilterCriteria, filter {number}: Invalid filter pattern definition: {error}")
    return (None, problems) if problems else (Criteria(tuple(patterns)), [])


def _pattern(given: object) -> Pattern:
    text = given.get("Pattern") if isinstance(given, Mapping) and set(given) == {"Pattern"} else None
    if not isinstance(text, str):
        raise InvalidPattern("it must be {Pattern: a text of JSON}")
    pattern = parse_pattern(text)
    if any(condition.path == DATA for each in pattern.combinations for condition in each):
        raise InvalidPattern(
            '"data" must be an object: "the filter pattern for data must be in a valid JSON format"'
        )
    return pattern
