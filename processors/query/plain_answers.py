"""What DynamoDB answers, as its JSON has it: botocore would lead each attribute of each item through its model, in Python."""

import json
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

_CALLS = ("Query", "BatchGetItem")


def answer_plainly(client: Any) -> None:
    """Let the boto3 *client* return what those two calls answer as it came: binary values are base64, as text.

    By botocore's own event for this; a botocore without it goes on as before. A refusal, or what is no JSON, is botocore's.
    """
    for call in _CALLS:
        client.meta.events.register(f"before-parse.dynamodb.{call}", _decode, unique_id=f"streamgage-{call}")


def _decode(
    response_dict: MutableMapping[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    if response_dict["status_code"] != 200:
        return
    with suppress(ValueError):
        answer = json.loads(response_dict["body"])
        if isinstance(answer, dict):
            customized_response_dict |= answer
            response_dict["body"] = b""
