"""A stream's record as FilterCriteria sees it: its data, and beside it what its event says."""

from typing import Any

from infra.template.filtering.criteria import Criteria
from infra.template.filtering.pattern import parse_json
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord


def passes(criteria: Criteria, record: StreamRecord, *, stream_arn: str) -> bool:
    """Return whether *record* goes to the function."""

    def metadata() -> dict[str, Any]:
        (event,) = encode_event([record], stream_arn=stream_arn, encode_data=lambda _: "")["Records"]
        fields = {**event, **event.pop("kinesis")}
        arrival = parse_json(repr(fields["approximateArrivalTimestamp"]))  # as patterns have numbers
        return {**fields, "approximateArrivalTimestamp": arrival}

    return criteria.passes(record.data, metadata)
