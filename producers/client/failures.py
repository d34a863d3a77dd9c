"""What a failed call of Kinesis by boto3 means: try again, wait for credentials, or a person has to change something.

Source: botocore's ``exceptions`` and ``credentials`` modules (checked 2026-11-29); what Kinesis itself answers: ``refusals``.
"""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    LoginError,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from producers.client.ports import CredentialsRefused
from producers.client.refusals import meaning_of
from streamgage.errors import ConfigError, RetryableError, StreamgageError, without_password

# Whoever gives out the credentials did not answer as it should.
_NOT_GIVEN_OUT = (CredentialRetrievalError, MetadataRetrievalError, TokenRetrievalError)
# There are none, or they wait for a person: a session to be opened again, a file that is just being written.
_NOT_THERE = (LoginError, NoAuthTokenError, NoCredentialsError, PartialCredentialsError, SSOError)
_STILL_EXPIRED = "refreshed credentials are still expired"  # a RuntimeError of botocore.credentials

CALL_ERRORS = (BotoCoreError, ClientError, HTTPClientError, ResponseParserError, RuntimeError)
"""What a call of a client raises."""


def classify(error: Exception, what: str, *, worked: bool) -> StreamgageError | None:
    """Return what *error* of the call *what* means to us; None where it is none of CALL_ERRORS that we know.

    *worked* says whether these credentials, or some before them, were ever taken: keys that nobody knows, or that are not
    there, are a mistake where they never were.
    """
    message = f"{what}: {without_password(str(error))}"
    if isinstance(error, ClientError):
        return _classify_answer(error, f"{what}: {error}", worked=worked)
    if isinstance(error, _NOT_GIVEN_OUT) or (worked and isinstance(error, _NOT_THERE)):
        return CredentialsRefused(message)
    if isinstance(error, BotoConnectionError | HTTPClientError | IncompleteReadError | ResponseParserError):
        return RetryableError(message)
    if isinstance(error, BotoCoreError):  # no credentials, no region, a parameter that botocore refuses
        return ConfigError(f"{what}: {error}")
    return CredentialsRefused(message) if _STILL_EXPIRED in str(error) else None


def _classify_answer(error: ClientError, message: str, *, worked: bool) -> StreamgageError:
    answer = error.response.get("Error", {})
    code, status = (
        answer.get("Code", ""),
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
    )
    return meaning_of(code, status, message, worked=worked)
