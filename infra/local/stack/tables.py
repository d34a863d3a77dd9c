"""The tables of the template in an engine of their own, instead of in the emulator of everything else."""

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

from infra.local.stack.home import Home, read_json, write_json
from streamgage.errors import ConfigError

# What CloudFormation and CreateTable call by one name. Point-in-time recovery, DynamoDB Local does not have.
_PROPERTIES = (
    "AttributeDefinitions",
    "BillingMode",
    "GlobalSecondaryIndexes",
    "KeySchema",
    "LocalSecondaryIndexes",
    "ProvisionedThroughput",
)


class Engine(Enum):
    """What holds the tables: our own, AWS's own (both survive SIGKILL), or the emulator of everything else."""

    EMBEDDED = "embedded"
    LOCAL = "local"
    MINISTACK = "ministack"

    @property
    def is_apart(self) -> bool:
        """Tell whether it is a process of its own, which the emulator does not know."""
        return self is not Engine.MINISTACK


def keep_engine(home: Home, engine: Engine) -> None:
    """Note the engine of this home's tables.

    Raises:
        ConfigError: what was read of the stream is in the tables of another: this one would lack it for ever.
    """
    noted = (read_json(home.dynamodb_file) or {}).get("engine", _engine_there(home).value)
    if noted != engine.value and home.checkpoint_file.exists():
        raise ConfigError(
            f"the tables of {home.root} are in another engine, and the stream is not read twice. Go on with it: "
            f"streamgage up --dynamodb {noted}. Or start afresh: rm -r {home.root}"
        )
    write_json(home.dynamodb_file, {"engine": engine.value})


def _engine_there(home: Home) -> Engine:
    """Return the engine whose files are in this home: its note was deleted, or never was."""
    if (home.tables_data / "tables.db").exists():
        return Engine.EMBEDDED
    return Engine.LOCAL if home.dynamodb_data.exists() else Engine.MINISTACK


def create_table(client: Any, name: str, properties: Mapping[str, Any]) -> None:
    """Create table *name* as the template's *properties* say, where it is not there; its items are kept.

    A table that was there gets the stream that the template gives it by now.
    """
    wanted = {key: properties[key] for key in _PROPERTIES if key in properties}
    stream = properties.get("StreamSpecification")
    if stream:  # CloudFormation says only what is in it
        wanted["StreamSpecification"] = {"StreamEnabled": True, **stream}
    with suppress(client.exceptions.ResourceInUseException):
        client.create_table(TableName=name, **wanted)
    if stream and not client.describe_table(TableName=name)["Table"].get("StreamSpecification"):
        client.update_table(TableName=name, StreamSpecification=wanted["StreamSpecification"])
    ttl = properties.get("TimeToLiveSpecification")
    told = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"]
    if ttl and told == "DISABLED":
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
