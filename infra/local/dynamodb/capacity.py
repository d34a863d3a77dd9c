"""Units that a request consumes.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html (checked 2026-11-28).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from infra.local.dynamodb.errors import invalid

_WRITE_UNIT_BYTES, _READ_UNIT_BYTES = 1024, 4096
_MODES = ("INDEXES", "NONE", "TOTAL")


def write_units(size_bytes: int) -> float:
    """Return the units of a write: 1 kB each, rounded up, at least one. The larger of the item before and after."""
    return float(max(1, -(-size_bytes // _WRITE_UNIT_BYTES)))


def read_units(size_bytes: int, *, consistent: bool, least: int = 1) -> float:
    """Return the units of a read: 4 kB each, rounded up, half of that where it need not be *consistent*."""
    units = max(least, -(-size_bytes // _READ_UNIT_BYTES))
    return float(units) if consistent else units / 2


def mode_of(request: Mapping[str, Any]) -> str:
    """Return what the request wants to know. Raises: DynamoError."""
    mode = request.get("ReturnConsumedCapacity", "NONE")
    if mode not in _MODES:
        raise invalid(
            f"1 validation error detected: Value '{mode}' at 'returnConsumedCapacity' failed to satisfy constraint: "
            "Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
        )
    return str(mode)


def consumed(mode: str, table: str, units: float) -> dict[str, Any]:
    """Return what an answer says of *units*, as a part of it; {} where nobody asked."""
    return {} if mode == "NONE" else {"ConsumedCapacity": _told(mode, table, units)}


def consumed_by_tables(mode: str, units: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """Return what an answer says of *units* of several tables."""
    if mode == "NONE":
        return {}
    totals: dict[str, float] = {}
    for table, each in units:
        totals[table] = totals.get(table, 0.0) + each
    return {"ConsumedCapacity": [_told(mode, table, each) for table, each in totals.items()]}


def _told(mode: str, table: str, units: float) -> dict[str, Any]:
    told: dict[str, Any] = {"TableName": table, "CapacityUnits": units}
    if mode == "INDEXES":
        told["Table"] = {"CapacityUnits": units}
    return told
