"""What a code of AWS means for who sends: try again, wait for credentials, or a person has to change something.

Codes of the API: https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html and
https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html (checked 2026-11-29).
"""

from producers.client.ports import CredentialsRefused, Throttled
from streamgage.errors import ConfigError, RetryableError, StreamgageError

# Of a whole request. What else answers with a status below 500 is for a person to mend.
THROTTLED_CODES = {
    "KMSThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_PASSING_CODES = {
    "ExpiredNextTokenException",
    "InternalFailureException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ResourceInUseException",
}
# They were right and are no more: the next that are found may be.
_EXPIRED_CODES = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "TokenRefreshRequired",
}
# Of a signature that is wrong, or too old or too new: only the message says which.
_SIGNATURE_CODES = {
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "AuthFailure",
}
_SIGNATURE_TIMES = ("signature expired", "signature not yet current", "signature has expired")
# Of keys that nobody knows: wrong, or so new that not all of AWS knows them, or just taken away in a rotation.
_UNKNOWN_KEY_CODES = {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"}


def meaning_of(code: str, status: int, message: str, *, worked: bool) -> StreamgageError:
    """Return what an answer with *code* and HTTP *status* means. *worked*: credentials were taken before."""
    if code in THROTTLED_CODES or status == 429:
        return Throttled(message)
    if code in _EXPIRED_CODES or (worked and code in _UNKNOWN_KEY_CODES):
        return CredentialsRefused(message)
    if code in _SIGNATURE_CODES and any(each in message.lower() for each in _SIGNATURE_TIMES):
        return CredentialsRefused(f"{message} (is this machine's clock right?)")
    if code in _PASSING_CODES or status >= 500:
        return RetryableError(message)
    return ConfigError(message)
