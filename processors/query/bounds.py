"""What is too much to be held in memory at once."""

from streamgage.errors import ConfigError


class TooMuchError(ConfigError):
    """The question is right, and its answer would be too large: ask for less."""
