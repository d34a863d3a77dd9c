"""The errors of the DynamoDB API, as the wire carries them: a code, a message, an HTTP status.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html and each operation's
page (checked 2026-11-28); the messages are those of DynamoDB Local 3.1.0.
"""

from typing import Literal

Code = Literal[
    "ConditionalCheckFailedException",
    "DuplicateItemException",
    "ExpiredIteratorException",
    "InternalServerError",
    "ResourceInUseException",
    "ResourceNotFoundException",
    "SerializationException",
    "TrimmedDataAccessException",
    "UnknownOperationException",
    "ValidationException",
]
_NAMESPACES = {
    "ValidationException": "com.amazon.coral.validate",
    "SerializationException": "com.amazon.coral.service",
    "UnknownOperationException": "com.amazon.coral.service",
}
# What a statement of a batch answers instead.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html
_IN_A_BATCH = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "DuplicateItemException": "DuplicateItem",
    "ResourceNotFoundException": "ResourceNotFound",
    "ValidationException": "ValidationError",
}


class DynamoError(Exception):
    """An answer that is an error. ``item`` is the JSON of the item that stands there, where it was asked for."""

    def __init__(self, code: Code, message: str, *, item: str | None = None) -> None:
        self.code, self.message, self.item = code, message, item
        super().__init__(f"{code}: {message}")

    @property
    def status(self) -> int:
        """The HTTP status: every client's error is a 400, and only a server's own failure a 500."""
        return 500 if self.code == "InternalServerError" else 400

    @property
    def wire_type(self) -> str:
        """The ``__type`` of the answer."""
        return f"{_NAMESPACES.get(self.code, 'com.amazonaws.dynamodb.v20120810')}#{self.code}"

    @property
    def batch_code(self) -> str:
        """The code that a statement of BatchExecuteStatement answers."""
        return _IN_A_BATCH.get(self.code, self.code)


class DamagedError(Exception):
    """What was read is not what was written. Says where."""


def invalid(message: str) -> DynamoError:
    """Return the error of a request that is well formed and wrong."""
    return DynamoError("ValidationException", message)


def malformed(message: str) -> DynamoError:
    """Return the error of a body that is not the operation's form."""
    return DynamoError("SerializationException", message)


def no_table() -> DynamoError:
    """Return the error of a table that is not there."""
    return DynamoError("ResourceNotFoundException", "Cannot do operations on a non-existent table")
