"""Sparkplug B payloads by the protobuf library, from its published schema: what our decoder is compared with.

Source: https://github.com/eclipse-tahu/tahu/blob/master/sparkplug_b/sparkplug_b.proto (checked 2026-11-29).
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_NUMBERS = descriptor_pb2.FieldDescriptorProto
_PAYLOAD = (
    ("timestamp", 1, "UINT64"),
    ("metrics", 2, "Metric"),
    ("seq", 3, "UINT64"),
    ("uuid", 4, "STRING"),
    ("body", 5, "BYTES"),
)
_METRIC = (
    ("name", 1, "STRING"),
    ("alias", 2, "UINT64"),
    ("timestamp", 3, "UINT64"),
    ("datatype", 4, "UINT32"),
    ("is_historical", 5, "BOOL"),
    ("is_transient", 6, "BOOL"),
    ("is_null", 7, "BOOL"),
)
_VALUES = (
    ("int_value", 10, "UINT32"),
    ("long_value", 11, "UINT64"),
    ("float_value", 12, "FLOAT"),
    ("double_value", 13, "DOUBLE"),
    ("boolean_value", 14, "BOOL"),
    ("string_value", 15, "STRING"),
    ("bytes_value", 16, "BYTES"),
    ("dataset_value", 17, "DataSet"),
)


def _made() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    file.message_type.add(name="DataSet").field.add(
        name="num_of_columns", number=1, label=_NUMBERS.LABEL_OPTIONAL, type=_NUMBERS.TYPE_UINT64
    )
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for name, number, kind in (*_METRIC, *_VALUES):
        field = _field(metric, name, number, kind)
        if (name, number, kind) in _VALUES:
            field.oneof_index = 0
    payload = file.message_type.add(name="Payload")
    for name, number, kind in _PAYLOAD:
        _field(payload, name, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sparkplug.Payload"))


def _field(message: Any, name: str, number: int, kind: str) -> Any:
    repeated = _NUMBERS.LABEL_REPEATED if name == "metrics" else _NUMBERS.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=repeated)
    if kind in ("Metric", "DataSet"):
        field.type, field.type_name = _NUMBERS.TYPE_MESSAGE, f".sparkplug.{kind}"
    else:
        field.type = getattr(_NUMBERS, f"TYPE_{kind}")
    return field


Payload = _made()


def payload(
    *metrics: dict[str, Any], seq: int | None = None, timestamp: int | None = 1_767_225_600_000
) -> bytes:
    """Return the bytes of a payload."""
    made = Payload()
    if timestamp is not None:
        made.timestamp = timestamp
    if seq is not None:
        made.seq = seq
    for each in metrics:
        made.metrics.add(**each)
    return bytes(made.SerializeToString())
