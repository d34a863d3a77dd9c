"""The actions of the API by name: from a request's plain values to the answer's. No HTTP and no threads here.

Requests and answers are the structures of the service model, with blobs as bytes (or base64 text in requests)
and times as ``Instant`` (or seconds in requests). A simulation calls this; the server wraps it.
"""

from collections.abc import Callable
from typing import Any

from infra.local.kinesis.control import ControlPlane
from infra.local.kinesis.data import DataPlane
from infra.local.kinesis.errors import ConnectionLost, KinesisError, StorageError
from infra.local.kinesis.faults import CALM, FaultPlan
from infra.local.kinesis.fields import Fields
from infra.local.kinesis.limits import Throttle
from infra.local.kinesis.listing import list_shards
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.requests import check
from infra.local.kinesis.tags import TagActions

Answer = dict[str, Any] | None
_OF_THE_REQUEST = {
    "InvalidArgumentException",
    "ResourceNotFoundException",
    "SerializationException",
    "ValidationException",
}


class KinesisApi:
    """Every action of one model; safe to share between threads."""

    def __init__(self, model: KinesisModel, *, throttle: Throttle | None = None) -> None:
        self.model = model
        data, control, tags = DataPlane(model, throttle), ControlPlane(model), TagActions(model)
        self._data: dict[str, Callable[[Fields, FaultPlan], Answer]] = {
            "PutRecord": data.put_record,
            "PutRecords": data.put_records,
            "GetShardIterator": data.get_shard_iterator,
            "GetRecords": data.get_records,
        }
        self._control: dict[str, Callable[[Fields], Answer]] = {
            "CreateStream": control.create_stream,
            "DeleteStream": control.delete_stream,
            "DescribeStream": control.describe_stream,
            "DescribeStreamSummary": control.describe_stream_summary,
            "DescribeLimits": control.describe_limits,
            "ListStreams": control.list_streams,
            "ListShards": lambda fields: list_shards(model, fields),
            "SplitShard": control.split_shard,
            "MergeShards": control.merge_shards,
            "UpdateShardCount": control.update_shard_count,
            "UpdateMaxRecordSize": control.update_max_record_size,
            "IncreaseStreamRetentionPeriod": control.increase_retention,
            "DecreaseStreamRetentionPeriod": control.decrease_retention,
            "AddTagsToStream": tags.add,
            "RemoveTagsFromStream": tags.remove,
            "ListTagsForStream": tags.list_page,
            "TagResource": tags.add,
            "UntagResource": tags.remove,
            "ListTagsForResource": tags.list_all,
        }

    def call(self, action: str, request: object, *, plan: FaultPlan = CALM) -> Answer:
        """Run one action under a plan of faults (its delay is the caller's to wait).

        Returns:
            The answer, or None for an action that has none.

        Raises:
            KinesisError: the answer is an error.
            ConnectionLost: the action is done, and its answer must not arrive.
        """
        if plan.error:
            raise KinesisError("InternalFailure", "Injected before the request was looked at.")
        fields = Fields(request)
        if action not in self._data:
            check(action, fields.all)
        try:
            answer = self._run(action, fields, plan)
        except KinesisError as error:
            # The data plane checks fields as it reads them, to save its time: here it is decided which error is told.
            if action in self._data and error.code in _OF_THE_REQUEST:
                check(action, fields.all)
            raise
        if plan.lost:
            raise ConnectionLost
        return answer

    def _run(self, action: str, fields: Fields, plan: FaultPlan) -> Answer:
        try:
            if action in self._data:
                return self._data[action](fields, plan)
            if action in self._control:
                return self._control[action](fields)
        except StorageError as error:
            raise KinesisError("InternalFailure", str(error)) from error
        raise KinesisError("UnknownOperationException", f"{action} is not an action of this data plane.")
