import pytest

from processors.aggregate.settings import Settings
from streamgage.errors import ConfigError
from support.fakes import STREAM_ARN

NEEDED = {
    "STREAMGAGE_STREAM": "telemetry",
    "STREAMGAGE_TABLE": "aggregates",
    "STREAMGAGE_QUARANTINE_URL": "http://127.0.0.1/q",
    "STREAMGAGE_STREAM_ARN": STREAM_ARN,
    "STREAMGAGE_QUARANTINE_BUCKET": "failed-batches",
}


def test_defaults_are_the_safe_ones() -> None:
    assert Settings.of(NEEDED) == Settings(
        "telemetry",
        "aggregates",
        "http://127.0.0.1/q",
        "failed-batches",
        "pipeline.toml",
        "shard",
        16,
        STREAM_ARN,
        "main",
        24,
    )


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Settings.of(
            {
                "STREAMGAGE_TABLE": "",
                "STREAMGAGE_LANES": "hash",
                "STREAMGAGE_WRITE_CONCURRENCY": "many",
                "STREAMGAGE_RETENTION_HOURS": "23",
                "STREAMGAGE_CONSUMER": "",
            }
        )
    assert error.value.problems == (
        "STREAMGAGE_STREAM is not set",
        "STREAMGAGE_TABLE is not set",
        "STREAMGAGE_QUARANTINE_URL is not set",
        "STREAMGAGE_QUARANTINE_BUCKET is not set",
        "STREAMGAGE_LANES is 'hash'; it is one of shard, partition_key",
        "STREAMGAGE_WRITE_CONCURRENCY is 'many'; it is a whole number from 1 to 64",
        "STREAMGAGE_STREAM_ARN is not set",
        "STREAMGAGE_CONSUMER is not set",
        "STREAMGAGE_RETENTION_HOURS is '23'; it is a whole number from 24 to 8760",
    )


@pytest.mark.parametrize("number", ["0", "65", "-1", "1.5", "²", ""])
def test_a_concurrency_out_of_range_is_refused(number: str) -> None:
    with pytest.raises(ConfigError, match="STREAMGAGE_WRITE_CONCURRENCY"):
        Settings.of({**NEEDED, "STREAMGAGE_WRITE_CONCURRENCY": number})
