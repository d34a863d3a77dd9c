"""An item as DynamoDB's API has it: ``{"fence": {"S": "…"}, …}``."""

from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any

from streamgage.errors import ConfigError
from streamgage.fold.items import StoredItem


def stored_item(attributes: Mapping[str, Any]) -> StoredItem:
    """Return the item that *attributes* describe; its body as base64, as in JSON, or as bytes, as boto3 gives it.

    Raises:
        ConfigError: another version of streamgage, or another program, wrote it.
    """
    try:
        body = attributes["body"]["B"]
        return StoredItem(
            fence=int(attributes["fence"]["S"]),
            counts=attributes["counts"]["S"],
            body=body if isinstance(body, bytes) else a2b_base64(body),
            expires_s=int(attributes["expires"]["N"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        place = " ".join(str(attributes.get(name, {}).get("S")) for name in ("pk", "sk"))
        raise ConfigError(
            f"the item {place} is not one of this version of streamgage ({type(error).__name__}: {error}): deploy the "
            "version that wrote it again, or give this one a table, or its rollups a generation, of its own"
        ) from error
