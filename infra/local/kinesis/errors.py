"""The errors of the Kinesis API, as the wire carries them: a code, a message, an HTTP status.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html and each action's page.
"""

from collections.abc import Sequence
from typing import Literal

_SHOWN_CHARS = 1000

Code = Literal[
    "ExpiredIteratorException",
    "ExpiredNextTokenException",
    "InternalFailure",
    "InvalidArgumentException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ResourceInUseException",
    "ResourceNotFoundException",
    "SerializationException",
    "UnknownOperationException",
    "ValidationException",
]


class KinesisError(Exception):
    """An answer that is an error; the client decides what to do with its ``code``."""

    def __init__(self, code: Code, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")

    @property
    def status(self) -> int:
        """The HTTP status: every client's error is a 400, and only a server's own failure a 500."""
        return 500 if self.code == "InternalFailure" else 400


class StorageError(Exception):
    """The disk refused; nothing of this write is stored, and nothing of it was acknowledged."""


class DamageError(StorageError):
    """What is read is not what was written: says where. It does not mend itself; see ``streamgage doctor``."""


class FrameDamage(DamageError):
    """Records of a segment are damaged, ``first`` to ``last`` by their counters; what follows them is whole."""

    def __init__(self, message: str, *, first: int, last: int) -> None:
        self.first, self.last = first, last
        super().__init__(message)


class ConnectionLost(Exception):
    """An injected fault: the work is done, and the answer must never arrive."""


def invalid(message: str) -> KinesisError:
    """Return the error of an argument that is well formed and wrong here."""
    return KinesisError("InvalidArgumentException", message)


def not_found(message: str) -> KinesisError:
    """Return the error of a stream or shard that is not there."""
    return KinesisError("ResourceNotFoundException", message)


def constraint(field: str, value: object, rule: str) -> KinesisError:
    """Return the error of a field that breaks its shape's constraint, worded as AWS words it."""
    return broken([problem(field, value, rule)])


def problem(field: str, value: object, rule: str) -> str:
    """Return what AWS says of one field that breaks a constraint; a long value is cut."""
    shown = "null" if value is None else f"'{str(value)[:_SHOWN_CHARS]}'"
    return (
        f"Value {shown} at '{field[:1].lower()}{field[1:]}' failed to satisfy constraint: Member must {rule}"
    )


def broken(problems: Sequence[str]) -> KinesisError:
    """Return the error of all fields that break constraints, worded as AWS words it."""
    errors = "error" if len(problems) == 1 else "errors"
    return KinesisError(
        "ValidationException", f"{len(problems)} validation {errors} detected: {'; '.join(problems)}"
    )
