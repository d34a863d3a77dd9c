"""The configuration of the two functions of the live updates: one value a process, all problems at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamgage.definition.pipeline import DEFAULT_CONSUMER
from streamgage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the template sets. ``socket_endpoint`` "": of the function that sends nothing.

    ``takes_tickets``: who connects has a ticket, for API Gateway does not ask who he is.
    """

    connections_table: str
    consumer: str
    pipeline: str
    socket_endpoint: str = ""
    takes_tickets: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str], *, pushes: bool = True) -> "LiveSettings":
        """Return the settings in *environment*; *pushes*: of the function that sends. Raises: ConfigError with every problem."""
        problems: list[str] = []

        def text(name: str, default: str = "") -> str:
            value = environment.get(name, default)
            if not value:
                problems.append(f"{name} is not set")
            return value

        def flag(name: str) -> bool:
            value = environment.get(name, "false")
            if value not in ("true", "false"):
                problems.append(f"{name} is {value!r}: it is true or false")
            return value == "true"

        settings = cls(
            connections_table=text("CONNECTIONS_TABLE"),
            consumer=text("STREAMGAGE_CONSUMER", DEFAULT_CONSUMER),
            pipeline=text("STREAMGAGE_PIPELINE", "pipeline.toml"),
            socket_endpoint=text("SOCKET_ENDPOINT") if pushes else "",
            takes_tickets=not pushes and flag("SOCKET_TICKETS"),
        )
        if problems:
            raise ConfigError(*problems)
        return settings
