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
    token that says which keys he may see; "": every caller sees all.
    """

    stream: str
    table: str
    consumer: str
    pipeline: str
    quarantine_url: str = ""
    origins: tuple[str, ...] = ()
    keys_claim: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings in *environment*. Raises: ConfigError with every problem."""
        needed = ("STREAMGAGE_STREAM", "STREAMGAGE_TABLE")
        problems = [f"{name} is not set" for name in needed if not environment.get(name)]
        origins = tuple(filter(None, environment.get("STREAMGAGE_HTTP_ORIGINS", "").split(",")))
        problems += [
            f"STREAMGAGE_HTTP_ORIGINS: {each!r} is no origin, such as https://example.com; they stand with commas between"
            for each in origins
            if not _ORIGIN.fullmatch(each)
        ]
        if problems:
            raise ConfigError(*problems)
        return cls(
            stream=environment["STREAMGAGE_STREAM"],
            table=environment["STREAMGAGE_TABLE"],
            consumer=environment.get("STREAMGAGE_CONSUMER") or DEFAULT_CONSUMER,
            pipeline=environment.get("STREAMGAGE_PIPELINE") or "pipeline.toml",
            quarantine_url=environment.get("QUARANTINE_QUEUE_URL", ""),
            origins=origins,
            keys_claim=environment.get("STREAMGAGE_KEYS_CLAIM", ""),
        )
