"""The keys of the collector's function: read now and then, and never beyond the request that is being answered."""

import pytest

from producers.collector.function import KeptKeys
from streamgage.errors import RetryableError


def test_keys_are_not_waited_for_beyond_the_time_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked at once more for the answer's headers, when all of that may be gone and the batch is durable."""
    for name, value in {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    keys = KeptKeys("/keys", lambda: 0.0, left_s=lambda: 0.0)
    with pytest.raises(RetryableError, match="GetParameter: no time left"):
        keys()
