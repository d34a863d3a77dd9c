"""The collector function's configuration: one value a process, from the environment, all problems at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamgage.errors import ConfigError

_TRUE = {"true": True, "false": False, "": False}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the template sets. ``keys_parameter`` "": nobody is let in, unless the local stack says that anybody is."""

    stream: str
    table: str
    keys_parameter: str
    pipeline: str
    one_key_per_record: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings in *environment*. Raises: ConfigError with every problem."""
        problems = [
            f"{name} is not set" for name in ("STREAM", "IDEMPOTENCY_TABLE") if not environment.get(name)
        ]
        one_key = environment.get("STREAMGAGE_ONE_KEY_PER_RECORD", "")
        keys_parameter = environment.get("KEYS_PARAMETER", "")
        pipeline = environment.get("STREAMGAGE_PIPELINE") or "pipeline.toml"
        if one_key not in _TRUE:
            problems.append(f"STREAMGAGE_ONE_KEY_PER_RECORD is {one_key!r}, neither true nor false")
        if problems:
            raise ConfigError(*problems)
        return cls(
            environment["STREAM"],
            environment["IDEMPOTENCY_TABLE"],
            keys_parameter,
            pipeline,
            _TRUE[one_key],
        )
