"""Errors, classed by what the caller should do about them.

::

    StreamgageError
    ├── ConfigError      stop: a person has to change something
    │   └── TooMuchError     ask for less: the question is right, and its answer would be too large
    ├── PoisonRecord     quarantine the record with its reason, and go on
    ├── RetryableError   report it and be redelivered, or try again
    └── DeliveryError    (producer) carries what was not delivered

Each class, and each ``PoisonRecord``, has a ``code`` from a bounded set: it is also the metric dimension.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from streamgage.records import SealedRecord, UserRecord

PoisonCode = Literal[
    "bad_kpl_framing",  # a Kinesis record: broken protobuf, bad MD5, a key index that points nowhere
    "unknown_format",  # a user record that is neither Avro single-object nor JSON
    "unknown_schema",  # an Avro fingerprint that no schema of the pipeline has
    "undecodable",  # truncated or malformed Avro or JSON, or bytes left over
    "bad_value",  # NaN, infinity, or a number outside 38 digits
    "bad_time",  # an event time outside the years 1970 to 9999
    "future",  # later than arrival by more than max_future
    "late",  # earlier than arrival by more than max_lateness
    "bad_key",  # a rollup key that is too long to be stored
]
POISON_CODES: tuple[str, ...] = get_args(PoisonCode)


class StreamgageError(Exception):
    """The base of every error raised on purpose."""

    code = "error"


class ConfigError(StreamgageError):
    """Something a person has to change; carries every problem found, not only the first."""

    code = "config_error"

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class TooMuchError(ConfigError):
    """The question is right, and its answer would be too large: ask for less."""


class PoisonRecord(StreamgageError):
    """A record that fails the same way on every delivery. Quarantine it and go on."""

    code: PoisonCode

    def __init__(self, code: PoisonCode, reason: str) -> None:
        self.code: PoisonCode = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class RetryableError(StreamgageError):
    """A failure that may pass: throttling, a timeout, no time left. Report it and be redelivered."""

    code = "retryable"


class DeliveryError(StreamgageError):
    """Some user records were not delivered; ``undelivered`` holds each of them, in the order they were put.

    ``sealed`` holds the same as Kinesis records with their marks. Send these again, not the user records: what was stored
    after all then counts once. Of who seals nothing, each is a user record as it is.
    """

    code = "undelivered"

    def __init__(
        self,
        message: str,
        undelivered: Sequence[UserRecord],
        sealed: Sequence[SealedRecord] | None = None,
    ) -> None:
        self.undelivered = tuple(undelivered)
        if sealed is None:
            sealed = [
                SealedRecord(each.partition_key, each.data, each.explicit_hash_key, each.events)
                for each in self.undelivered
            ]
        self.sealed = tuple(sealed)
        super().__init__(message)


def without_password(url: str) -> str:
    """Return *url* with what stands before an ``@`` of its authority left out: it may be a password.

    Also of what is no URL, or has a slash within the password: everything up to the last ``@`` goes.
    """
    scheme, slashes, rest = url.partition("//")
    if "@" not in rest:
        return url
    return f"{scheme}{slashes}…@{rest.rpartition('@')[2]}"
