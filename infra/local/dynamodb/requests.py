"""Fields of a request, and JSON one way and the other."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from infra.local.dynamodb.errors import invalid, malformed, no_table
from infra.local.dynamodb.store import Store
from infra.local.dynamodb.table import Table

Request = Mapping[str, Any]

ITEM_BYTES = 400 * 1024
_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}").fullmatch
_WRONG_NAME = (
    "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, "
    "and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'"
)
encode_text = json.JSONEncoder(separators=(",", ":")).encode


def decode(body: bytes) -> Request:
    """Return the request that *body* is. Raises: DynamoError."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise malformed("the body is not a JSON object")
    return request


def encode(answer: Mapping[str, Any]) -> bytes:
    """Return *answer* as JSON."""
    return encode_text(answer).encode("ascii")


def with_raw(answer: Mapping[str, Any], **raw: bytes | Iterable[bytes] | None) -> bytes:
    """Return *answer* as JSON with members that are JSON already: a value, or the elements of a list; None: none."""
    parts = []
    for name, value in raw.items():
        if value is not None:
            text = value if isinstance(value, bytes) else b"[" + b",".join(value) + b"]"
            parts.append(b'"%s":%s' % (name.encode("ascii"), text))
    if answer:
        parts.append(encode(answer)[1:-1])
    return b"{" + b",".join(parts) + b"}"


def table_name(request: Request, field: str = "TableName") -> str:
    """Return the name in *field*. Raises: DynamoError."""
    name = request.get(field)
    if name is None:
        shown = field[0].lower() + field[1:]
        raise invalid(f"Value null at '{shown}' failed to satisfy constraint: Member must not be null")
    return checked_name(name)


def checked_name(name: object) -> str:
    """Return *name* where it can be a table's. Raises: DynamoError."""
    if not isinstance(name, str):
        raise malformed("TableName is not a text")
    if not _NAME(name):
        raise invalid(_WRONG_NAME)
    return name


def table_named(store: Store, name: object) -> Table:
    """Return the table *name*. Raises: DynamoError: there is none."""
    table = store.table(checked_name(name))
    if table is None:
        raise no_table()
    return table


def table_of(store: Store, request: Request) -> Table:
    """Return the table of *request*. Raises: DynamoError: there is none."""
    return table_named(store, table_name(request))


def flag(request: Request, field: str, *, default: bool = False) -> bool:
    """Return a true or false. Raises: DynamoError."""
    value = request.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise malformed(f"{field} is neither true nor false")
    return value


def limit(request: Request, field: str = "Limit") -> int | None:
    """Return the number of *field*, from 1 on; None where there is none. Raises: DynamoError."""
    value = request.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise malformed(f"{field} is not a whole number")
    if value < 1:
        raise invalid(f"{field} must be greater than or equal to 1")
    return value


def members(request: Request, field: str) -> list[Any]:
    """Return the list in *field*; empty where there is none. Raises: DynamoError."""
    value = request.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise malformed(f"{field} is not a list")
    return value


def structure(value: object, what: str) -> dict[str, Any]:
    """Return *value*, which is a map. Raises: DynamoError."""
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a map")
    return value


def check_return_values(request: Request, allowed: tuple[str, ...]) -> str:
    """Return which attributes are to come back. Raises: DynamoError."""
    wanted = request.get("ReturnValues") or "NONE"
    if wanted not in allowed:
        raise invalid("Return values set to invalid value")
    return str(wanted)


def wants_old_on_failure(request: Request) -> bool:
    """Tell whether the item that stands there is to come back where a condition failed. Raises: DynamoError."""
    wanted = request.get("ReturnValuesOnConditionCheckFailure") or "NONE"
    if wanted not in ("ALL_OLD", "NONE"):
        raise invalid(
            f"1 validation error detected: Value '{wanted}' at 'returnValuesOnConditionCheckFailure' failed to "
            "satisfy constraint: Member must satisfy enum value set: [ALL_OLD, NONE]"
        )
    return bool(wanted == "ALL_OLD")


def refuse(request: Request, *fields: str) -> None:
    """Refuse *fields*, which this engine does not carry out: an answer without them would be wrong."""
    for each in fields:
        if request.get(each) not in (None, [], {}, "NONE"):
            raise invalid(f"{each} is not carried out by this engine; streamgage up --dynamodb local has it")
