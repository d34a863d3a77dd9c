"""A start asks, and does not wait for who is silent."""

import threading

import pytest

from producers.client.distribution import check_distribution
from producers.client.patience import within
from streamgage.errors import ConfigError, RetryableError


def test_an_answer_is_returned_and_a_failure_raised() -> None:
    def fails() -> None:
        raise ConfigError("no such stream")

    assert within(lambda: 7) == 7
    assert within(lambda: None) is None
    with pytest.raises(ConfigError, match="no such stream"):
        within(fails)


def test_who_is_silent_is_left_to_himself() -> None:
    silent = threading.Event()
    try:
        with pytest.raises(RetryableError, match=r"no answer within 0.01 s"):
            within(silent.wait, 0.01)
    finally:
        silent.set()


def test_a_stream_that_distributes_by_itself_is_refused_by_a_start_that_does_not_wait() -> None:
    summary = {"StreamDescriptionSummary": {"RecordDistributionStrategy": "AUTO"}}
    with pytest.raises(ConfigError, match="AUTO"):
        check_distribution("events", lambda: summary, waits=False)
