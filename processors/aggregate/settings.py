"""The aggregate function's configuration: one value a process, from the environment, all problems at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamgage.definition.pipeline import DEFAULT_CONSUMER
from streamgage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Settings:
    """What the template sets. A test compares the names with the template's.

    ``lanes`` is "shard" where the mapping's ParallelizationFactor is 1, else "partition_key".
    """

    stream: str
    table: str
    quarantine_url: str
    quarantine_bucket: str
    pipeline: str
    lanes: str
    write_concurrency: int
    stream_arn: str
    consumer: str
    retention_hours: int
    from_first_record: bool = True

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings in *environment*. Raises: ConfigError with every problem."""
        problems: list[str] = []

        def text(name: str, default: str = "") -> str:
            value = environment.get(name, default)
            if not value:
                problems.append(f"{name} is not set")
            return value

        def one_of(name: str, *choices: str) -> str:
            value = environment.get(name, choices[0])
            if value not in choices:
                problems.append(f"{name} is {value!r}; it is one of {', '.join(choices)}")
            return value

        def number(name: str, default: int, low: int, high: int) -> int:
            value = environment.get(name, str(default))
            if not value.isdecimal() or not low <= int(value) <= high:
                problems.append(f"{name} is {value!r}; it is a whole number from {low} to {high}")
                return default
            return int(value)

        settings = cls(
            stream=text("STREAMGAGE_STREAM"),
            table=text("STREAMGAGE_TABLE"),
            quarantine_url=text("STREAMGAGE_QUARANTINE_URL"),
            quarantine_bucket=text("STREAMGAGE_QUARANTINE_BUCKET"),
            pipeline=text("STREAMGAGE_PIPELINE", "pipeline.toml"),
            lanes=one_of("STREAMGAGE_LANES", "shard", "partition_key"),
            write_concurrency=number("STREAMGAGE_WRITE_CONCURRENCY", 16, 1, 64),
            stream_arn=text("STREAMGAGE_STREAM_ARN"),
            consumer=text("STREAMGAGE_CONSUMER", DEFAULT_CONSUMER),
            retention_hours=number("STREAMGAGE_RETENTION_HOURS", 24, 24, 8760),
            from_first_record=one_of("STREAMGAGE_STARTING_POSITION", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
            == "TRIM_HORIZON",
        )
        if problems:
            raise ConfigError(*problems)
        return settings
