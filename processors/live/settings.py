"""The HTTP function's configuration: one value a process, from the environment, all problems at once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from streamgage.definition.pipeline import DEFAULT_CONSUMER
from streamgage.errors import ConfigError

_ORIGIN = re.compile(
    r"\*|https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the template sets. ``quarantine_url`` "": no queue is asked.

    ``origins``: whose pages may read answers from another origin; none: nobody's. ``keys_claim``: the claim of a caller's
    token that says which keys he may see; "": every caller sees all. ``connections_table``: where tickets for the WebSocket
    API are kept; "": it takes none.
    """

    stream: str
    table: str
    consumer: str
    pipeline: str
    quarantine_url: str = ""
    origins: tuple[str, ...] = ()
    keys_claim: str = ""
    connections_table: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings in *environment*. Raises: ConfigError with every problem."""
        problems: list[str] = []

        def text(name: str, default: str = "") -> str:
            value = environment.get(name, default)
            if not value:
                problems.append(f"{name} is not set")
            return value

        origins = tuple(filter(None, environment.get("STREAMGAGE_HTTP_ORIGINS", "").split(",")))
        settings = cls(
            stream=text("STREAMGAGE_STREAM"),
            table=text("STREAMGAGE_TABLE"),
            consumer=text("STREAMGAGE_CONSUMER", DEFAULT_CONSUMER),
            pipeline=text("STREAMGAGE_PIPELINE", "pipeline.toml"),
            quarantine_url=environment.get("QUARANTINE_QUEUE_URL", ""),
            origins=origins,
            keys_claim=environment.get("STREAMGAGE_KEYS_CLAIM", ""),
            connections_table=environment.get("CONNECTIONS_TABLE", ""),
        )
        problems += [
            f"STREAMGAGE_HTTP_ORIGINS: {each!r} is no origin, such as https://example.com; they stand with commas between"
            for each in origins
            if not _ORIGIN.fullmatch(each)
        ]
        if problems:
            raise ConfigError(*problems)
        return settings
