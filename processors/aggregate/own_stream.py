"""The stream is part of what is counted: a batch of another one is refused.

Sequence numbers of two streams are not to be compared: fences of the one would take records of the other for redelivered,
and answer success.
"""

from collections.abc import Callable
from typing import Any

from streamgage.errors import ConfigError

CheckStream = Callable[[Any], None]


def any_stream(_event: Any) -> None:
    """Take the batches of any stream: for a world with one."""


def check_of_stream(stream_arn: str) -> CheckStream:
    """Return the check of a Lambda event: whether its records are of the stream *stream_arn*, for every invocation.

    A consumer with enhanced fan-out (``<stream ARN>/consumer/<name>:<time>``) reads the same stream.

    Raises (the check):
        ConfigError: they are of another stream; the batch stays where it is until the wiring is mended.
    """
    fan_out = f"{stream_arn}/consumer/"

    def check(event: Any) -> None:
        records = event.get("Records") if isinstance(event, dict) else None
        if not isinstance(records, list):
            return  # whoever decodes it says what it is
        found = {each.get("eventSourceARN") for each in records if isinstance(each, dict)}
        for arn in found:
            if arn != stream_arn and not (isinstance(arn, str) and arn.startswith(fan_out)):
                raise ConfigError(
                    f"a batch of {arn}, and this function counts {stream_arn} (STREAMGAGE_STREAM_ARN): sequence numbers of two "
                    "streams cannot be told apart. Another stream, or a new one in its place, has a consumer of its own: "
                    "deploy it as another stack, and delete the mapping of this one"
                )

    return check
