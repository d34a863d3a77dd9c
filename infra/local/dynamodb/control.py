"""Operations on tables.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html and its neighbours (checked
2026-11-28). A table is there, or gone, when the answer is: no status between.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from infra.local.dynamodb.errors import DynamoError, invalid
from infra.local.dynamodb.keys import KEY_TYPES
from infra.local.dynamodb.requests import (
    Request,
    checked_name,
    encode,
    flag,
    limit,
    members,
    refuse,
    structure,
    table_name,
    table_of,
)
from infra.local.dynamodb.store import Store
from infra.local.dynamodb.table import Table

_NOT_CARRIED_OUT = (
    "GlobalSecondaryIndexes",
    "GlobalSecondaryIndexUpdates",
    "GlobalTableWitnessUpdates",
    "LocalSecondaryIndexes",
    "ReplicaUpdates",
)
_VIEWS = ("KEYS_ONLY", "NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE")
_BILLING = ("PAY_PER_REQUEST", "PROVISIONED")
_MOST_TABLES = 100  # of an answer


class ControlActions:
    """The operations on tables; *clock_ms* tells when one is created."""

    def __init__(self, store: Store, *, clock_ms: Callable[[], int], region: str, account: str) -> None:
        self._store, self._clock_ms = store, clock_ms
        self._arn = f"arn:aws:dynamodb:{region}:{account}:table/"

    def create_table(self, request: Request) -> bytes:
        """Create a table. What only a bill, or a key of KMS, would tell is taken and ignored."""
        refuse(request, *_NOT_CARRIED_OUT)
        name = table_name(request)
        stored = {
            **_keys(request),
            **_billing(request),
            "DeletionProtectionEnabled": flag(request, "DeletionProtectionEnabled"),
        }
        if _wants_stream(request):
            stored["Stream"] = self._label()
        with self._store.transaction():
            if self._store.table(name) is not None:
                raise DynamoError("ResourceInUseException", "Cannot create preexisting table")
            table = self._store.create(name, stored, created_ms=self._clock_ms())
            return encode({"TableDescription": self._described(table)})

    def describe_table(self, request: Request) -> bytes:
        """Describe a table; its items are counted at the asking."""
        table = table_of(self._store, request)
        with self._store.reading():
            return encode({"Table": self._described(table)})

    def update_table(self, request: Request) -> bytes:
        """Change the protection against deletion, how it is billed, or whether it has a stream: one that is ended is gone."""
        refuse(request, *_NOT_CARRIED_OUT)
        with self._store.transaction():
            table = table_of(self._store, request)
            changes: dict[str, Any] = {}
            if "DeletionProtectionEnabled" in request:
                changes["DeletionProtectionEnabled"] = flag(request, "DeletionProtectionEnabled")
            if "BillingMode" in request or "ProvisionedThroughput" in request:
                changes |= _billing({"BillingMode": table.stored["BillingMode"], **request})
            if request.get("StreamSpecification") is not None:
                changes["Stream"] = self._changed_stream(table, wanted=_wants_stream(request))
            if not changes:
                raise invalid("Nothing to update: no change that this engine carries out was specified")
            table = self._store.change(table, {**table.stored, **changes})
            return encode({"TableDescription": self._described(table)})

    def delete_table(self, request: Request) -> bytes:
        """Delete a table with its items."""
        with self._store.transaction():
            table = table_of(self._store, request)
            if table.stored["DeletionProtectionEnabled"]:
                raise invalid(
                    "Resource cannot be deleted as it is currently protected against deletion. "
                    "Disable deletion protection first."
                )
            described = self._described(table, status="DELETING")
            self._store.drop(table)
            return encode({"TableDescription": described})

    def list_tables(self, request: Request) -> bytes:
        """List names of tables, in their order."""
        most = limit(request) or _MOST_TABLES
        if most > _MOST_TABLES:
            raise invalid(f"Limit must be less than or equal to {_MOST_TABLES}")
        after = request.get("ExclusiveStartTableName")
        names = self._store.names()
        if after is not None:
            checked_name(after)
            names = [each for each in names if each > after]
        answer: dict[str, Any] = {"TableNames": names[:most]}
        if len(names) > most:
            answer["LastEvaluatedTableName"] = names[most - 1]
        return encode(answer)

    def describe_time_to_live(self, request: Request) -> bytes:
        """Tell which attribute says when an item is to be deleted."""
        table = table_of(self._store, request)
        told: dict[str, Any] = {"TimeToLiveStatus": "DISABLED"}
        if table.ttl_attribute is not None:
            told = {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl_attribute}
        return encode({"TimeToLiveDescription": told})

    def update_time_to_live(self, request: Request) -> bytes:
        """Say which attribute it is, or that none is."""
        specification = structure(request.get("TimeToLiveSpecification"), "TimeToLiveSpecification")
        enabled, attribute = flag(specification, "Enabled"), specification.get("AttributeName")
        if not isinstance(attribute, str) or not 0 < len(attribute) <= 255:
            raise invalid("TimeToLiveSpecification: AttributeName must have 1 to 255 characters")
        with self._store.transaction():
            table = table_of(self._store, request)
            known = table.ttl_attribute
            if known is None and not enabled:
                raise invalid("TimeToLive is already disabled")
            if known not in (None, attribute):
                raise invalid("TimeToLive is active on a different AttributeName")
            if known is not None and enabled:
                raise invalid("TimeToLive is already enabled")
            stored = {**table.stored, "TimeToLive": attribute if enabled else None}
            self._store.change(table, stored)
        return encode({"TimeToLiveSpecification": {"Enabled": enabled, "AttributeName": attribute}})

    def describe_continuous_backups(self, request: Request) -> bytes:
        """Tell that there are none."""
        table_of(self._store, request)
        return encode(
            {
                "ContinuousBackupsDescription": {
                    "ContinuousBackupsStatus": "DISABLED",
                    "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
                }
            }
        )

    def _changed_stream(self, table: Table, *, wanted: bool) -> str | None:
        if wanted and table.stream:
            raise invalid(f"Table already has an enabled stream: TableName: {table.name}")
        if not wanted and not table.stream:
            raise invalid(f"Table has no stream to disable: TableName: {table.name}")
        return self._label() if wanted else None

    def _label(self) -> str:
        """Return the name of a stream that begins now."""
        at = datetime.fromtimestamp(self._clock_ms() / 1000, UTC)
        return at.isoformat(timespec="milliseconds").removesuffix("+00:00")

    def _described(self, table: Table, status: str = "ACTIVE") -> dict[str, Any]:
        stored = table.stored
        count, size = self._store.measure(table)
        described: dict[str, Any] = {
            "AttributeDefinitions": stored["AttributeDefinitions"],
            "TableName": table.name,
            "KeySchema": stored["KeySchema"],
            "TableStatus": status,
            "CreationDateTime": table.created_ms / 1000,
            "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, **stored["ProvisionedThroughput"]},
            "TableSizeBytes": size,
            "ItemCount": count,
            "TableArn": self._arn + table.name,
            "TableId": f"{self._store.identity.identity}-{table.number}",
            "DeletionProtectionEnabled": stored["DeletionProtectionEnabled"],
        }
        if table.stream:
            described |= {
                "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
                "LatestStreamLabel": table.stream,
                "LatestStreamArn": f"{self._arn}{table.name}/stream/{table.stream}",
            }
        if stored["BillingMode"] == "PAY_PER_REQUEST":
            described["BillingModeSummary"] = {
                "BillingMode": "PAY_PER_REQUEST",
                "LastUpdateToPayPerRequestDateTime": table.created_ms / 1000,
            }
        return described


def _keys(request: Request) -> dict[str, Any]:
    """Return key schema and attribute definitions, checked."""
    elements = [structure(each, "KeySchema") for each in members(request, "KeySchema")]
    definitions = [
        structure(each, "AttributeDefinitions") for each in members(request, "AttributeDefinitions")
    ]
    kinds = {each.get("AttributeName"): each.get("AttributeType") for each in definitions}
    if not kinds:
        raise invalid("No Attribute Schema Defined")
    if not set(kinds.values()) <= set(KEY_TYPES):
        raise invalid(f"Member must satisfy enum value set: [{', '.join(KEY_TYPES)}]")
    roles = [each.get("KeyType") for each in elements]
    if roles.count("HASH") == 0:
        raise invalid("No Hash Key specified in schema.  All Dynamo DB tables must have exactly one hash key")
    if roles.count("HASH") > 1:
        raise invalid("Too many hash keys specified.  All Dynamo DB tables must have exactly one hash key")
    if roles not in (["HASH"], ["HASH", "RANGE"]):
        raise invalid(
            "Invalid key order.  Hash Key must be specified first in key schema, then at most one Range Key"
        )
    names = [each.get("AttributeName") for each in elements]
    for role, name in zip(("Hash", "Range"), names, strict=False):
        if name not in kinds:
            raise invalid(f"{role} Key not specified in Attribute Definitions.  Type unknown.")
    if len(set(names)) < len(names):
        raise invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
    if len(kinds) != len(names):
        raise invalid(
            "The number of attributes in key schema must match the number of attributes defined in "
            "attribute definitions."
        )
    return {
        "KeySchema": [
            {"AttributeName": name, "KeyType": role} for name, role in zip(names, roles, strict=True)
        ],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kinds[name]} for name in kinds],
    }


def _wants_stream(request: Request) -> bool:
    """Return whether the table is to have a stream. Raises: DynamoError: one that this engine does not keep."""
    specification = structure(request.get("StreamSpecification") or {}, "StreamSpecification")
    enabled, view = flag(specification, "StreamEnabled"), specification.get("StreamViewType")
    if view is not None and view not in _VIEWS:
        raise invalid(f"StreamViewType: Member must satisfy enum value set: [{', '.join(_VIEWS)}]")
    if enabled is (view is None):
        raise invalid("A StreamViewType is given where StreamEnabled is true, and only there")
    if enabled and view != "KEYS_ONLY":
        raise invalid(
            f"StreamViewType {view} is not carried out by this engine, which keeps the keys of what changed (KEYS_ONLY); "
            "streamgage up --dynamodb local has it"
        )
    return enabled


def _billing(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a table is billed: nothing here is throttled by it."""
    mode = request.get("BillingMode") or "PROVISIONED"
    if mode not in _BILLING:
        raise invalid(f"Member must satisfy enum value set: [{', '.join(_BILLING)}]")
    throughput = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
    if mode == "PROVISIONED":
        given = request.get("ProvisionedThroughput")
        if given is None:
            raise invalid("No provisioned throughput specified for the table")
        given = structure(given, "ProvisionedThroughput")
        throughput = {name: limit(given, name) or 0 for name in throughput}
    return {"BillingMode": mode, "ProvisionedThroughput": throughput}
